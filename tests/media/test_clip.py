from fractions import Fraction

import numpy as np
import pytest

from openreels.media import Clip

FRAMES = np.zeros((33, 64, 86, 3), np.uint8)
AUDIO = np.zeros((1, 33_000), np.float32)


def test_facts():
    clip = Clip(FRAMES, Fraction(16), AUDIO, 16_000)
    assert clip.duration == 2.0625
    assert clip.facts() == {
        "duration": 2.0625,
        "frames": 33,
        "height": 64,
        "width": 86,
        "fps": "16",
        "channels": 1,
        "sample_rate": 16_000,
    }
    assert repr(clip) == "Clip(2.06 s, 33 frames of 86 x 64 at 16 fps, sound of 1 x 16,000 Hz)"
    assert Clip(audio=AUDIO, sample_rate=16_000).duration == 2.0625


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({}, "frames, audio or both"),
        ({"frames": FRAMES.astype(np.float32), "fps": Fraction(16)}, "uint8"),
        ({"frames": FRAMES[0], "fps": Fraction(16)}, "(T, H, W, 3)"),
        ({"frames": FRAMES[:0], "fps": Fraction(16)}, "(T, H, W, 3)"),
        ({"frames": FRAMES, "fps": 29.97}, "exact"),
        ({"frames": FRAMES}, "positive"),
        ({"audio": AUDIO[0], "sample_rate": 16_000}, "(C, N)"),
        ({"audio": AUDIO.astype(np.float64), "sample_rate": 16_000}, "float32"),
        ({"audio": AUDIO}, "sample_rate"),
        ({"audio": AUDIO + np.float32("nan"), "sample_rate": 16_000}, "finite"),
    ],
)
def test_arrays_that_are_no_clip(fields, match):
    with pytest.raises(ValueError, match=match.replace("(", r"\(").replace(")", r"\)")):
        Clip(**fields)
