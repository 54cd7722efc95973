"""Which place a clip shows and whether it is night: the clip's standing picture against empty stages drawn by the
world.

Legend: T frames  H, W pixels  C = 3 channels, 0..255  V stages of one sort (one per variant)  K palette colours.
All pictures here have a short side of `UNIT` pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from openreels.world import BACKGROUNDS, Scene, render_frames

__all__ = ["UNIT", "Scenery", "find_scenery"]

UNIT = 64  # pixels of the short side at which everything is measured
VARIANTS = 256
MARGIN = 8  # rows kept above and below a stage, so that it can be moved to any floor
FLOORS = np.arange(0.118, 0.2121, 1 / 128)  # height of the floor line above the lower border, short sides
CAP = 48.0  # a pixel farther than this from the stage is hidden by something, or plain wrong: how far does not matter
# Mean capped distance of the better part of the pixels up to which a picture counts as that place (the largest face
# hides 40% of it). True clips stay below 0.05, blurred ones below 0.15, a flat colour or noise is far above.
VISIBLE = 0.55
ACCEPT = 0.22


@dataclass(frozen=True)
class Scenery:
    """What was found. background: of BACKGROUNDS, None when nothing fits. night: None likewise.

    misfit: mean capped distance 0..1 to the stage. floor: y of the floor line in pixels from the top.
    plate_HWC: the empty stage, float32. palette_HKC: colours that this place may show in each row, padded by
    repetition.
    """

    background: str | None
    night: bool | None
    misfit: float
    floor: float
    plate_HWC: Tensor
    palette_HKC: Tensor


def _stages(
    background: str, night: bool, variants: list[int], floors: list[float], height: int, width: int, margin: int
) -> Tensor:
    """Empty stages, uint8 (V, height + 2 margin, width, 3); `floors`: short sides above the lower border of the
    window.
    """
    short = min(height, width)
    scenes = [
        Scene(0, 1.0, width / height, background, night, height / short * 0.5 - floor, variant, ())
        for variant, floor in zip(variants, floors, strict=True)
    ]
    tall = height + 2 * margin
    return render_frames(scenes, fps=16, frames=1, height=tall, width=width, safe_height=height, safe_width=width)[:, 0]


_MIDDLE = round(float(FLOORS[len(FLOORS) // 2]) * UNIT) / UNIT


@lru_cache(maxsize=24)
def _bank(background: str, night: bool, height: int, width: int) -> Tensor:
    """All variants with the floor at `_MIDDLE`, columns averaged in pairs: uint8 (V, H + 2 MARGIN, W / 2, 3)."""
    variants = list(range(VARIANTS)) if background not in ("room", "beach") else [0]
    full = _stages(background, night, variants, [_MIDDLE] * len(variants), height, width, MARGIN).float()
    return (0.5 * (full[:, :, 0 : width - 1 : 2] + full[:, :, 1::2])).round().to(torch.uint8)


def _coarse(half_VHWC: Tensor) -> Tensor:
    """Averages over four rows and two (already halved) columns."""
    height, width = half_VHWC.shape[1] // 4 * 4, half_VHWC.shape[2] // 2 * 2
    return half_VHWC[:, :height, :width].float().unflatten(2, (-1, 2)).mean(3).unflatten(1, (-1, 4)).mean(2)


@lru_cache(maxsize=4)
def _coarse_bank(height: int, width: int) -> tuple[list[tuple[str, bool, int]], Tensor]:
    """Some variants of every place at every other floor, coarse: names (place, night, shift) and (V, H / 4, W / 4,
    3).
    """
    names, parts = [], []
    for background in BACKGROUNDS:
        for night in (False, True):
            for floor in FLOORS[::2]:
                shift = round((_MIDDLE - floor) * UNIT)
                part = _bank(background, night, height, width)[::16, MARGIN - shift : MARGIN - shift + height]
                parts.append(_coarse(part))
                names += [(background, night, shift)] * len(part)
    return names, torch.cat(parts)


@lru_cache(maxsize=24)
def _palette(background: str, night: bool, height: int, width: int, colours: int = 40) -> Tensor:
    """The usual colours of each row of `_bank`, rarest dropped: float32 (H + 2 MARGIN, K, 3)."""
    bank_VHWC = _bank(background, night, height, width)[::8]
    rows = []
    for row_VWC in bank_VHWC.unbind(1):
        pixels = row_VWC.reshape(-1, 3).to(torch.int32)
        cells, inverse, count = torch.unique(pixels // 10, dim=0, return_inverse=True, return_counts=True)
        mean = torch.zeros(len(cells), 3).index_add_(0, inverse, pixels.float()) / count[:, None]
        order = count.argsort(descending=True)[:colours]
        kept = mean[order][count[order] >= 0.002 * len(pixels)]
        rows.append(kept[torch.arange(colours) % len(kept)])
    return torch.stack(rows)


def _misfit(picture_HWC: Tensor, stages_VHWC: Tensor) -> Tensor:
    """Capped distance 0..1 of the picture to each stage, (V, H, W)."""
    return (stages_VHWC - picture_HWC).square_().sum(-1).sqrt_().clamp_(max=CAP) / CAP


def find_scenery(frames_THWC: Tensor) -> Scenery:
    """Best fitting stage of all places, variants and floors. frames: float32 0..255, short side `UNIT`."""
    _, height, width, _ = frames_THWC.shape
    still_HWC = frames_THWC[:: max(1, len(frames_THWC) // 16)].median(0).values
    half_HWC = 0.5 * (still_HWC[:, 0 : width - 1 : 2] + still_HWC[:, 1::2])

    # First a few variants of each place at low resolution, then every variant of the best places, then the exact floor.
    names, coarse = _coarse_bank(height, width)
    misfits = _misfit(_coarse(half_HWC[None])[0], coarse).mean((1, 2))
    places: dict[tuple[str, bool], tuple[float, int]] = {}
    for misfit, (background, night, shift) in zip(misfits.tolist(), names, strict=True):
        places[background, night] = min(places.get((background, night), (np.inf, 0)), (misfit, shift))
    ranked = sorted((misfit, place, shift) for place, (misfit, shift) in places.items())
    exact = []
    for misfit, place, shift in ranked[:3]:
        if misfit < ranked[0][0] + 0.12:
            bank = _bank(*place, height, width)[:, MARGIN - shift : MARGIN - shift + height]
            per_variant = _misfit(half_HWC[::2], bank[:, ::2].float()).mean((1, 2))
            exact.append((per_variant.min().item(), place, int(per_variant.argmin())))
    _, (background, night), variant = min(exact)
    tries = _stages(background, night, [variant] * len(FLOORS), FLOORS.tolist(), height, width, 0).float()
    misfit_VHW = _misfit(still_HWC, tries)
    index = int(misfit_VHW.mean((1, 2)).argmin())
    visible = misfit_VHW[index].flatten().sort().values[: int(VISIBLE * height * width)]
    misfit, floor = visible.mean().item(), float(FLOORS[index])
    first = MARGIN - round((_MIDDLE - floor) * UNIT)
    palette = _palette(background, night, height, width)[first : first + height]
    fits = misfit <= ACCEPT
    return Scenery(
        background if fits else None, night if fits else None, misfit, height - floor * UNIT, tries[index], palette
    )
