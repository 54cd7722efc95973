"""Scenes that use none of the newer fields look, sound and read as they did when the shipped weights were trained.

The hashes were taken from the renderer of commit 39d75ef, which knew nothing of weather, styles, overlays and clothes;
those of scenes with two subjects when these began to stand either way round, which the planner learns from then on.
"""

from dataclasses import astuple
from hashlib import sha256

import pytest

from openreels.world import captions, masks, render_film, sample_film

# Of the pictures of 24 random scenes; single values round otherwise on another processor.
MEANS = (
    181.18, 166.46, 187.78, 184.36, 152.51, 200.33, 203.52, 191.84, 199.36, 177.69, 182.43, 183.27,
    98.89, 93.59, 168.22, 182.18, 85.35, 190.24, 199.7, 174.82, 88.36, 192.76, 165.66, 85.88,
)  # fmt: skip
BEFORE = {
    "film": "1160d51122fcadd4",
    "sound": "82761ace0e08638f",
    "masks": "334a78fa9becc1d3",
    "words": "6954cb4f6e2e7435",
}


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]


@pytest.fixture(scope="module")
def now(drawn, clips):
    scenes = drawn[:24]
    audio = (clips.audio[:24] * 4096).round().short()  # coarser than the last bits of another machine's sines
    found = masks(scenes, fps=16, frames=17, height=64, width=64)
    return {
        "film": digest(render_film(sample_film(2), height=64, width=64).frames.tobytes()),
        "sound": digest(audio.numpy().tobytes()),
        "masks": digest(found.numpy().tobytes()),
        "words": digest("\n".join(text for scene in scenes for text in astuple(captions(scene, 0))).encode()),
    }


@pytest.mark.parametrize("part", BEFORE)
def test_plain_scenes_have_not_changed(part, now):
    assert now[part] == BEFORE[part]


def test_pictures_of_plain_scenes_have_not_changed(clips):
    assert clips.frames[:24].float().mean((1, 2, 3, 4)).tolist() == pytest.approx(MEANS, abs=0.02)
