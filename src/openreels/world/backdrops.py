"""The six calm backgrounds, by day and by night: pale and greyish, so that saturated subjects stand out.

Legend: N scenes  H, W pixels. x, y: scene coordinates of pixel centres (short sides); y counts from the floor line
here, up positive. Colours are 0..255 floats. Only exact arithmetic (see `shapes`): pictures do not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor

__all__ = ["far_details", "paint"]

# Random heights of far things, indexed by their number: no noise function that might round differently elsewhere.
_TABLE = torch.tensor([Random(f"far details {i}").random() for i in range(256)])


def _colour(*rgb: float, like: Tensor) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float32, device=like.device)[:, None, None, None]


def far_details(index: Tensor) -> Tensor:
    """A fixed random number in [0, 1) for each whole number."""
    return _TABLE.to(index.device)[(index.long() & 255)]


def _mix(base_3NHW: Tensor, rgb: tuple[float, float, float], cover: Tensor) -> Tensor:
    return base_3NHW + (_colour(*rgb, like=cover) - base_3NHW) * cover


def _gradient(top: tuple[float, float, float], low: tuple[float, float, float], y: Tensor, x: Tensor) -> Tensor:
    """From `low` at the floor line to `top` 0.85 short sides above it."""
    weight = (y / 0.85).clamp(0.0, 1.0)
    sky = _colour(*low, like=y) + weight * (_colour(*top, like=y) - _colour(*low, like=y))
    return sky.expand(3, *torch.broadcast_shapes(x.shape, y.shape))


def _cell(x: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Number of the cell of this width and the place in it, -0.5..0.5."""
    scaled = x / width
    number = scaled.floor()
    return number, scaled - number - 0.5


def _hills(x: Tensor, y: Tensor, width: float, low: float, high: float, salt: int, edge: float) -> Tensor:
    """Cover 0..1 of overlapping round hills."""
    cover = torch.zeros((), device=x.device)
    for shift in (0.0, 0.5):
        number, place = _cell(x + shift * width, width)
        height = low + (high - low) * far_details(number + salt + (89 if shift else 0))
        top = height * (1.0 - (place * place) * 3.2)
        cover = torch.maximum(cover, ((top - y) / edge + 0.5).clamp(0.0, 1.0))
    return cover


def _clouds(base: Tensor, x: Tensor, y: Tensor, rgb: tuple[float, float, float], strength: float) -> Tensor:
    number, place = _cell(x, 0.8)
    height = 0.55 + 0.2 * far_details(number + 31)
    dx, dy = place * 0.8 + 0.15 * (far_details(number + 77) - 0.5), (y - height) * 3.0
    puff = 1.0 - (dx * dx + dy * dy) / 0.05
    other = 1.0 - ((dx - 0.13) * (dx - 0.13) + (dy + 0.06) * (dy + 0.06)) / 0.03
    return _mix(base, rgb, torch.maximum(puff, other).clamp(0.0, 0.5) * 2.0 * strength)


def _ground(base: Tensor, y: Tensor, rgb: tuple[float, float, float], deep: tuple[float, float, float], edge: float):
    """The ground below the floor line, a little darker towards us, with a thin dark line on top that marks contacts."""
    cover = (-y / edge + 0.5).clamp(0.0, 1.0).expand(base.shape[1:])
    depth = (-y / 0.35).clamp(0.0, 1.0)
    near, far = _colour(*deep, like=y), _colour(*rgb, like=y)
    ground = far + (near - far) * depth
    line = (1.0 - (y + 0.012).abs() / 0.014).clamp(0.0, 1.0) * 0.28
    ground = ground * (1.0 - line)
    return base + (ground - base) * cover


def _meadow(x: Tensor, y: Tensor, edge: float) -> Tensor:
    sky = _gradient((168, 204, 230), (222, 234, 236), y, x)
    sky = _clouds(sky, x, y, (246, 248, 250), 0.8)
    sky = _mix(sky, (182, 204, 186), _hills(x, y, 1.1, 0.16, 0.34, 3, edge))
    sky = _mix(sky, (162, 190, 160), _hills(x + 0.37, y, 0.7, 0.06, 0.16, 40, edge))
    ground = _ground(sky, y, (150, 182, 132), (128, 160, 112), edge)
    number, place = _cell(x, 0.09)
    depth = -0.05 - 0.12 * far_details(number + 9)
    flower = 1.0 - ((place * 0.09).square() + (y - depth).square()).sqrt() / 0.018
    return _mix(ground, (236, 226, 232), flower.clamp(0.0, 1.0) * (far_details(number + 151) > 0.6))


