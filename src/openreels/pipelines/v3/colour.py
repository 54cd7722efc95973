"""Colour matching in Lab: the mean and the spread of each channel are moved to those of a reference.

sRGB <-> Lab as kornia defines it (D65 white, 2 degrees): the official avatar uses that library, and 1e-6 decides
nothing, but a different white point would. Source: kornia's documentation of `rgb_to_lab`; shared/spec/v3.md, 6.5.

Legend: B batch, C channels, T frames, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Anchor", "Correction", "Statistics", "lab_to_rgb", "match_each_frame", "rgb_to_lab"]

XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
RGB_OF_XYZ = (
    (3.2404813432005266, -1.5371515162713185, -0.4985363261688878),
    (-0.9692549499965682, 1.8759900014898907, 0.0415559265582928),
    (0.0556466391351772, -0.2040413383665112, 1.0573110696453443),
)
WHITE_D65 = (0.95047, 1.0, 1.08883)
SMALLEST_SPREAD = 1e-6
# How far an anchor may move the mean (Lab units) and the spread (as a factor's distance from 1).
SAME_FRAMES = (10.0, 0.25)
DRIFT = (3.0, 0.05)
FRAMES_AT_ONCE = 8  # Lab takes several float32 copies; 8 frames of 720p are 0.1 GB each


def mix(matrix: tuple[tuple[float, ...], ...], image: Tensor) -> Tensor:
    """A 3 x 3 matrix over the channels of (..., 3, H, W)."""
    first, second, third = image.unbind(-3)
    return torch.stack([a * first + b * second + c * third for a, b, c in matrix], dim=-3)


def white_of(image: Tensor) -> Tensor:
    return image.new_tensor(WHITE_D65)[:, None, None]


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB (..., 3, H, W) in [0, 1] -> L in 0..100, a and b in about -128..127."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = mix(XYZ_OF_RGB, linear) / white_of(rgb)
    bent = torch.where(xyz > 0.008856, xyz.clamp(min=0.008856) ** (1 / 3), 7.787 * xyz + 4 / 29)
    x, y, z = bent.unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """The reverse, clamped to [0, 1]."""
    lightness, a, b = lab.unbind(-3)
    y = (lightness + 16) / 116
    bent = torch.stack([a / 500 + y, y, (y - b / 200).clamp(min=0)], dim=-3)
    xyz = torch.where(bent > 0.2068966, bent**3, (bent - 4 / 29) / 7.787) * white_of(lab)
    linear = mix(RGB_OF_XYZ, xyz)
    return torch.where(
        linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear
    ).clamp(0, 1)


def lab_of(pixels_BCTHW: Tensor) -> Tensor:
    """(1, 3, T, H, W) in [-1, 1] -> Lab (T, 3, H, W)."""
    return rgb_to_lab(((pixels_BCTHW[0].float() + 1) * 0.5).transpose(0, 1))


def pixels_of(lab_TCHW: Tensor, dtype: torch.dtype) -> Tensor:
    return (lab_to_rgb(lab_TCHW).transpose(0, 1)[None] * 2 - 1).to(dtype)


def spread_and_mean(lab_TCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Population standard deviation and mean of each frame and channel, (T, 3, 1, 1) each."""
    spread, mean = torch.std_mean(lab_TCHW.flatten(2), dim=-1, correction=0)
    return spread[..., None, None], mean[..., None, None]


