"""Clips onto a canvas and back. Legend: see tasks/fitting.py."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openreels.media import Clip
from openreels.media.aspect import ASPECTS
from openreels.tasks.canvas import Canvas
from openreels.tasks.fitting import contain, cover, cover_mask, moments, nearest_aspect

quick = settings(max_examples=30, deadline=None, derandomize=True)
side = st.integers(2, 60)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@quick
@given(side, side, side, side)
def test_any_size_becomes_any_other(tall, wide, height, width):
    frames = noise(2, tall, wide, 3)
    assert cover(frames, height, width).shape == contain(frames, height, width).shape == (2, height, width, 3)
    assert cover_mask(np.ones((2, tall, wide), bool), height, width).all()
    assert not cover_mask(np.zeros((2, tall, wide), bool), height, width).any()
    flat = np.full((1, tall, wide, 3), 77, np.uint8)
    assert (cover(flat, height, width) == 77).all() and (contain(flat, height, width) == 77).all()


def test_what_fits_stays_as_it_is():
    frames = noise(3, 8, 12, 3)
    assert cover(frames, 8, 12) is frames and contain(frames, 8, 12) is frames


def test_a_mask_is_cut_like_its_frames():
    """A white square on black, and the same as a mask: at another size they still cover each other."""
    mask = np.zeros((1, 40, 90), bool)
    mask[:, 10:30, 40:60] = True
    frames = np.repeat(mask[..., None], 3, axis=3).astype(np.uint8) * 255
    assert ((cover(frames, 24, 32)[..., 0] >= 128) ^ cover_mask(mask, 24, 32)).mean() < 0.02


def test_all_of_a_picture_is_shown_with_its_edges_repeated():
    frames = noise(1, 10, 30, 3)
    shown = contain(frames, 30, 30)
    assert np.array_equal(shown[:, 10:20], frames)
    assert (shown[:, :10] == frames[:, :1]).all() and (shown[:, 20:] == frames[:, -1:]).all()


@pytest.mark.parametrize(("fps", "picks"), [(16, [0, 1, 2, 3, 4, 5]), (8, [0, 2, 4]), (32, 12)])
def test_another_rate_keeps_the_time(fps, picks):
    clip = Clip(noise(6, 2, 2, 3), Fraction(16))
    found = moments(clip, Fraction(fps))
    assert found == picks if isinstance(picks, list) else len(found) == picks and found == sorted(found)


def test_a_still_stays_one_frame():
    assert moments(Clip(noise(1, 2, 2, 3), Fraction(1)), Fraction(16)) == [0]


@pytest.mark.parametrize(
    ("size", "aspect"), [((64, 64), "1:1"), ((720, 1280), "16:9"), ((90, 68), "3:4"), ((9, 90), "16:9")]
)
def test_the_aspect_of_a_picture(size, aspect):
    assert nearest_aspect(*size, tuple(ASPECTS)) == aspect


@pytest.mark.parametrize("aspect", ASPECTS)
def test_on_the_canvas_and_back(aspect):
    canvas = Canvas.of(aspect, "64p", Fraction(16), 16, 4)
    frames = noise(6, canvas.height, canvas.width, 3)
    keep = np.random.default_rng(1).random(frames.shape[:3]) < 0.5
    drawn, kept = canvas.drawn(frames), canvas.kept(keep)
    assert drawn.shape == (9, *canvas.size, 3) and kept.shape == drawn.shape[:3] and kept.dtype == torch.bool
    assert not any(length % 16 for length in canvas.size)
    assert np.array_equal(canvas.cut(drawn, 6), frames)
    assert np.array_equal(canvas.cut(kept[..., None], 6)[..., 0], keep)
    assert torch.equal(drawn[6:], drawn[5:6].expand(3, -1, -1, -1)) and torch.equal(kept[8], kept[5])
    clip = Clip(frames, Fraction(16))
    assert canvas.filled(clip) is not None and np.array_equal(canvas.filled(clip), frames)
    assert torch.equal(canvas.shown(clip), drawn)
