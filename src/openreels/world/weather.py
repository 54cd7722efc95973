"""Rain and falling snow, drawn over the picture: they fall on the lens, wherever the camera looks.

Each drop and flake lives in a cell of a sheet that falls as one; which cells are filled, and where in them, comes from
a table. Legend: T frames  H, W pixels; x (W,), y (H, 1): short sides from the centre. Only exact arithmetic on pixels
(see `shapes`).
"""

from __future__ import annotations

from math import pi, sin

import numpy as np
import torch
from torch import Tensor

from openreels.world.backdrops import far_details
from openreels.world.screen import Screen

__all__ = ["precipitate"]

# Cell width and height, speed (short sides per second), length, half width, cover, share of filled cells.
_RAIN = ((0.085, 0.42, 2.7, 0.20, 0.011, 0.75, 0.75), (0.05, 0.30, 2.1, 0.11, 0.007, 0.5, 0.65))
# Cell width and height, speed, radius, sway, cover, share of filled cells.
_SNOW = ((0.19, 0.19, 0.52, 0.025, 0.035, 1.0, 0.6), (0.105, 0.105, 0.34, 0.014, 0.02, 0.9, 0.6))
SLANT = 0.2  # how far rain is driven sideways, per short side of its fall
WATER = (206.0, 220.0, 240.0)
GREY, DIM = 0.3, 0.76  # of the light in rain
VEIL, HAZE = 0.28, (180.0, 190.0, 204.0)  # of snowfall: lighter than the night, darker than flakes before a bright sky


def _frames(values: list[float], like: Tensor) -> Tensor:
    """One number for each frame, (T, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32, device=like.device)[:, None, None]


def _colour(rgb: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(rgb, device=like.device)[:, None, None, None]


def _cells(position: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """Number of the cell and the place in it, 0..size."""
    number = (position / size).floor()
    return number, position - number * size


def _rain(planes_3THW: Tensor, x: Tensor, y: Tensor, times_T: np.ndarray, variant: int, edge: float) -> Tensor:
    grey = planes_3THW.mean(0)
    planes = (planes_3THW + (grey - planes_3THW) * GREY) * DIM
    for salt, (width, height, speed, length, half, cover, share) in enumerate(_RAIN):
        column, across = _cells(x + SLANT * y + 0.31 * salt, width)
        fallen = _frames([float(time) * speed for time in times_T], y)
        # Each column starts elsewhere, so that drops do not fall in rows.
        row, down = _cells(y - fallen + far_details(column * 3 + variant) * height, height)
        drop = column * 57 + row * 13 + variant + 101 * salt
        beside = (across - (0.2 + 0.6 * far_details(drop + 7)) * width).abs()
        # A streak is brightest at its head, which is below.
        tail = (down / length).clamp(0.0, 1.0) * (down < length)
        streak = ((half - beside) / edge + 0.5).clamp(0.0, 1.0) * tail * (far_details(drop) < share)
        planes = planes + (_colour(WATER, y) - planes) * (streak * cover)
    return planes


def _snowfall(planes_3THW: Tensor, x: Tensor, y: Tensor, times_T: np.ndarray, variant: int, edge: float) -> Tensor:
    planes = planes_3THW + (_colour(HAZE, y) - planes_3THW) * VEIL
    for salt, (width, height, speed, radius, sway, cover, share) in enumerate(_SNOW):
        fallen = _frames([float(time) * speed for time in times_T], y)
        drift = _frames([sway * sin(2.0 * pi * (0.6 * float(time) + 0.3 * salt)) for time in times_T], y)
        column, across = _cells(x + drift + 0.37 * salt, width)
        row, down = _cells(y - fallen + far_details(column * 5 + variant) * height, height)
        flake = column * 31 + row * 71 + variant + 53 * salt
        dx = across - (0.25 + 0.5 * far_details(flake + 3)) * width
        dy = down - (0.25 + 0.5 * far_details(flake + 11)) * height
        white = ((radius - (dx * dx + dy * dy).sqrt()) / edge + 0.5).clamp(0.0, 1.0) * (far_details(flake) < share)
        planes = planes + (255.0 - planes) * (white * cover)
    return planes


_WEATHERS = {"rain": _rain, "snowfall": _snowfall}


def precipitate(planes_3THW: Tensor, weather: str, times_T: np.ndarray, variant: int, screen: Screen) -> Tensor:
    """The picture (float, 0..255) in "rain" or "snowfall". times_T: seconds. variant: 0..255, which drops there are."""
    x, y = screen.from_centre(planes_3THW.device)
    return _WEATHERS[weather](planes_3THW, x, y, times_T, variant, 1.0 / screen.unit)
