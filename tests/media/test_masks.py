from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from openreels.media import Clip, MediaError
from openreels.media.masks import MaskShape, polygon_mask, preview, region_mask, save_preview

FPS = Fraction(16)
SIDES = st.integers(1, 40)
SHARES = st.integers(0, 64).map(lambda n: n / 64) | st.floats(0, 1)
POINTS = st.tuples(SHARES, SHARES)
quick = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def box(*sides: float, invert: bool = False) -> MaskShape:
    return MaskShape(box=sides, invert=invert)


def still(picture_HW: np.ndarray, frames: int = 1, fps: Fraction = Fraction(1)) -> Clip:
    """A mask's clip: white where the picture is true."""
    frames_THW = np.broadcast_to(picture_HW, (frames, *picture_HW.shape[-2:]))
    return Clip(np.repeat((255 * frames_THW).astype(np.uint8)[..., None], 3, axis=3), fps)


def region(mask: Clip, frames: int = 4, height: int = 8, width: int = 8, fps: Fraction = FPS) -> np.ndarray:
    return region_mask([MaskShape("mask.png")], frames, height, width, fps, opened=lambda path: mask)


# -- boxes and polygons -----------------------------------------------------------------------------------------------


def test_a_box_holds_the_pixels_whose_centres_it_holds():
    found_THW = region_mask([box(0.25, 0.5, 0.75, 1.0)], 3, 8, 16)
    assert found_THW.shape == (3, 8, 16)
    expected_HW = np.zeros((8, 16), bool)
    expected_HW[4:8, 4:12] = True
    assert (found_THW == expected_HW).all()


def test_a_triangle():
    found_HW = polygon_mask([(0, 0), (1, 0), (0, 1)], 8, 8)
    y, x = np.mgrid[:8, :8]
    assert np.array_equal(found_HW, (x + 0.5) + (y + 0.5) < 8)


@quick
@given(st.lists(POINTS, min_size=3, max_size=7), SIDES, SIDES, st.integers(1, 6))
def test_of_two_parts_of_a_polygon_each_pixel_is_in_exactly_one(polygon, height, width, corner):
    """Cut along a diagonal; by the even-odd rule the parts of any polygon, even a crossed one, add up modulo 2."""
    cut = min(corner, len(polygon) - 1)
    halves = polygon[: cut + 1], [polygon[0], *polygon[cut:]]
    whole_HW = polygon_mask(polygon, height, width)
    assert np.array_equal(whole_HW, np.logical_xor(*(polygon_mask(half, height, width) for half in halves)))


@quick
@given(st.lists(POINTS, min_size=3, max_size=7), SIDES, SIDES, st.integers(0, 6), st.booleans())
def test_where_a_polygon_starts_and_which_way_it_goes_does_not_matter(polygon, height, width, turn, backwards):
    other = (polygon[turn % len(polygon) :] + polygon[: turn % len(polygon)])[:: -1 if backwards else 1]
    assert np.array_equal(polygon_mask(polygon, height, width), polygon_mask(other, height, width))


@quick
@given(st.tuples(POINTS, POINTS, POINTS))
def test_a_triangle_is_what_pillow_draws_large(corners):
    """Another rasteriser, at sixteen times the size, whose edges are a pixel of that size too thick."""
    side, scale = 12, 16
    large = Image.new("1", (side * scale, side * scale))
    ImageDraw.Draw(large).polygon([(x * side * scale - 0.5, y * side * scale - 0.5) for x, y in corners], fill=1)
    share_HW = np.asarray(large).reshape(side, scale, side, scale).mean((1, 3))
    found_HW = polygon_mask(corners, side, side)
    assert not found_HW[share_HW == 0].any()
    full_HW = np.pad(share_HW == 1, 1, constant_values=True)
    deep_HW = np.all([full_HW[y : y + side, x : x + side] for y in range(3) for x in range(3)], axis=0)
    assert found_HW[deep_HW].all()


@quick
@given(st.lists(st.tuples(POINTS, POINTS), min_size=1, max_size=4), st.booleans())
def test_a_region_is_the_union_of_its_masks(boxes, invert):
    masks = [box(*np.minimum(a, b), *np.maximum(a, b), invert=invert) for a, b in boxes]
    expected_HW = np.zeros((16, 16), bool)
    centre = (np.arange(16) + 0.5) / 16
    for mask in masks:
        left, top, right, bottom = mask.box
        across, down = (left <= centre) & (centre < right), (top <= centre) & (centre < bottom)
        expected_HW |= np.outer(down, across) ^ invert
    if expected_HW.any() and not expected_HW.all():
        assert (region_mask(masks, 2, 16, 16) == expected_HW).all()
    else:
        with pytest.raises(MediaError):
            region_mask(masks, 2, 16, 16)


# -- pictures and clips -----------------------------------------------------------------------------------------------


