"""What subjects wear: hats, bows and glasses, and patterns on their bodies, in radii from its centre (y down).

Legend of the inputs x, y: any equal shapes; px: pixels per radius. Accessories stay upright, patterns turn along.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from openreels.world import shapes

__all__ = ["MIDDLE", "REACH", "layers", "outline", "pattern_shade"]

# The patch that holds any accessory: its middle below the subject's centre, half width and half height; radii.
MIDDLE, REACH = -0.62, (1.06, 1.08)

# How high a head ends, where a hat sits or a bow is tied.
_TOP = {
    "ball": -0.80,
    "box": -0.78,
    "star": -0.58,
    "triangle": -0.52,
    "heart": -0.62,
    "ring": -0.84,
    "person": -0.74,
    "cat": -0.66,
    "robot": -0.70,
}
_INK, _BAND, _RIBBON, _KNOT, _SHINE = (
    (34.0, 26.0, 44.0),
    (250.0, 206.0, 60.0),
    (170.0, 60.0, 236.0),
    (255.0, 236.0, 250.0),
    (232.0, 240.0, 250.0),
)
Layer = tuple[Callable[[Tensor, Tensor], Tensor], tuple[float, float, float]]


def _union(*parts: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def joined(x: Tensor, y: Tensor) -> Tensor:
        distance = parts[0](x, y)
        for part in parts[1:]:
            distance = torch.minimum(distance, part(x, y))
        return distance

    return joined


def _hat(top: float) -> list[Layer]:
    """A tall black hat with a golden band."""

    def brim(x: Tensor, y: Tensor) -> Tensor:
        return shapes.box(x, y - top, 0.78, 0.10, 0.08)

    def crown(x: Tensor, y: Tensor) -> Tensor:
        return shapes.box(x, y - (top - 0.36), 0.48, 0.36, 0.08)

    def band(x: Tensor, y: Tensor) -> Tensor:
        return shapes.box(x, y - (top - 0.19), 0.48, 0.10, 0.0)

    return [(_union(brim, crown), _INK), (band, _BAND)]


def _bow(top: float) -> list[Layer]:
    """A violet ribbon with a light knot and a dark edge, tied to the right of the top."""

    def ribbon(x: Tensor, y: Tensor) -> Tensor:
        u, v = (x - 0.40).abs(), (y - top + 0.10).abs()
        return torch.maximum(u - 0.44, (v - 0.10 - 0.48 * u) * 0.90)

    def edge(x: Tensor, y: Tensor) -> Tensor:
        return ribbon(x, y) - 0.09

    def knot(x: Tensor, y: Tensor) -> Tensor:
        return shapes.circle(x - 0.40, y - top + 0.10, 0.14)

    return [(edge, _INK), (ribbon, _RIBBON), (knot, _KNOT)]


def _glasses(top: float) -> list[Layer]:
    """Sunglasses: dark lenses in light frames with a dark edge, a bridge and arms."""

    def frame(x: Tensor, y: Tensor) -> Tensor:
        lens = shapes.circle(x.abs() - 0.38, y + 0.21, 0.33)
        return torch.minimum(lens, shapes.box(x, y + 0.27, 0.92, 0.07, 0.02))

    def edge(x: Tensor, y: Tensor) -> Tensor:
        return frame(x, y) - 0.08

    def lens(x: Tensor, y: Tensor) -> Tensor:
        return shapes.circle(x.abs() - 0.38, y + 0.21, 0.255)

    def glint(x: Tensor, y: Tensor) -> Tensor:
        return shapes.box(x.abs() - 0.38 + 0.08, y + 0.29, 0.08, 0.05, 0.03)

    return [(edge, _INK), (frame, _SHINE), (lens, _INK), (glint, _SHINE)]


_MAKERS = {"hat": _hat, "bow": _bow, "glasses": _glasses}


def layers(accessory: str, kind: str) -> list[Layer]:
    """Signed distances and colours (0..255), from the back to the front, of an accessory of a subject of this kind."""
    return _MAKERS[accessory](_TOP[kind])


def outline(accessory: str, kind: str, x: Tensor, y: Tensor) -> Tensor:
    """Signed distance of all of it."""
    return _union(*(distance for distance, _ in layers(accessory, kind)))(x, y)


DARKER = 0.48  # what dots and stripes leave of the body's brightness


def pattern_shade(x: Tensor, y: Tensor, px: Tensor, dots: Tensor, stripes: Tensor) -> Tensor:
    """How bright a patterned body is, 1 between the marks. dots, stripes: bool, which have which; else 1."""
    size = 0.5
    dx, dy = ((value / size - (value / size).floor() - 0.5) * size for value in (x, y))
    dot = (0.5 - shapes.circle(dx, dy, 0.15) * px).clamp(0.0, 1.0)
    across = (x + y * 0.5) / size
    bar = ((across - across.floor() - 0.5).abs() - 0.25) * (size * 0.894)
    stripe = (0.5 - bar * px).clamp(0.0, 1.0)
    mark = torch.where(dots, dot, torch.where(stripes, stripe, 0.0))
    return 1.0 - (1.0 - DARKER) * mark
