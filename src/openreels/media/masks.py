"""Masks: which pixels of a clip are made anew. White = regenerate, black = keep, in everything a user sees or gives.

A region comes from pictures, mask videos, boxes and polygons, each of them inverted if wanted, and is the union of all.
Shapes are fractions of the picture's width and height from its top left. A pixel belongs to a shape that holds its
centre; of shapes that share an edge exactly one holds a centre on it, so they neither overlap nor leave a gap.

Legend: T frames  H, W pixels  C = 3 channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from openreels.media.clip import Clip
from openreels.media.error import MediaError
from openreels.media.timing import exact, nearest, seconds_for

__all__ = ["WHITE_FROM", "Mask", "MaskShape", "polygon_mask", "preview", "region_mask", "save_preview", "spanned"]

Point = tuple[float, float]

WHITE_FROM = 128  # of 0..255: what is as bright is white
NEAR = 48  # of 0..255: this near to black or white in all channels, a pixel is meant as such
BLACK_AND_WHITE = 0.8  # least share of such pixels; the rest are soft edges, or JPEG's and H.264's ringing
SAME_RATIO = 0.02  # of a mask's and a clip's width to height: sizes are rounded to whole, often even, pixels
TINT, OUTLINE, OPACITY = (255, 40, 120), (255, 255, 255), 0.55
VISIBLE = 256  # pixels of a preview's short side at least, where whole factors reach it


class Mask(Protocol):
    """What a region is made of; one of path, box and polygon is given.

    path: a picture or a mask video. box: left, top, right, bottom. polygon: its corners (x, y), closed by itself, where
    it crosses itself by the even-odd rule. invert: all but that.
    """

    path: str | None
    box: tuple[float, float, float, float] | None
    polygon: Sequence[Point] | None
    invert: bool


@dataclass(frozen=True)
class MaskShape:
    """A `Mask` by itself."""

    path: str | None = None
    box: tuple[float, float, float, float] | None = None
    polygon: Sequence[Point] | None = None
    invert: bool = False


def region_mask(
    masks: Sequence[Mask],
    frames: int,
    height: int,
    width: int,
    fps: Fraction = Fraction(16),
    opened: Callable[[str], Clip] = Clip.open,
) -> np.ndarray:
    """(T, H, W) bool, True where the clip is made anew: the union of all masks.

    frames, height, width, fps: of the clip. opened: gives the clip of a path. A mask video shows, at every frame's
    middle, the frame it has then; it lasts as long as the clip or longer. Without masks all is made anew.
    Raises MediaError where a file is no mask or does not fit the clip, and where nothing or everything would be made
    anew.
    """
    if not masks:
        return np.ones((frames, height, width), bool)
    region_THW = np.zeros((frames, height, width), bool)
    for mask in masks:
        if mask.path is not None:
            part_THW = mask_of_clip(opened(mask.path), frames, height, width, fps, name=mask.path)
        else:
            part_THW = polygon_mask(mask.polygon or corners(mask.box), height, width)[None]
        region_THW |= part_THW ^ mask.invert
    if not region_THW.any():
        raise MediaError(f"the mask makes nothing anew in a picture of {width} x {height}; accepted are masks with "
                         f"white parts, and boxes and polygons that hold the centre of a pixel")  # fmt: skip
    if region_THW.all():
        raise MediaError("the mask is white everywhere, so nothing of the clip would be kept; accepted are masks with "
                         "black parts (transparent ones count as white), or none to have the whole clip edited by the "
                         "instruction")  # fmt: skip
    return region_THW


def corners(box: tuple[float, float, float, float]) -> tuple[Point, ...]:
    left, top, right, bottom = box
    return (left, top), (right, top), (right, bottom), (left, bottom)


def polygon_mask(polygon: Sequence[Point], height: int, width: int) -> np.ndarray:
    """(H, W) bool, True where a pixel's centre lies inside the polygon, by the even-odd rule."""
    x_W, y_H = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    inside_HW = np.zeros((height, width), bool)
    for start, end in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        # From top to bottom whichever way it is drawn, so that an edge has the same rounding in both of its polygons.
        (x0, y0), (x1, y1) = sorted((start, end), key=lambda point: point[::-1])
        crossed_H = (y0 <= y_H) & (y_H < y1)
        if crossed_H.any():
            crossing_H = x0 + (y_H[crossed_H] - y0) / (y1 - y0) * (x1 - x0)
            inside_HW[crossed_H] ^= crossing_H[:, None] <= x_W
    return inside_HW


