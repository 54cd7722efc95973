"""Every row is asked as a request that the checks accept, with the media it names and nothing of the answer."""

from __future__ import annotations

import numpy as np
import pytest

from openreels.evaluation.tasks.cases import FRAMES, case_of, held_frames, kept_frames
from openreels.request import Request
from openreels.world.examples import ROWS

TASKS = {
    "t2av": "t2av",
    "t2i": "t2i",
    "t2a-music": "t2a",
    "key-frames": "i2v",
    "retake": "retake",
    "extension": "v2v",
    "extension-cut-in": "v2v-shot",
    "references-3": "r2v",
    "storyboard": "r2v",
    "inpaint-two-references": "inpaint",
    "recolour": "edit",
    "sound-to-speech": "a2v-drive",
    "video-to-sound": "v2a",
    "voice-reference": "r2v",
}


@pytest.mark.parametrize("row", ROWS)
def test_a_case_is_a_request_with_its_media(row):
    case = case_of(row, 7, steps=2)
    assert Request.model_validate(dict(case.request)) == case.request  # paths were exchanged after the check
    assert set(case.request.files.values()) == set(case.media)
    assert case.request.task == TASKS.get(row, case.request.task)
    assert (case.request.seed, case.request.steps) == (7, 2)
    frames, _ = case.target.frames, case.target.audio
    for clip in (case.target, case.nothing):
        assert (clip.frames is not None) == ROWS[row].has_picture
        assert (clip.audio is not None) == ROWS[row].has_sound
    if frames is not None:
        assert frames.shape == case.nothing.frames.shape == (1 if ROWS[row].still else FRAMES, 64, 64, 3)


def test_cases_are_functions_of_their_number():
    one, again, other = case_of("recolour", 3), case_of("recolour", 3), case_of("recolour", 4)
    assert one.request == again.request and np.array_equal(one.target.frames, again.target.frames)
    assert one.request != other.request
    assert not set(one.media) & set(other.media)


def test_an_extension_and_a_retake_do_not_hand_over_what_is_asked():
    case = case_of("extension", 5)
    (given,) = case.media.values()
    kept = len(given.frames)
    assert np.array_equal(given.frames, case.target.frames[:kept])
    assert kept / 16 + case.request.duration == pytest.approx(FRAMES / 16)
    case = case_of("retake", 5)
    (given,) = case.media.values()
    first, last = (round(time * 16) for time in case.request.span)
    assert np.array_equal(given.frames[:first], case.target.frames[:first])
    assert np.array_equal(given.frames[last:], case.target.frames[last:])
    assert np.array_equal(given.frames[first], given.frames[last - 1])  # frozen
    assert not given.audio[:, first * 1000 + 1 : last * 1000 - 1].any()


def test_what_is_held():
    example = case_of("key-frames", 2).example
    kept = kept_frames(example, FRAMES, 16.0)
    held = held_frames(example, FRAMES, 16.0)
    assert len(kept) == len(example.kept) and set(held) == set(kept)
    assert all(held[t] <= t or t < kept[0] for t in range(FRAMES))


def test_a_mask_is_white_where_the_clip_is_made_anew():
    case = case_of("inpaint-moving", 1)
    mask = next(clip for path, clip in case.media.items() if path.endswith("mask")).frames
    assert set(np.unique(mask)) == {0, 255}
    changed = (case.target.frames != case.nothing.frames).any(-1)
    assert changed.any() and (mask[..., 0][changed] == 255).all()


def test_an_unknown_row():
    with pytest.raises(ValueError, match="row must be one of"):
        case_of("teleport", 0)