@quick
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32))
def test_a_picture_scaled_by_whole_factors_keeps_its_blocks(down, across, seed):
    blocks_HW = np.random.default_rng(seed).random((4, 4)) < 0.5
    blocks_HW[0, :2] = False, True
    large = still(blocks_HW.repeat(4 * down, 0).repeat(4 * down, 1))
    found_THW = region(large, 2, 4 * across, 4 * across)
    inside = np.s_[:, across // 2 :: across, across // 2 :: across]  # the blocks' middles
    assert (found_THW[inside] == blocks_HW).all()


def test_of_the_same_size_it_is_exact():
    picture_HW = np.random.default_rng(0).random((9, 7)) < 0.5
    assert (region(still(picture_HW), 3, 9, 7) == picture_HW).all()


@quick
@given(st.integers(1, 30), st.sampled_from([8, 12, 16, 24, 60]))
def test_a_mask_video_goes_with_the_clip(frames, rate):
    """Each of the mask's frames says which one it is, in binary: white columns."""
    count = -(-frames * rate // 16) + 1
    bits = 1 << np.arange(8)
    codes_TW = np.column_stack([(np.arange(count)[:, None] & bits) > 0, np.ones(count, bool), np.zeros(count, bool)])
    shown_THW = region(still(codes_TW[:, None], count, Fraction(rate)), frames, 1, 10)
    for t, index in enumerate(shown_THW[:, 0, :8] @ bits):
        assert index / rate <= (t + 0.5) / 16 < (index + 1) / rate


def test_a_mask_video_at_the_clips_rate_is_taken_frame_by_frame():
    masks_THW = np.random.default_rng(1).random((5, 6, 6)) < 0.5
    assert np.array_equal(region(still(masks_THW, 5, FPS), 5, 6, 6), masks_THW)


def test_soft_edges_are_cut_at_half():
    ramp_HW = np.zeros((10, 10))
    ramp_HW[:, 5:] = 1.0
    ramp_HW[:, 4], ramp_HW[:, 5] = 0.4, 0.6
    assert np.array_equal(region(still(ramp_HW), 1, 10, 10)[0], ramp_HW > 0.5)


GREY = still(np.full((8, 8), 0.5))
SOUND = Clip(audio=np.zeros((1, 100), np.float32), sample_rate=16_000)
HALF_WHITE = np.arange(64).reshape(8, 8) < 32


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (GREY, "mask.png is no mask: 100% of it is neither black nor white"),
        (SOUND, "mask.png holds sound alone"),
        (still(np.zeros((8, 8), bool)), "makes nothing anew in a picture of 8 x 8"),
        (still(np.ones((8, 8), bool)), "white everywhere, so nothing of the clip would be kept"),
        (
            still(HALF_WHITE[:4]),
            "mask.png is 8 x 4, but the clip 8 x 8; accepted are masks of the same width to height",
        ),
        (still(HALF_WHITE, 2, FPS), "mask.png lasts 0.12 s, but the clip 0.25 s"),
    ],
)
def test_what_is_no_mask_is_refused(mask, sentence):
    with pytest.raises(MediaError, match=sentence):
        region(mask)


def test_a_box_between_pixels_is_refused():
    with pytest.raises(MediaError, match="hold the centre of a pixel"):
        region_mask([box(0.5, 0.5, 0.51, 0.51)], 1, 8, 8)


def test_masks_of_rounded_sizes_fit():
    assert region(still(np.arange(1080)[:, None].repeat(1920, 1) < 500), 1, 64, 114).any()


def test_without_masks_all_is_made_anew():
    assert region_mask([], 2, 3, 4).all()


# -- preview ----------------------------------------------------------------------------------------------------------


def test_a_preview_changes_the_region_alone(tmp_path):
    clip = Clip(np.full((3, 64, 64, 3), 100, np.uint8), FPS)
    region_THW = np.zeros((3, 64, 64), bool)
    region_THW[1:, 16:32, 16:48] = True
    shown = preview(clip, region_THW)
    assert shown.frames.shape == (3, 256, 256, 3)
    changed_THW = (shown.frames != 100).any(-1)
    assert np.array_equal(changed_THW, region_THW.repeat(4, 1).repeat(4, 2))
    assert (shown.frames[1, 64, 64:192] == 255).all()  # outlined
    assert (shown.frames[1, 100, 100] != 255).any()

    save_preview(clip, region_THW, tmp_path / "a.png")
    picture = Clip.open(tmp_path / "a.png").frames
    assert np.array_equal(picture[0], shown.frames[1])  # the first frame that has one
    save_preview(clip, region_THW, tmp_path / "a.mp4")
    assert Clip.open(tmp_path / "a.mp4").frames.shape == (3, 256, 256, 3)


def test_a_preview_of_another_size_is_refused():
    with pytest.raises(ValueError, match="must be of the clip's size"):
        preview(Clip(np.zeros((2, 8, 8, 3), np.uint8), FPS), np.zeros((2, 8, 9), bool))
