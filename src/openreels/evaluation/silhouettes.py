"""The strict judge of shapes: the soft outline of a subject, frame by frame, against silhouettes drawn by the world.

Every outline is brought to one area and centred, then compared with each kind at several sizes, places and (for what
may turn) angles. Besides the world's kinds there are impostors: smooth blobs, ellipses, diamonds and the like. What
looks most like an impostor, or not enough like anything, is no shape at all.

Legend: T frames  H, W pixels  N frames judged  P = SIDE * SIDE pixels of the standard window  M templates.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from openreels.evaluation.subjects import Thing, subject_distance
from openreels.world import SHAPES
from openreels.world.shapes import OUTLINES

__all__ = ["Outline", "judge_shape", "outline_scores", "soft_outlines"]

SIDE = 36
STANDARD_RADIUS = 10.0  # of the disc whose area every outline is brought to
LEAST_LIKENESS = 0.80  # overlap with the best template, 0..1; the world's own frames reach 0.95, through a codec 0.9
LEAST_CRISPNESS = 0.55
MOST_FRAMES = 12  # judged per clip: those in which the subject moves least, because any codec smears the others
SIZES = (0.92, 0.96, 1.0, 1.04, 1.08)
SHIFTS = (-1.2, -0.6, 0.0, 0.6, 1.2)
STAR_ANGLES = 8


def _grid(side: int, fine: int) -> tuple[Tensor, Tensor]:
    """x, y of the sub-pixel centres of a window, in pixels from its centre."""
    line = (torch.arange(side * fine, dtype=torch.float32) + 0.5) / fine - side / 2
    return line[None, :].expand(side * fine, -1), line[:, None].expand(-1, side * fine)


def _turned(kind: str, angle: float):
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))

    def outline(x: Tensor, y: Tensor) -> Tensor:
        return OUTLINES[kind](cosine * x + sine * y, cosine * y - sine * x)

    return outline


def _impostors() -> dict:
    def ellipse(stretch: float):
        return lambda x, y: ((x / stretch).square() + (y * stretch).square()).sqrt() - 1.0

    def pentagon(x: Tensor, y: Tensor) -> Tensor:
        sides = [x * float(np.sin(a)) + y * float(np.cos(a)) for a in np.arange(5) * 2 * np.pi / 5]
        return torch.stack(sides).amax(0) - 0.85

    return {
        # Faces are known by their features, not here: see `faces`.
        "outline of a cat": OUTLINES["cat"],
        "outline of a robot": OUTLINES["robot"],
        "tall ellipse": ellipse(0.8),
        "wide ellipse": ellipse(1.25),
        "diamond": _turned("box", np.pi / 4),
        "hanging triangle": _turned("triangle", np.pi),
        "hanging heart": _turned("heart", np.pi),
        "pentagon": pentagon,
        # Soft edges instead of sharp ones: the outline of something out of focus.
        "blob": lambda x, y: ((x * x + y * y).sqrt() - 1.0) * 0.09,
        "faint blob": lambda x, y: ((x * x + y * y).sqrt() - 0.9) * 0.05,
    }


_BINOMIAL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
_SOFTEN = _BINOMIAL[:, None] * _BINOMIAL  # a blur of one pixel (standard deviation)


@cache
def _templates() -> tuple[tuple[str, ...], Tensor, Tensor, Tensor]:
    """Names (M,), pictures (M, P) in 0..1, their sums of squares (M,), distances to the outline in pixels (M, P)."""
    outlines = [(kind, _turned(kind, 0.0)) for kind in SHAPES]
    outlines += [("star", _turned("star", 2 * np.pi / 5 * i / STAR_ANGLES)) for i in range(1, STAR_ANGLES)]
    outlines += list(_impostors().items())
    names, signed = [], []
    x, y = _grid(SIDE, 2)
    for name, outline in outlines:
        first = (0.5 - outline(x / 10.0, y / 10.0) * 10.0).clamp(0.0, 1.0)
        middle_x, middle_y = ((first * axis).sum().item() / first.sum().item() / 10.0 for axis in (x, y))
        scale = 10.0 * (np.pi * STANDARD_RADIUS**2 / (first.sum().item() / 4)) ** 0.5
        for size in SIZES:
            own = scale * size
            for dx in SHIFTS:
                for dy in SHIFTS:
                    names.append(name)
                    x0, y0 = dx - middle_x * own, dy - middle_y * own
                    signed.append(outline((x - x0) / own, (y - y0) / own) * own)
    fine = torch.stack(signed)[:, None]
    sharp = torch.nn.functional.avg_pool2d((0.5 - fine).clamp(0.0, 1.0), 2)
    signed_MP = torch.nn.functional.avg_pool2d(fine, 2).flatten(1)
    # Shapes with corners or holes once sharp and once as a picture of half the resolution shows them. A ball has no
    # detail to lose.
    soft = torch.nn.functional.conv2d(sharp, _SOFTEN[None, None], padding=2)
    detailed = torch.tensor([name in SHAPES and name != "ball" for name in names])
    pictures_MP = torch.cat([sharp, soft[detailed]]).flatten(1)
    names += [name for name, chosen in zip(names, detailed.tolist(), strict=True) if chosen]
    return tuple(names), pictures_MP, pictures_MP.square().sum(1), torch.cat([signed_MP, signed_MP[detailed]])


def soft_outlines(thing: Thing, frames_NHWC: Tensor, distance_NHW: Tensor, chosen: np.ndarray) -> tuple:
    """How much of each pixel is the subject, 0..1, and its distance to the stage, in windows round it: (N, SIDE, SIDE).

    frames, distance: those numbered `chosen` only. A pixel belongs to the subject as far as it is nearer to the
    subject's colour than to the stage, so a half-covered pixel at the edge counts half, whatever the contrast.
    """
    mask_NHW = torch.from_numpy(thing.mask_THW[chosen])
    near_NHW = torch.nn.functional.max_pool2d(mask_NHW[:, None].float(), 7, 1, 3)[:, 0] > 0
    own_M = subject_distance(frames_NHWC[near_NHW], thing.colour)
    stage_M = distance_NHW[near_NHW]
    alpha_NHW = torch.zeros(distance_NHW.shape)
    alpha_NHW[near_NHW] = ((stage_M / (stage_M + own_M + 3.0) - 0.2) / 0.6).clamp(0.0, 1.0)
    _, height, width = alpha_NHW.shape
    mass_N = alpha_NHW.sum((1, 2)).clamp(min=1.0)
    x_W, y_H = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    middle_x = (alpha_NHW.sum(1) * x_W).sum(1) / mass_N
    middle_y = (alpha_NHW.sum(2) * y_H).sum(1) / mass_N
    scale_N = (mass_N / np.pi).sqrt() / STANDARD_RADIUS
    x, y = _grid(SIDE, 1)
    to_x = (middle_x[:, None, None] + x * scale_N[:, None, None]) * (2.0 / width) - 1.0
    to_y = (middle_y[:, None, None] + y * scale_N[:, None, None]) * (2.0 / height) - 1.0
    planes = torch.stack([alpha_NHW, distance_NHW], 1)
    windows = torch.nn.functional.grid_sample(
        planes, torch.stack([to_x, to_y], -1), padding_mode="zeros", align_corners=False
    )
    return windows[:, 0], windows[:, 1]


def _crispness(contrast_NYX: Tensor, signed_NP: Tensor) -> Tensor:
    """How much of the contrast to the stage is there just inside the outline, (N,): 1 and more for a sharp edge.

    Inside a blob that fades out the contrast falls long before its border. contrast: distances of the pixels to the
    stage. signed: pixels from the outline, negative inside.
    """
    inside_NP, edge_NP = signed_NP < -0.5, (signed_NP < -0.8) & (signed_NP > -2.3)
    flat_NP = contrast_NYX.flatten(1)
    nan = torch.full((), torch.nan)
    full_N = torch.nanquantile(torch.where(inside_NP, flat_NP, nan), 0.7, dim=1)
    edge_N = torch.nanmedian(torch.where(edge_NP, flat_NP, nan), dim=1).values
    return torch.nan_to_num(edge_N / full_N.clamp(min=1.0))


def outline_scores(windows_NYX: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """Overlap (intersection over union of soft masks, 0..1) of each window with each template, (N, M)."""
    names, pictures_MP, power_M, _ = _templates()
    windows_NP = windows_NYX.flatten(1)
    common_NM = windows_NP @ pictures_MP.T
    return names, common_NM / (windows_NP.square().sum(1)[:, None] + power_M - common_NM)


def _calm_frames(thing: Thing, height: int, width: int) -> np.ndarray:
    """Frames in which the subject is whole and moves least, in order."""
    box_T4 = thing.box_T4
    whole_T = (box_T4[:, 0] > 0) & (box_T4[:, 1] > 0) & (box_T4[:, 2] < width) & (box_T4[:, 3] < height)
    step = np.hypot(np.diff(thing.x_T), np.diff(thing.y_T))
    speed_T = np.fmax(np.concatenate([[0.0], step]), np.concatenate([step, [0.0]]))
    speed_T = np.where(np.isfinite(speed_T), speed_T, 99.0)
    candidates = np.flatnonzero(whole_T & thing.seen_T)
    calm = candidates[np.argsort(speed_T[candidates], kind="stable")[: max(MOST_FRAMES, len(candidates) // 3)]]
    return np.sort(calm)[:: max(1, len(calm) // MOST_FRAMES)][:MOST_FRAMES]


@dataclass(frozen=True)
class Outline:
    """kind: that more than half of the judged frames show, None where none does. likeness: the mean one to it, 0..1.
    nearest: the shape that is most alike over all of them, good enough or not; None without a frame to judge."""

    kind: str | None
    likeness: float
    nearest: str | None


def judge_shape(thing: Thing, frames_THWC: Tensor, distance_THW: Tensor) -> Outline:
    """What the subject's outline is, if it is a shape."""
    frames = _calm_frames(thing, *distance_THW.shape[1:])
    if not len(frames) or thing.colour is None:
        return Outline(None, 0.0, None)
    windows_NYX, contrast_NYX = soft_outlines(thing, frames_THWC[frames], distance_THW[frames], frames)
    names, scores_NM = outline_scores(windows_NYX)
    nearest = max(SHAPES, key=lambda kind: _mean_best(scores_NM, names, kind))
    best = scores_NM.max(1)
    crisp_N = _crispness(contrast_NYX, _templates()[3][best.indices])
    votes = [
        names[i] if value >= LEAST_LIKENESS and crisp >= LEAST_CRISPNESS and names[i] in SHAPES else None
        for value, i, crisp in zip(best.values.tolist(), best.indices.tolist(), crisp_N.tolist(), strict=True)
    ]
    kind, count = Counter(votes).most_common(1)[0]
    if kind is None or count * 2 <= len(frames):
        return Outline(None, float(best.values.mean()), nearest)
    likeness = [value for value, vote in zip(best.values.tolist(), votes, strict=True) if vote == kind]
    return Outline(kind, float(np.mean(likeness)), nearest)


def _mean_best(scores_NM: Tensor, names: tuple[str, ...], kind: str) -> float:
    """Over the frames, the overlap with the best template of a kind."""
    own = [i for i, name in enumerate(names) if name == kind]
    return scores_NM[:, own].max(1).values.mean().item()
