"""Fitting pictures and frames to sizes."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from openreels.media import Clip
from openreels.pipelines.v3.base import V3Output
from openreels.pipelines.v3.images import (
    BILINEAR,
    Canvas,
    cover,
    filled,
    fit_frames,
    frame_pixels,
    frames_of,
    letterbox,
    official_picture,
    pad_box,
    picture_of,
    pixels_of,
    stretch,
    to_uint8,
)
from openreels.request import RequestError


def halves(height: int, width: int) -> np.ndarray:
    """Left half red, right half blue."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2, 0] = picture[:, width // 2 :, 2] = 255
    return picture


def test_a_letterbox_shows_the_whole_picture_on_white_with_odd_pixels_right_and_below():
    boxed = np.asarray(letterbox(Image.fromarray(halves(20, 40)), 35, 50))
    assert boxed.shape == (35, 50, 3)
    assert (boxed[:5] == 255).all() and (boxed[30:] == 255).all() and not (boxed[5:30] == 255).all(axis=2).any()
    tall = np.asarray(letterbox(Image.new("RGB", (10, 20)), 40, 35))
    assert (tall[:, :7] == 255).all() and (tall[:, 27:] == 255).all() and (tall[:, 7:27] == 0).all()


def test_official_letterbox_truncates_sizes():
    picture = Image.new("RGB", (3, 7))
    inner = [(np.asarray(letterbox(picture, 16, 32, official)) < 128).all(2).any(0).sum() for official in (True, False)]
    assert inner == [6, 7]  # 16 * 3 / 7 = 6.86


@pytest.mark.parametrize(("size", "expected"), [((40, 20), (32, 48)), ((20, 40), (32, 48)), ((48, 32), (32, 48))])
def test_a_cover_fills_the_size_with_the_centre(size, expected):
    covered = np.asarray(cover(Image.fromarray(halves(*size)), *expected, BILINEAR))
    assert covered.shape == (*expected, 3)
    assert covered[:, 0, 0].min() > 250 and covered[:, -1, 2].min() > 250
    assert abs(int(covered[:, 23, 0].mean()) - int(covered[:, 24, 2].mean())) <= 1  # the seam stays central