def match_each_frame(pixels_BCTHW: Tensor, reference_BCTHW: Tensor) -> Tensor:
    """Every frame for itself gets the colours of the reference's first frame; what the official avatar does.

    (1, 3, T, H, W) in [-1, 1], reference (1, 3, 1, H, W). Population standard deviation, not below 1e-6.
    """
    wanted_spread, wanted_mean = spread_and_mean(lab_of(reference_BCTHW[:, :, :1]))
    matched = []
    for part in pixels_BCTHW.split(FRAMES_AT_ONCE, dim=2):
        lab_TCHW = lab_of(part)
        spread, mean = spread_and_mean(lab_TCHW)
        lab_TCHW = (lab_TCHW - mean) * (wanted_spread / spread.clamp(min=SMALLEST_SPREAD)) + wanted_mean
        matched.append(pixels_of(lab_TCHW, part.dtype))
    return torch.cat(matched, dim=2)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of L, a, b over a whole stretch of frames: (3,) float32 each."""

    mean_C: Tensor
    spread_C: Tensor

    @classmethod
    def of(cls, pixels_BCTHW: Tensor) -> Statistics:
        """Of (1, 3, T, H, W) in [-1, 1], all frames together."""
        parts = [
            torch.var_mean(lab_of(part), dim=(2, 3), correction=0) for part in pixels_BCTHW.split(FRAMES_AT_ONCE, dim=2)
        ]
        variance_TC, mean_TC = (torch.cat(values) for values in zip(*parts, strict=True))
        # The variance of all pixels is that inside the frames and that between them.
        return cls(mean_TC.mean(0), (variance_TC.mean(0) + mean_TC.var(0, correction=0)).sqrt())


@dataclass(frozen=True)
class Correction:
    """Lab is scaled by `factor` around `centre`, then shifted; (3,) each."""

    centre_C: Tensor
    factor_C: Tensor
    shift_C: Tensor

    @classmethod
    def between(cls, source: Statistics, target: Statistics, mean_limit: float, spread_limit: float) -> Correction:
        """From `source` to `target`, no further than the limits.

        mean_limit: Lab units. spread_limit: 0.05 lets the factor move within 0.95 .. 1.05.
        """
        factor_C = target.spread_C / source.spread_C.clamp(min=SMALLEST_SPREAD)
        shift_C = target.mean_C - source.mean_C
        return cls(
            source.mean_C,
            factor_C.clamp(1 - spread_limit, 1 + spread_limit),
            shift_C.clamp(-mean_limit, mean_limit),
        )

    def apply(self, pixels_BCTHW: Tensor, weights_T: Tensor) -> Tensor:
        """(1, 3, T, H, W) in [-1, 1], each frame corrected as much as its weight in 0..1 says."""
        centre, factor, shift = (v[None, :, None, None] for v in (self.centre_C, self.factor_C, self.shift_C))
        corrected = []
        for part, weights in zip(
            pixels_BCTHW.split(FRAMES_AT_ONCE, dim=2), weights_T.split(FRAMES_AT_ONCE), strict=True
        ):
            lab_TCHW = lab_of(part)
            moved_TCHW = (lab_TCHW - centre) * factor + centre + shift
            weight_T111 = weights.to(lab_TCHW)[:, None, None, None]
            corrected.append(pixels_of(torch.lerp(lab_TCHW, moved_TCHW, weight_T111), part.dtype))
        return torch.cat(corrected, dim=2)


class Anchor:
    """Holds the colours of a video that is made pass by pass where they began.

    Two corrections, each where the truth is known: a pass shows the frames that it continues once more, so whatever
    colour they have now and had not before, its new frames have too; and a pass whose colours as a whole differ a
    little from those of the first pass has drifted, so it is led back, from nothing at its first frame to everything
    at its last, which leaves no seam. Larger differences are new scenery: only the limit is taken off them.
    """

    def __init__(self) -> None:
        self.first: Statistics | None = None

    def hold(self, new_BCTHW: Tensor, again_BCTHW: Tensor, given_BCTHW: Tensor) -> Tensor:
        """The new frames of a pass, corrected. again: the frames that it continued, as it shows them. given: as they
        are."""
        again, given = Statistics.of(again_BCTHW), Statistics.of(given_BCTHW)
        count = new_BCTHW.shape[2]
        held = Correction.between(again, given, *SAME_FRAMES).apply(new_BCTHW, torch.ones(count))
        statistics = Statistics.of(held)
        if self.first is None:
            self.first = statistics
            return held
        ramp_T = torch.arange(1, count + 1) / count
        return Correction.between(statistics, self.first, *DRIFT).apply(held, ramp_T)
