"""How the finished picture is drawn: its style, the tone of its light, and effects that unfold while it runs.

Legend: T frames  H, W pixels; pictures are float planes (3, T, H, W) in 0..255. Only exact arithmetic on pixels (see
`shapes`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sin

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from openreels.world.screen import Screen

__all__ = ["draw_in_style", "light", "unfold"]

_TONES = {"warm": (1.10, 0.95, 0.70), "cool": (0.74, 0.94, 1.14)}
SHEET = 50.0  # brightness from one sheet of a paper cut to the next
HUE_STEP = 28.0  # between its colours
PAPER = (246.0, 242.0, 232.0)
TINT = 0.16  # how much colour a pencil leaves
BLOCK = 4  # pixels of a pixel picture's blocks at 64 pixels per short side
PIXEL_STEPS = (36.0, 24.0)  # of its brightness and its colours

SWING, SHEEN = 0.06, 0.14  # of a ripple: short sides, share of the light


def _planes(rgb: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float32, device=like.device)[:, None, None, None]


def _grey(planes: Tensor) -> Tensor:
    return planes[0] * 0.299 + planes[1] * 0.587 + planes[2] * 0.114


def _around(planes: Tensor, reach: int) -> Callable[[int, int], Tensor]:
    """A function that moves the picture down and right by up to `reach` whole pixels; its border is repeated."""
    height, width = planes.shape[-2:]
    padded = pad(planes, (reach,) * 4, mode="replicate")

    def moved(down: int, right: int) -> Tensor:
        top, left = reach - down, reach - right
        return padded[..., top : top + height, left : left + width]

    return moved


def _edges(planes: Tensor, step: int) -> Tensor:
    """The largest difference of any colour to the neighbours below, to the right and across, (T, H, W)."""
    moved, result = _around(planes, step), None
    for down, right in ((-step, 0), (0, -step), (-step, -step)):
        difference = (planes - moved(down, right)).abs_().amax(0)
        result = difference if result is None else torch.maximum(result, difference)
    return result


def _flat(grey: Tensor, colour: Tensor, step: float, colour_step: float) -> Tensor:
    """Few levels of brightness plus few of colour (what a colour differs from its grey); greys stay grey."""
    return ((grey / step).round() * step + (colour / colour_step).round() * colour_step).clamp(0.0, 255.0)


def _paper(planes: Tensor, screen: Screen) -> Tensor:
    """Sheets of flat colour, each with a bright cut edge at its upper left, that throw shadows to the lower right."""
    grey = _grey(planes)
    sheets = _flat(grey, (planes - grey) * 1.2, SHEET, HUE_STEP)
    step = screen.step
    moved, shadow = _around(sheets, 2 * step), torch.zeros_like(grey)
    for distance, depth in ((1, 0.45), (2, 0.28)):
        apart = (moved(distance * step, distance * step) - sheets).abs_().amax(0)
        shadow = torch.maximum(shadow, (apart > 60.0) * depth)
    cut = (moved(-step, -step) - sheets).abs_().amax(0) > 60.0
    return sheets + (250.0 - sheets) * (cut * 0.30) - sheets * (shadow * ~cut)


def _sketch(planes: Tensor, screen: Screen) -> Tensor:
    """Grey lines where colours meet, hatching where it is dark, a breath of colour."""
    grey, step = _grey(planes), screen.step
    line = ((_edges(planes, step) - 16.0) / 70.0).clamp(0.0, 1.0)
    x = torch.arange(planes.shape[-1], device=planes.device) - screen.left
    y = torch.arange(planes.shape[-2], device=planes.device)[:, None] - screen.top
    one, other = ((x + y) // step) % 4 == 0, ((x - y) // step) % 4 == 0
    hatch = one * ((150.0 - grey) / 100.0).clamp(0.0, 0.5) + other * ((75.0 - grey) / 75.0).clamp(0.0, 0.5)
    paper = _planes(PAPER, planes) + (planes - grey) * TINT
    return paper * (1.0 - 0.55 * hatch.clamp(0.0, 1.0)) * (1.0 - 0.78 * line)


def _pixel(planes: Tensor, screen: Screen) -> Tensor:
    """Square blocks, counted from the safe window's corner, in few colours."""
    size = max(BLOCK * screen.unit // 64, 2)
    height, width = planes.shape[-2:]
    left, top = -screen.left % size, -screen.top % size
    right, bottom = -(width + left) % size, -(height + top) % size
    padded = pad(planes.round(), (left, right, top, bottom), mode="replicate")
    blocks = padded.unflatten(-1, (-1, size)).unflatten(-3, (-1, size)).sum((-1, -3)) / (size * size)
    grey = _grey(blocks)
    blocks = _flat(grey, blocks - grey, *PIXEL_STEPS)
    large = blocks.repeat_interleave(size, -1).repeat_interleave(size, -2)
    return large[..., top : top + height, left : left + width]


def _neon(planes: Tensor, screen: Screen) -> Tensor:
    """Dark, with edges that glow in the purest form of their colour; what has none glows violet."""
    step = screen.step
    low, high = planes.amin(0), planes.amax(0)
    purity = (high - low) / high.clamp(min=1.0)
    pure = (planes - low) / (high - low).clamp(min=1.0) * 255.0
    colour = pure + (_planes((150.0, 40.0, 255.0), planes) - pure) * (1.0 - (purity * 2.2 - 0.25).clamp(0.0, 1.0))
    line = ((_edges(planes, step) - 10.0) / 45.0).clamp(0.0, 1.0)
    rays = colour * line
    glow = rays
    # A binomial blur, twice in each direction.
    for down, right in ((1, 0), (2, 0), (0, 1), (0, 2)):
        moved = _around(glow, 2 * step)
        near = moved(down * step, right * step) + moved(-down * step, -right * step)
        glow = glow * 0.5 + near * 0.25
    dark = planes * 0.10 + _planes((10.0, 2.0, 26.0), planes)
    return (torch.maximum(dark + glow * 0.9, rays) + line * 50.0).clamp(0.0, 255.0)


_STYLES = {"paper": _paper, "sketch": _sketch, "pixel": _pixel, "neon": _neon}


def draw_in_style(planes_3THW: Tensor, style: str, screen: Screen) -> Tensor:
    """The picture in one of `STYLES` but "plain"."""
    return _STYLES[style](planes_3THW, screen)


def light(planes_3THW: Tensor, tone: str) -> Tensor:
    """The picture in "warm" or "cool" light."""
    return (planes_3THW * _planes(_TONES[tone], planes_3THW)).clamp(0.0, 255.0)


def _fade(planes: Tensor, share: Tensor, times_T: np.ndarray, screen: Screen) -> Tensor:
    return planes + (_grey(planes) - planes) * share


def _spotlight(planes: Tensor, share: Tensor, times_T: np.ndarray, screen: Screen) -> Tensor:
    """The dark comes in from the corners and leaves a circle in the middle."""
    x, y = screen.from_centre(planes.device)
    far = max(screen.height, screen.width) / screen.unit * 0.75
    radius = far + (0.30 - far) * share
    distance = (x * x + y * y).sqrt()
    dark = ((distance - radius) / 0.12).clamp(0.0, 1.0)
    return planes * (1.0 - 0.9 * dark * (share * 4.0).clamp(max=1.0))


def _ripple(planes: Tensor, share: Tensor, times_T: np.ndarray, screen: Screen) -> Tensor:
    """Rows swing sideways in waves that run down, with a sheen on one flank of each."""
    width = planes.shape[-1]
    _, y = screen.from_centre(planes.device)
    waves = [[sin(2.0 * pi * (3.2 * float(row) - 1.1 * float(time))) for row in y[:, 0]] for time in times_T]
    wave = torch.tensor(waves, dtype=torch.float32, device=planes.device)[..., None] * share
    source = torch.arange(width, device=planes.device, dtype=torch.float32) + wave * (SWING * screen.unit)
    whole = source.floor()
    rest = source - whole
    first = whole.long().clamp(0, width - 1).expand(3, -1, -1, -1)
    second = (whole.long() + 1).clamp(0, width - 1).expand(3, -1, -1, -1)
    left, right = planes.gather(-1, first), planes.gather(-1, second)
    return (left + (right - left) * rest) * (1.0 + SHEEN * wave)


_EFFECTS = {"grey": _fade, "spotlight": _spotlight, "ripple": _ripple}


def unfold(planes_3THW: Tensor, effect: str, times_T: np.ndarray, duration: float, screen: Screen) -> Tensor:
    """The picture under one of `EFFECTS`: nothing of it at time 0, all of it at `duration` (seconds) and after."""
    shares = [min(max(float(time) / duration, 0.0), 1.0) for time in times_T]
    share = torch.tensor(shares, dtype=torch.float32, device=planes_3THW.device)[:, None, None]
    return _EFFECTS[effect](planes_3THW, share, times_T, screen)