def test_exif_rotation_is_applied_but_not_in_official_mode(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    path = tmp_path / "phone.jpg"
    Image.fromarray(halves(20, 40)).save(path, exif=exif)
    with Image.open(path) as picture:
        assert picture_of(picture).size == (20, 40) and official_picture(picture).size == (40, 20)
    assert picture_of(path).size == (20, 40) and official_picture(path).size == (40, 20)


def test_transparency_is_white():
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (np.asarray(picture_of(picture)) == 255).all()
    assert official_picture(picture).getpixel((0, 0)) == (255, 0, 0)


def test_many_kinds_of_pictures(tmp_path):
    frame = halves(6, 8)
    path = tmp_path / "a.png"
    Image.fromarray(frame).save(path)
    for given in (frame, Image.fromarray(frame), Clip(frame[None], 1), path, str(path)):
        assert np.array_equal(np.asarray(picture_of(given)), frame)


@pytest.mark.parametrize("given", [np.zeros((4, 4)), "/no/such/file.png", None, np.zeros((4, 4, 3), np.float32), 3])
def test_no_picture(given):
    with pytest.raises(ValueError, match="reference 2 must be a"):
        picture_of(given, "reference 2")


def test_pixels_and_levels_are_inverse():
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    pixels = frame_pixels(frames)
    assert (pixels_of(frames) - pixels).abs().max() < 2e-7
    assert pixels.shape == (1, 3, 3, 4, 6) and pixels.min() >= -1 and pixels.max() <= 1
    assert np.array_equal(to_uint8(pixels)[0], frames)
    almost = torch.full((1, 3, 1, 2, 2), 1 - 2 / 255 * 0.4)
    assert (to_uint8(almost) == 255).all() and (to_uint8(almost, truncate=True) == 254).all()
    assert to_uint8(torch.tensor([-9.0, 9.0, 0.0]).view(1, 3, 1, 1, 1)).tolist() == [[[[[0, 255, 128]]]]]


def test_stretch_picks_neighbours_and_ignores_the_aspect():
    frames = halves(2, 4)[None].repeat(3, axis=0)
    assert stretch(frames, 4, 4).shape == (3, 4, 4, 3)
    assert np.array_equal(stretch(frames, 2, 8)[0], frames[0].repeat(2, axis=1))
    assert np.array_equal(stretch(frames, 1, 2)[0, 0], frames[0, 0, [0, 2]])


def test_frames_keep_their_aspect():
    frames = halves(30, 60)[None].repeat(2, axis=0)
    cropped = fit_frames(frames, 32, 32)
    assert cropped.shape == (2, 32, 32, 3) and cropped[0, 0, 0, 0] > 250 and cropped[0, 0, -1, 2] > 250
    padded = fit_frames(frames, 32, 32, "pad")
    top, left, height, width = pad_box(30, 60, 32, 32)
    assert (top, left, height, width) == (8, 0, 16, 32)
    assert np.array_equal(padded[:, 0], padded[:, top]) and np.array_equal(padded[:, -1], padded[:, top + height - 1])
    assert fit_frames(frames, 30, 60) is frames


def test_masks_follow_the_crop_of_the_picture():
    masks = torch.zeros(2, 20, 80)
    masks[0, :, 30:40] = 1  # left of the centre: inside the crop to a square
    masks[1, :, :10] = 1  # cropped away
    grid = Canvas.of((20, 80), (32, 32)).masks(masks, 4, 4)
    assert grid.shape == (2, 4, 4) and grid[1].sum() == 0
    assert grid[0].tolist() == [[1, 1, 0, 0]] * 4
    padded = Canvas.of((20, 80), (32, 32), fit="pad").masks(masks, 8, 8)
    assert padded[:, :3].sum() == padded[:, 5:].sum() == 0  # 8 of 32 rows hold the picture
    assert padded[0, 3].tolist() == [0, 0, 0, 1, 0, 0, 0, 0] and padded[1, 3].tolist() == [1] + [0] * 7


@pytest.mark.parametrize(
    ("picture", "fit", "aspect", "shown"),
    [
        ((30, 60), "crop", None, (32, 48)),
        ((30, 60), "pad", None, (24, 48)),
        ((30, 60), "crop", "1:1", (32, 32)),
        ((60, 30), "pad", None, (32, 16)),
    ],
)
def test_a_canvas_shows_the_aspect(picture, fit, aspect, shown):
    canvas = Canvas.of(picture, (32, 48), aspect, fit)
    frames = canvas.cut(canvas.fitted(halves(*picture)[None]))
    assert frames.shape == (1, *shown, 3)
    assert frames[0, 0, 0, 0] > 250 and frames[0, -1, -1, 2] > 250


def test_bad_fits():
    with pytest.raises(ValueError, match="crop or pad"):
        Canvas.of((1, 1), (32, 32), fit="stretch")
    with pytest.raises(ValueError, match="either it or aspect"):
        Canvas.of((1, 1), (32, 32), "1:1", "pad")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_damaged_picture_is_one_sentence(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"cat.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    for read in (picture_of, official_picture):
        with pytest.raises(RequestError, match=rf"^the portrait .*cat\.{suffix} is damaged: "):
            read(path, "the portrait")


def test_frames_of_parts():
    frames = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    parts = [frames[:4].copy(), frames[4:5].copy(), frames[5:].copy()]
    canvas = Canvas((8, 8), "crop", (2, 0, 4, 8))
    shown = filled(np.empty((6, 4, 8, 3), np.uint8), frames_of(parts, [0, 3, 3, 4, 5, 8], canvas))
    assert shown[:, 0, 0, 0].tolist() == [0, 3, 3, 4, 5, 8]
    assert len(parts) == 1  # the others are let go of


def test_a_clip_of_a_result_is_no_copy():
    frames = np.zeros((1, 2, 8, 8, 3), np.uint8)
    assert np.shares_memory(V3Output(frames, Fraction(24)).clip.frames, frames)