def _beach(x: Tensor, y: Tensor, edge: float, sun_shines: bool = True) -> Tensor:
    sky = _gradient((186, 214, 226), (238, 236, 224), y, x)
    if sun_shines:
        sun = ((0.11 - ((x - 0.22).square() + (y - 0.62).square()).sqrt()) / edge + 0.5).clamp(0.0, 1.0)
        sky = _mix(sky, (252, 244, 214), sun)
    sea = _mix(sky, (128, 172, 190), ((0.24 - y) / edge + 0.5).clamp(0.0, 1.0).expand(sky.shape[1:]))
    number, place = _cell(x + 0.5 * (y * 20).floor() * 0.17, 0.31)
    row = (y * 20) - (y * 20).floor()
    crest = (1.0 - (row - 0.5).abs() * 5.0).clamp(0.0, 1.0) * (1.0 - place.abs() * 3.2).clamp(0.0, 1.0)
    sea = _mix(sea, (196, 218, 224), crest * (far_details(number + (y * 20).floor() * 7) > 0.45) * (y < 0.2))
    return _ground(sea, y, (226, 210, 174), (206, 188, 150), edge)


def _city(x: Tensor, y: Tensor, edge: float) -> Tensor:
    scene = _gradient((188, 194, 212), (226, 222, 222), y, x)
    for width, low, high, rgb, salt in (
        (0.23, 0.28, 0.62, (190, 188, 202), 11),
        (0.31, 0.12, 0.42, (166, 164, 182), 90),
    ):
        number, place = _cell(x + salt * 0.013, width)
        height = low + (high - low) * far_details(number + salt)
        wall = ((height - y) / edge + 0.5).clamp(0.0, 1.0) * (((0.46 - place.abs()) * width) / edge + 0.5).clamp(
            0.0, 1.0
        )
        scene = _mix(scene, rgb, wall)
        window_row, wy = _cell(y, 0.085)
        window_column, wx = _cell(place * width, 0.075)
        light = (wx.abs() < 0.27) & (wy.abs() < 0.25) & (place.abs() < 0.40) & (y < height - 0.05) & (y > 0.04)
        lit = far_details(number * 31 + window_row * 7 + window_column + salt) > 0.45
        scene = _mix(scene, (224, 218, 196), (light & lit) * 0.8)
    return _ground(scene, y, (158, 158, 164), (136, 136, 144), edge)


def _room(x: Tensor, y: Tensor, edge: float) -> Tensor:
    scene = _gradient((226, 212, 200), (214, 198, 186), y, x)
    _, place = _cell(x, 0.16)
    scene = _mix(scene, (206, 190, 180), ((place.abs() < 0.08) * 0.45).expand(scene.shape[1:]))
    frame = torch.maximum((x + 0.18).abs() - 0.19, (y - 0.52).abs() - 0.16)
    scene = _mix(scene, (150, 122, 104), (-frame / edge + 0.5).clamp(0.0, 1.0))
    view = (-(frame + 0.03) / edge + 0.5).clamp(0.0, 1.0)
    scene = _mix(scene, (190, 210, 220), view)
    scene = _mix(scene, (168, 186, 172), view * ((0.47 + 0.25 * (x + 0.18) - y) / edge + 0.5).clamp(0.0, 1.0))
    board = ((0.05 - y) / edge + 0.5).clamp(0.0, 1.0).expand(scene.shape[1:])
    scene = _mix(scene, (236, 228, 220), board)
    ground = _ground(scene, y, (178, 146, 122), (156, 126, 104), edge)
    _, plank = _cell(x + y * x * 0.6, 0.3)
    return _mix(ground, (142, 114, 94), ((plank.abs() < 0.03) & (y < -0.02)) * 0.7)


def _snow(x: Tensor, y: Tensor, edge: float) -> Tensor:
    scene = _gradient((162, 184, 208), (202, 212, 222), y, x)
    number, place = _cell(x, 0.62)
    height = 0.34 + 0.24 * far_details(number + 5)
    slope = height - place.abs() * 0.62 * 0.95
    scene = _mix(scene, (160, 174, 192), ((slope - y) / edge + 0.5).clamp(0.0, 1.0))
    scene = _mix(scene, (216, 222, 230), ((slope - y) / edge + 0.5).clamp(0.0, 1.0) * (y > height - 0.12))
    number, place = _cell(x + 0.1, 0.19)
    height = 0.14 + 0.12 * far_details(number + 60)
    tier = y / height * 3.0
    tree = (1.0 - y / height) * 0.075 + 0.022 * (tier.floor() + 1.0 - tier) - (place * 0.19).abs()
    scene = _mix(
        scene, (124, 146, 146), (tree / edge + 0.5).clamp(0.0, 1.0) * (far_details(number + 17) > 0.35) * (y < height)
    )
    return _ground(scene, y, (206, 214, 224), (186, 198, 214), edge)


