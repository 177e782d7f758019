"""The script that made the film still makes such a film. Another ffmpeg gives other bytes, so what counts is what a player relies on."""

import shutil

import pytest

from origin.footage.make import middle_loop, picture_command, run, sound_command
from origin.footage.reader import read_footage, split_pictures, split_sound
from origin.footage.renditions import RENDITIONS

FFMPEG = shutil.which("ffmpeg") or ""
pytestmark = pytest.mark.skipif(not FFMPEG, reason="ffmpeg is not installed (on Debian: apt install ffmpeg)")
FOOTAGE = read_footage()
KEY_PICTURE = b"\x00\x00\x01\x65"


def test_the_same_pictures_in_the_same_places() -> None:
    lowest = RENDITIONS[0]
    made = list(split_pictures(run(FFMPEG, picture_command(lowest, 1))))
    kept = FOOTAGE.pictures[lowest.name]
    keys = [number for number, picture in enumerate(made) if KEY_PICTURE in picture]
    assert keys == [number for number, picture in enumerate(kept) if KEY_PICTURE in picture] == [0, 150]
    assert len(made) == len(kept)
    assert sum(map(len, made)) == pytest.approx(sum(map(len, kept)), rel=0.2)


def test_the_same_sound() -> None:
    made = list(split_sound(middle_loop(run(FFMPEG, sound_command()))))
    assert [frame[:3] for frame in made] == [frame[:3] for frame in FOOTAGE.sound]
