"""The lab's own film: a test card that moves and a tone that beeps, in H.264 and AAC, which loop without a seam. `make` made the files, `reader` reads them."""
