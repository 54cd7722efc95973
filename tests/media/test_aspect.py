import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreels.media.aspect import ASPECTS, canvas_size, centre_crop, frame_size, pad_to_canvas, short_side


@pytest.mark.parametrize(
    ("aspect", "short", "size"),
    [
        ("1:1", 64, (64, 64)),
        ("4:3", 64, (64, 86)),
        ("16:9", 64, (64, 114)),
        ("3:4", 64, (86, 64)),
        ("9:16", 64, (114, 64)),
        ("16:9", 480, (480, 854)),
        ("16:9", 720, (720, 1280)),
        ("9:16", 1080, (1920, 1080)),
    ],
)
def test_frame_size(aspect, short, size):
    assert frame_size(aspect, short) == size


def test_pocket_canvases():
    canvases = {aspect: canvas_size(*frame_size(aspect, 64)) for aspect in ASPECTS}
    assert canvases == {"16:9": (64, 128), "4:3": (64, 96), "1:1": (64, 64), "3:4": (96, 64), "9:16": (128, 64)}


@given(st.sampled_from(list(ASPECTS)), st.integers(8, 1100).map(lambda half: 2 * half))
def test_sizes_are_even_and_as_near_to_the_ratio_as_even_numbers_get(aspect, short):
    height, width = frame_size(aspect, short)
    assert min(height, width) == short
    assert height % 2 == width % 2 == 0
    long_side = short * max(ASPECTS[aspect], 1 / ASPECTS[aspect])
    assert abs(max(height, width) - long_side) <= 1


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([8, 16]))
def test_a_crop_undoes_a_pad(height, width, multiple):
    frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    padded = pad_to_canvas(frames, *canvas_size(height, width, multiple))
    assert padded.shape[1] % multiple == padded.shape[2] % multiple == 0
    assert np.array_equal(centre_crop(padded, height, width), frames)
    assert np.array_equal(padded[:, 0, 0], frames[:, 0, 0])  # edges are repeated


def test_resolution():
    assert short_side("720p") == 720


@pytest.mark.parametrize(
    "call",
    [
        lambda: frame_size("2:1", 64),
        lambda: frame_size("1:1", 63),
        lambda: centre_crop(np.zeros((1, 8, 8, 3)), 16, 8),
        lambda: pad_to_canvas(np.zeros((1, 8, 8, 3)), 4, 8),
    ],
)
def test_impossible_sizes_are_refused(call):
    with pytest.raises(ValueError):
        call()
