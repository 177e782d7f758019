"""Makes the film's files with ffmpeg: `python -m origin.footage.make`. Only who changes the film needs this, and ffmpeg with libx264.

Everything is drawn and sounded by ffmpeg itself: colour bars, in them a test card that counts seconds, white squares that tell a rendition from the next (one for
the lowest); a tone of 440 Hz with a beep each second. No foreign material. Another ffmpeg may give other bytes; the tests say what must be true of them.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from origin.footage.reader import FILES, split_sound
from origin.footage.renditions import (
    PICTURE_LOOP_SECONDS,
    PICTURES_PER_SECOND,
    RENDITIONS,
    SAMPLES_PER_SOUND_FRAME,
    SOUND_LOOP_SECONDS,
    SOUND_SAMPLES_PER_SECOND,
    Rendition,
)

_PROFILES = {"4d40": "main", "6400": "high"}
_SECONDS_BETWEEN_KEY_PICTURES = 6
# No pictures that wait for later ones: they are shown in the order in which they are sent. Delimiters, as a transport stream asks for (ISO/IEC 13818-1, 2.14.1).
_ENCODER = "scenecut=0:bframes=0:aud=1:threads=1"
# What an encoder writes about itself, and is no picture (supplemental enhancement information).
_WITHOUT_REMARKS = "filter_units=remove_types=6"


def picture_command(rendition: Rendition, place: int) -> list[str]:
    """The arguments that draw and encode one rendition; `place` counts from 1, the lowest. Standard output is the stream."""
    width, height, square = rendition.width, rendition.height, rendition.height // 20
    timing = f"rate={PICTURES_PER_SECOND}:duration={PICTURE_LOOP_SECONDS}"
    squares = ",".join(
        f"drawbox=x={square * (2 * number + 1)}:y={square}:w={square}:h={square}:color=white:t=fill"
        for number in range(place)
    )
    drawing = f"[0]{squares}[bars];[bars][1]overlay=x=W/4:y=H/12,format=yuv420p"
    profile, level = rendition.codecs.removeprefix("avc1.")[:4], int(rendition.codecs[9:11], 16)
    between = _SECONDS_BETWEEN_KEY_PICTURES * PICTURES_PER_SECOND
    return [
        *("-f", "lavfi", "-i", f"smptehdbars=size={width}x{height}:{timing}"),
        *("-f", "lavfi", "-i", f"testsrc=size={width // 2}x{height // 2}:{timing}"),
        *("-filter_complex", drawing, "-c:v", "libx264", "-preset", "veryslow", "-crf", "32"),
        *("-profile:v", _PROFILES[profile], "-level", f"{level // 10}.{level % 10}"),
        *("-x264-params", f"keyint={between}:min-keyint={between}:{_ENCODER}"),
        *("-bsf:v", _WITHOUT_REMARKS, "-f", "h264", "-"),
    ]


def sound_command() -> list[str]:
    """The arguments that sound and encode three loops. Standard output is the stream."""
    tone = f"sine=frequency=440:beep_factor=2:sample_rate={SOUND_SAMPLES_PER_SECOND}:duration={3 * SOUND_LOOP_SECONDS}"
    return ["-f", "lavfi", "-i", tone, "-c:a", "aac", "-b:a", "24k", "-f", "adts", "-"]


def middle_loop(three_loops: bytes) -> bytes:
    """The second loop: what comes before it sounds like its own end, so it follows itself without a click. The first frame of a stream is the encoder's own."""
    count = SOUND_LOOP_SECONDS * SOUND_SAMPLES_PER_SECOND // SAMPLES_PER_SOUND_FRAME
    return b"".join(tuple(split_sound(three_loops))[count + 1 : 2 * count + 1])


def run(ffmpeg: str, arguments: list[str]) -> bytes:
    """What it writes. CalledProcessError with its words on standard error."""
    return subprocess.run([ffmpeg, "-v", "error", *arguments], check=True, stdout=subprocess.PIPE).stdout


def make(ffmpeg: str, folder: Path) -> None:
    """All files of the film."""
    folder.mkdir(exist_ok=True)
    for place, rendition in enumerate(RENDITIONS, start=1):
        (folder / f"{rendition.name}.h264").write_bytes(run(ffmpeg, picture_command(rendition, place)))
    (folder / "sound.aac").write_bytes(middle_loop(run(ffmpeg, sound_command())))


def main() -> int:
    """0 when they are made."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        print(
            "python -m origin.footage.make: needs ffmpeg with libx264. On Debian: apt install ffmpeg", file=sys.stderr
        )
        return 1
    try:
        make(ffmpeg, FILES)
    except subprocess.CalledProcessError as error:
        print(f"python -m origin.footage.make: ffmpeg ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
