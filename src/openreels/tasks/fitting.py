"""Clips on their way onto a model's canvas: resampled in time, scaled in space. What fits already stays bit for bit.

Legend: T frames, H W pixels, C = 3 channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, log

import numpy as np
from PIL import Image

from openreels.media import Clip
from openreels.media.aspect import ASPECTS
from openreels.media.masks import WHITE_FROM
from openreels.media.timing import nearest_frames

__all__ = ["contain", "cover", "cover_mask", "moments", "nearest_aspect"]

LANCZOS, BILINEAR = Image.Resampling.LANCZOS, Image.Resampling.BILINEAR


def moments(clip: Clip, fps: Fraction) -> list[int]:
    """Which frame of the clip is nearest to each tick of `fps`; all of them, in order, where it has this rate."""
    count = len(clip.frames)
    if clip.fps == fps or count == 1:
        return list(range(count))
    return nearest_frames([Fraction(index) / clip.fps for index in range(count)], Fraction(count) / clip.fps, fps)


def nearest_aspect(height: int, width: int, aspects: Sequence[str]) -> str:
    """The one of `aspects` that loses least of a picture of this size."""
    return min(aspects, key=lambda name: abs(log(width / height / ASPECTS[name])))


def cover(frames_THWC: np.ndarray, height: int, width: int) -> np.ndarray:
    """(T, H, W, 3) uint8 -> (T, height, width, 3): fills the size, aspect kept, what overhangs is cut. Lanczos."""
    if frames_THWC.shape[1:3] == (height, width):
        return frames_THWC
    tall, wide, top, left = _covering(*frames_THWC.shape[1:3], height, width)
    scaled = np.stack([_scaled(frame, tall, wide, LANCZOS) for frame in frames_THWC])
    return np.ascontiguousarray(scaled[:, top : top + height, left : left + width])


def cover_mask(mask_THW: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same of a mask, bool (T, H, W): a pixel is in it where at least half of what it covers was."""
    if mask_THW.shape[1:] == (height, width):
        return mask_THW
    tall, wide, top, left = _covering(*mask_THW.shape[1:], height, width)
    scaled = np.stack([_scaled(mask.astype(np.uint8) * 255, tall, wide, BILINEAR) for mask in mask_THW])
    return scaled[:, top : top + height, left : left + width] >= WHITE_FROM


def contain(frames_THWC: np.ndarray, height: int, width: int) -> np.ndarray:
    """(T, H, W, 3) uint8 -> (T, height, width, 3): all of it, centred, aspect kept, its edges repeated outwards."""
    tall, wide = frames_THWC.shape[1:3]
    if (tall, wide) == (height, width):
        return frames_THWC
    scale = min(height / tall, width / wide)
    inner = max(1, min(height, round(tall * scale))), max(1, min(width, round(wide * scale)))
    scaled = np.stack([_scaled(frame, *inner, LANCZOS) for frame in frames_THWC])
    (top, left), (below, right) = (
        ((height - inner[0]) // 2, (width - inner[1]) // 2),
        (height - inner[0] - (height - inner[0]) // 2, width - inner[1] - (width - inner[1]) // 2),
    )
    return np.pad(scaled, ((0, 0), (top, below), (left, right), (0, 0)), mode="edge")


def _covering(tall: int, wide: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Scaled height and width that cover the size, and the corner at which it is cut from them."""
    scale = max(height / tall, width / wide)
    # Rounding must not lose the last row, nor win one where the division is exact but for its last bit.
    tall, wide = max(height, ceil(scale * tall - 1e-6)), max(width, ceil(scale * wide - 1e-6))
    return tall, wide, (tall - height) // 2, (wide - width) // 2


def _scaled(picture: np.ndarray, height: int, width: int, resample: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), resample))
