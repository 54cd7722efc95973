"""Aspect ratios and picture sizes.

The rule: a model generates on the *canvas*, the smallest multiple of its grid that covers the picture, and the picture
is cropped from the canvas's centre to its exact size. Given frames go the other way, their edges repeated outwards.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

__all__ = ["ASPECTS", "canvas_size", "centre_crop", "frame_size", "pad_to_canvas", "short_side"]

ASPECTS = {
    "16:9": Fraction(16, 9),
    "4:3": Fraction(4, 3),
    "1:1": Fraction(1),
    "3:4": Fraction(3, 4),
    "9:16": Fraction(9, 16),
}


def short_side(resolution: str) -> int:
    """Pixels of the short side: "64p" -> 64."""
    return int(resolution.removesuffix("p"))


def frame_size(aspect: str, short_side: int) -> tuple[int, int]:
    """(height, width) in pixels: the short side as asked, the long side the even number nearest to the ratio.

    Raises ValueError where the aspect is unknown or the short side is odd or not positive.
    """
    if aspect not in ASPECTS:
        raise ValueError(f"aspect must be one of {', '.join(ASPECTS)}, not {aspect!r}")
    if short_side < 2 or short_side % 2:
        raise ValueError(f"the short side must be a positive even number of pixels, not {short_side}")
    ratio = ASPECTS[aspect]
    long_side = 2 * round(short_side * max(ratio, 1 / ratio) / 2)
    return (short_side, long_side) if ratio >= 1 else (long_side, short_side)


def canvas_size(height: int, width: int, multiple: int = 16) -> tuple[int, int]:
    """(height, width) of the smallest grid of `multiple` pixels that covers the picture."""
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def centre_crop(frames, height: int, width: int):
    """The central height x width of (..., H, W, C) frames, as a view; numpy or torch. Raises ValueError if larger."""
    tall, wide = frames.shape[-3:-1]
    if height > tall or width > wide:
        raise ValueError(f"cannot crop {height} x {width} (height x width) from frames of {tall} x {wide}")
    top, left = (tall - height) // 2, (wide - width) // 2
    return frames[..., top : top + height, left : left + width, :]


def pad_to_canvas(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """(..., H, W, C) frames centred on a height x width canvas, edges repeated; `centre_crop` undoes it exactly."""
    tall, wide = frames.shape[-3:-1]
    if height < tall or width < wide:
        raise ValueError(f"a canvas of {height} x {width} (height x width) does not cover frames of {tall} x {wide}")
    top, left = (height - tall) // 2, (width - wide) // 2
    margins = ((top, height - tall - top), (left, width - wide - left), (0, 0))
    return np.pad(frames, ((0, 0),) * (frames.ndim - 3) + margins, mode="edge")