def mask_of_clip(
    clip: Clip, frames: int, height: int, width: int, fps: Fraction = Fraction(16), name: str = "the mask"
) -> np.ndarray:
    """(T, H, W) bool, or (1, H, W) of a picture: True where it is white, scaled to the size, cut at half brightness.

    Raises MediaError where it has no frames, is not black and white, is of another aspect or ends before the clip does.
    """
    if clip.frames is None:
        raise MediaError(f"{name} holds sound alone; accepted as a mask are black and white pictures and clips")
    count, tall, wide, _ = clip.frames.shape
    if abs(wide * height - tall * width) > SAME_RATIO * tall * width:
        raise MediaError(f"{name} is {wide} x {tall}, but the clip {width} x {height}; accepted are masks of the same "
                         f"width to height")  # fmt: skip
    share = min(black_and_white(frame) for frame in clip.frames)
    if share < BLACK_AND_WHITE:
        raise MediaError(f"{name} is no mask: {1 - share:.0%} of it is neither black nor white; accepted is white "
                         f"where the clip is made anew and black where it is kept")  # fmt: skip
    if count == 1:
        return white(clip.frames[0], height, width)[None]
    lasts, wanted = seconds_for(count, clip.fps), seconds_for(frames, fps)
    if lasts + max(1 / clip.fps, 1 / fps) <= wanted:
        raise MediaError(f"{name} lasts {float(lasts):.2f} s, but the clip {float(wanted):.2f} s; accepted are mask "
                         f"videos of the clip's length, or a picture for all of it")  # fmt: skip
    shown = [min(int((2 * t + 1) * clip.fps / (2 * fps)), count - 1) for t in range(frames)]
    return np.stack([white(clip.frames[index], height, width) for index in shown])


def black_and_white(frame_HWC: np.ndarray) -> float:
    """The share of its pixels that are nearly black or nearly white."""
    dark, bright = frame_HWC.max(-1) <= NEAR, frame_HWC.min(-1) >= 255 - NEAR
    return float((dark | bright).mean())


def white(frame_HWC: np.ndarray, height: int, width: int) -> np.ndarray:
    grey = Image.fromarray(frame_HWC).convert("L")
    if grey.size != (width, height):
        grey = grey.resize((width, height), Image.Resampling.BILINEAR)  # Pillow averages over what a pixel covers
    return np.asarray(grey) >= WHITE_FROM


def spanned(span: tuple[float, float], frames: int, fps: Fraction) -> np.ndarray:
    """(T,) bool: the frames that a span of seconds marks, at least one. Raises MediaError where it leaves the clip."""
    start, end = (nearest(exact(second) * fps) for second in span)
    if start >= frames or exact(span[1]) > (frames + 1) / fps:
        raise MediaError(f"span must lie within the video, which lasts {float(frames / fps):.4g} s, "
                         f"not {span[0]:g} to {span[1]:g} s")  # fmt: skip
    marked_T = np.zeros(frames, bool)
    marked_T[start : max(end, start + 1)] = True
    return marked_T


# -- looking at it ----------------------------------------------------------------------------------------------------


def preview(clip: Clip, region_THW: np.ndarray) -> Clip:
    """The clip, enlarged if it is small, with what is made anew tinted and outlined; its sound stays.

    region_THW: bool of the clip's frames, height and width. Raises ValueError where it is of another size.
    """
    if clip.frames is None or region_THW.shape != clip.frames.shape[:3]:
        shape = None if clip.frames is None else clip.frames.shape[:3]
        raise ValueError(f"the region must be of the clip's size {shape}, not {region_THW.shape}")
    scale = max(1, VISIBLE // min(region_THW.shape[1:]))
    frames = clip.frames.repeat(scale, axis=1).repeat(scale, axis=2)
    region = region_THW.repeat(scale, axis=1).repeat(scale, axis=2)
    for picture_HWC, marked_HW in zip(frames, region, strict=True):  # one by one: the sums are eight times as large
        picture_HWC[marked_HW] = ((1 - OPACITY) * picture_HWC[marked_HW] + OPACITY * np.array(TINT)).round()
    frames[region & ~inner(region)] = OUTLINE
    return Clip(frames, clip.fps, clip.audio, clip.sample_rate)


def inner(region_THW: np.ndarray) -> np.ndarray:
    """Pixels of the region whose four neighbours belong to it too; beyond the picture's border all do."""
    padded = np.pad(region_THW, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    return padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]


def save_preview(clip: Clip, region_THW: np.ndarray, path: Path) -> None:
    """As a film, or as a picture of the first frame that is made anew, by the name's ending. Raises MediaError."""
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") and clip.frames is not None:
        first = int(region_THW.any(axis=(1, 2)).argmax())
        clip, region_THW = Clip(clip.frames[first : first + 1], Fraction(1)), region_THW[first : first + 1]
    preview(clip, region_THW).save(path)