def _desert(x: Tensor, y: Tensor, edge: float) -> Tensor:
    scene = _gradient((214, 206, 206), (240, 222, 200), y, x)
    number, place = _cell(x + 0.2, 0.95)
    mesa = torch.maximum(
        place.abs() * 0.95 - 0.2 - 0.10 * (0.3 - y).clamp(min=0), y - 0.2 - 0.14 * far_details(number + 70)
    )
    scene = _mix(scene, (208, 176, 156), (-mesa / edge + 0.5).clamp(0.0, 1.0))
    scene = _mix(scene, (222, 194, 160), _hills(x, y, 0.9, 0.05, 0.15, 21, edge))
    number, place = _cell(x, 0.55)
    dx = place * 0.55 - 0.2 * (far_details(number + 13) - 0.5)
    trunk = torch.maximum(dx.abs() - 0.022, y - 0.24)
    arm = torch.minimum(
        torch.maximum((dx - 0.035).abs() - 0.05, (y - 0.11).abs() - 0.016),
        torch.maximum((dx - 0.075).abs() - 0.015, (y - 0.145).abs() - 0.045),
    )
    cactus = torch.minimum(trunk, arm)
    scene = _mix(scene, (148, 158, 134), (-cactus / edge + 0.5).clamp(0.0, 1.0) * (far_details(number + 44) > 0.3))
    return _ground(scene, y, (224, 194, 154), (204, 172, 132), edge)


_PAINTERS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "meadow": _meadow,
    "beach": _beach,
    "city": _city,
    "room": _room,
    "snow": _snow,
    "desert": _desert,
}


def _night(day: Tensor, x: Tensor, y: Tensor, background: str, edge: float) -> Tensor:
    """Darker and bluish; a moon and stars outdoors, lit windows in the city, a lamp's warmth in the room."""
    if background == "room":
        glow = (1.0 - ((x - 0.25).square() + (y - 0.5).square()) / 0.5).clamp(0.0, 1.0)
        tint = _colour(0.34, 0.34, 0.44, like=day) + glow * _colour(0.28, 0.22, 0.10, like=day)
        return day * tint
    dark = day * _colour(0.36, 0.39, 0.53, like=day)
    if background == "city":
        warm = (day[0] - day[2] > 14.0) & (day[0] > 200.0)
        dark = torch.where(warm, day * _colour(0.80, 0.72, 0.48, like=day), dark)
    sky = (day[2] >= day[0] - 60.0) & (y > 0.42)
    column, dx = _cell(x, 0.13)
    row, dy = _cell(y, 0.13)
    there = far_details(column * 13 + row * 57) > 0.6
    jitter = 0.5 * (far_details(column * 7 + row * 3 + 5) - 0.5)
    star = (1.0 - ((dx - jitter).square() + (dy + jitter).square()).sqrt() * 0.13 / 0.016).clamp(0.0, 1.0)
    dark = _mix(dark, (214, 216, 224), star * there * sky * 0.8)
    distance = ((x + 0.26).square() + (y - 0.64).square()).sqrt()
    moon = ((0.085 - distance) / edge + 0.5).clamp(0.0, 1.0)
    bite = ((0.075 - ((x + 0.22).square() + (y - 0.665).square()).sqrt()) / edge + 0.5).clamp(0.0, 1.0)
    return _mix(dark, (232, 230, 214), moon * (1.0 - bite))


def paint(background: str, night: bool, x_N1W: Tensor, up_NH1: Tensor, variant_N11: Tensor, edge: float) -> Tensor:
    """Backgrounds of N scenes of one sort, float planes (3, N, H, W) in 0..255.

    x_N1W: short sides from the centre. up_NH1: short sides above the floor line. variant_N11: 0..255, shifts far
    details. edge: short sides per pixel.
    """
    # Multiples of a power of two keep the sum exact whatever the variant.
    x = x_N1W + variant_N11 * 0.21875 * (background not in ("room", "beach"))
    day = _beach(x, up_NH1, edge, not night) if background == "beach" else _PAINTERS[background](x, up_NH1, edge)
    return _night(day, x_N1W, up_NH1, background, edge) if night else day
