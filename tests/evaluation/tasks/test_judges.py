"""Judges are judged: what they say of the truth, of its copy through the shipped codec, of nothing, of another case."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import openreels
from openreels.codecs.video import PocketVideoVAE, VideoCodec
from openreels.evaluation.tasks import JUDGES, case_of
from openreels.evaluation.tasks.pictures import mouth_follows
from openreels.media import Clip
from openreels.world.examples import ROWS


@pytest.fixture(scope="module")
def codec() -> VideoCodec:
    folder = Path(openreels.__file__).parent / "weights" / "pocket" / "video_vae"
    return VideoCodec(PocketVideoVAE.from_pretrained(folder, torch_dtype=torch.float32).eval())


def through(codec: VideoCodec, clip: Clip) -> Clip:
    frames = torch.from_numpy(clip.frames)[None]
    shape = codec.shape(*frames.shape[1:4], Fraction(16))
    return replace(clip, frames=codec.decode(codec.encode(frames), shape)[0].numpy())


def cases(row: str, count: int):
    found, number = [], 40
    while len(found) < count:
        case = case_of(row, number)
        number += 1
        if JUDGES[row].applies(case):
            found.append(case)
    return found


def test_every_row_has_a_judge_and_says_what_success_is():
    assert set(JUDGES) == set(ROWS)
    assert all(judge.says for judge in JUDGES.values())


# One row of every sort of judge; figures of all rows on more cases stand in the table of `openreels eval tasks`.
@pytest.mark.parametrize(
    "row", ["t2i", "key-frames", "recolour", "effect-reference", "storyboard", "speakers", "extension-cut-in"]
)
def test_pictures(row, codec, one_thread):
    found = cases(row, 2)
    for case, other in zip(found, reversed(found), strict=True):
        judge = JUDGES[row].of(case)
        assert all(judge(case.target).values())
        assert not all(judge(case.nothing).values())
        assert not all(judge(other.target).values())
        if row in ("recolour", "effect-reference", "storyboard"):  # what a codec loses of faces and corners is its own
            assert all(judge(through(codec, case.target)).values())


@pytest.mark.parametrize("row", ["t2a-effects", "t2a-music", "t2a-singing", "sounds-switched", "video-to-sound"])
def test_sounds(row, one_thread):
    for case in cases(row, 3):
        judge = JUDGES[row].of(case)
        assert all(judge(case.target).values())
        assert not all(judge(case.nothing).values())


def test_given_sound_is_followed(one_thread):
    (face,), (ball,) = cases("sound-to-speech", 1), cases("sound-to-impacts", 1)
    for case in (face, ball):
        judge = JUDGES[case.example.row].of(case)
        late = np.roll(case.target.frames, 6, axis=0)
        assert all(judge(case.target).values())
        assert not all(judge(replace(case.target, frames=late)).values())


def test_a_mouth_that_stays_shut_follows_nothing():
    said = np.abs(np.sin(np.arange(33)))
    assert mouth_follows(said * 0.3, said) and not mouth_follows(np.zeros(33), said) and not mouth_follows(None, said)
