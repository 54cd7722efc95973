"""The weights in this package as a user meets them: from the command line into files. Two steps only: how good the
clips are is measured by `openreels eval`, here they must be whole.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from openreels.media import Clip
from openreels.pipelines.registry import folder_of

PROMPT = "A red rubber ball bounces on the grass"
QUICK = ("--steps", "2", "--seed", "5")
WEIGHTS = folder_of("pocket")
MIB = 2**20


@pytest.mark.parametrize(
    ("aspect", "seconds", "height", "width"),
    [("16:9", 1, 64, 114), ("4:3", 2, 64, 86), ("1:1", 4, 64, 64), ("3:4", 1, 86, 64), ("9:16", 2, 114, 64)],
)
def test_video_with_its_sound(openreels, aspect, seconds, height, width):
    flags = ("--aspect", aspect, "--duration", str(seconds))
    outcome = openreels("generate", PROMPT, "-o", "a.mp4", *QUICK, *flags)
    assert (outcome.code, outcome.err) == (0, "")
    clip = Clip.open("a.mp4")
    assert clip.frames.shape == (16 * seconds, height, width, 3)
    assert (clip.fps, clip.duration) == (Fraction(16), seconds)
    assert (clip.audio.shape, clip.sample_rate) == ((1, 16_000 * seconds), 16_000)
    assert np.ptp(clip.frames) > 100
    assert 1e-3 < np.abs(clip.audio).max() <= 1  # after two steps a peak may stand at full scale


def test_video_alone(openreels):
    outcome = openreels("generate", PROMPT, "-o", "a.mp4", *QUICK, "--duration", "1", "--no-audio")
    assert (outcome.code, outcome.err) == (0, "")
    clip = Clip.open("a.mp4")
    assert clip.frames.shape == (16, 64, 64, 3)
    assert clip.audio is None


def test_sound_alone(openreels):
    outcome = openreels("generate", PROMPT, "-o", "a.wav", *QUICK, "--duration", "4", "--audio-only")
    assert (outcome.code, outcome.err) == (0, "")
    clip = Clip.open("a.wav")
    assert clip.frames is None
    assert (clip.audio.shape, clip.sample_rate) == ((1, 64_000), 16_000)


def test_a_replay_is_the_same_file(openreels):
    openreels("generate", "一个红色的橡胶球在草地上弹跳", "-o", "a.mp4", *QUICK, "--duration", "1")
    outcome = openreels("replay", "a.mp4", "-o", "b.mp4")
    assert (outcome.code, outcome.err) == (0, "")
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()


def test_they_are_small():
    sizes = {path.name: path.stat().st_size for path in WEIGHTS.rglob("*.safetensors")}
    assert sizes
    assert max(sizes.values()) <= 16 * MIB
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 36 * MIB


def test_they_have_a_model_card():
    card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    assert "Apache-2.0" in card
    assert "@@" not in card  # a score that was not filled in
