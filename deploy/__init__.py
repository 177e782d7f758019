"""What runs cdnlab in containers, and what compiles its edges."""
