"""Signed distances of the subjects' outlines, negative inside, in radius units (y down).

Only additions, products, roots and comparisons: they round the same way in every vector width, so a picture does not
depend on the batch it was made in. Legend of the inputs x, y: any equal shapes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["OUTLINES", "box", "circle", "ellipse", "triangle_up"]


def circle(x: Tensor, y: Tensor, radius: float = 1.0) -> Tensor:
    return (x * x + y * y).sqrt() - radius


def box(
    x: Tensor, y: Tensor, half_width: Tensor | float, half_height: Tensor | float, corner: Tensor | float
) -> Tensor:
    """Rectangle with rounded corners; the halves include the corner."""
    qx, qy = x.abs() - (half_width - corner), y.abs() - (half_height - corner)
    ox, oy = qx.clamp(min=0), qy.clamp(min=0)
    return (ox * ox + oy * oy).sqrt() + torch.maximum(qx, qy).clamp(max=0) - corner


def ellipse(x: Tensor, y: Tensor, half_width: Tensor | float, half_height: Tensor | float) -> Tensor:
    """First-order distance (value over gradient): good near the outline, which is all that antialiasing needs."""
    u, v = x / half_width, y / half_height
    value = u * u + v * v
    gradient = ((u / half_width).square() + (v / half_height).square()).sqrt() * 2.0
    return (value - 1.0) / gradient.clamp(min=1e-3)


def triangle_up(x: Tensor, y: Tensor, top: float, bottom: float, half_width: float) -> Tensor:
    """Isosceles, apex up."""
    height = bottom - top
    norm = (height * height + half_width * half_width) ** 0.5
    side = (x.abs() * height - (y - top) * half_width) / norm
    return torch.maximum(side, y - bottom)


def _box(x: Tensor, y: Tensor) -> Tensor:
    return box(x, y, 0.86, 0.86, 0.12)


def _ring(x: Tensor, y: Tensor) -> Tensor:
    return (circle(x, y, 0.69)).abs() - 0.31


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    return triangle_up(x, y, -0.98, 0.72, 0.98)


_COS36, _SIN36 = 0.8090169943749475, 0.5877852522924731


def _star(x: Tensor, y: Tensor) -> Tensor:
    """Five points, one up; folds the plane into one tenth of the star."""
    px, py = x.abs(), -y
    dot = (_COS36 * px - _SIN36 * py).clamp(min=0) * 2.0
    px, py = px - dot * _COS36, py + dot * _SIN36
    dot = (-_COS36 * px - _SIN36 * py).clamp(min=0) * 2.0
    px, py = (px + dot * _COS36).abs(), py + dot * _SIN36 - 1.0
    inner = 0.52
    bx, by = inner * _SIN36, inner * _COS36 - 1.0
    along = ((px * bx + py * by) / (bx * bx + by * by)).clamp(0.0, 1.0)
    dx, dy = px - bx * along, py - by * along
    inside = py * bx - px * by < 0
    distance = (dx * dx + dy * dy).sqrt()
    return torch.where(inside, -distance, distance)


def _heart(x: Tensor, y: Tensor) -> Tensor:
    scale = 1.62
    px, py = x.abs() / scale, (0.92 - y) / scale
    lobe = ((px - 0.25).square() + (py - 0.75).square()).sqrt() - 0.3535533905932738
    half = (px + py).clamp(min=0) * 0.5
    tip = torch.minimum(px * px + (py - 1.0).square(), (px - half).square() + (py - half).square()).sqrt()
    body = torch.where(px < py, -tip, tip)
    return torch.where(px + py > 1.0, lobe, body) * scale


def _ball(x: Tensor, y: Tensor) -> Tensor:
    return circle(x, y, 1.0)


def _person(x: Tensor, y: Tensor) -> Tensor:
    head = ellipse(x, y - 0.02, 0.84, 0.90)
    ears = circle(x.abs() - 0.86, y - 0.05, 0.14)
    hair = ellipse(x, y + 0.16, 0.90, 0.86)
    return torch.minimum(torch.minimum(head, ears), torch.maximum(hair, y + 0.05))


def _cat(x: Tensor, y: Tensor) -> Tensor:
    head = ellipse(x, y - 0.06, 0.92, 0.84)
    # Ears lean outwards: a triangle in sheared coordinates.
    ear = triangle_up(x.abs() - 0.60 + 0.28 * (y + 0.7), y, -1.12, -0.30, 0.36)
    return torch.minimum(head, ear)


def _robot(x: Tensor, y: Tensor) -> Tensor:
    head = box(x, y - 0.04, 0.86, 0.80, 0.18)
    antenna = torch.minimum(box(x, y + 0.92, 0.06, 0.2, 0.03), circle(x, y + 1.13, 0.15))
    bolts = box(x.abs() - 0.90, y - 0.02, 0.10, 0.22, 0.05)
    return torch.minimum(torch.minimum(head, antenna), bolts)


OUTLINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ball": _ball,
    "box": _box,
    "star": _star,
    "triangle": _triangle,
    "heart": _heart,
    "ring": _ring,
    "person": _person,
    "cat": _cat,
    "robot": _robot,
}
