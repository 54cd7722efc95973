"""Is a subject a face, whose, and how far does its mouth open: pictures of faces drawn by the world, fitted to the
clip.

Legend: T frames  H, W pixels  C = 3 channels, 0..255  P points of a face  K places and sizes tried.
Points of a face are in its own units: (0, 0) is its centre, 1 its radius, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from openreels.evaluation.subjects import Thing
from openreels.world import COLOURS, FACES, Motion, Scene, Subject, render_frames
from openreels.world.shapes import OUTLINES

__all__ = ["Face", "find_face", "mouth_opening"]

LEAST_AREA = 500  # pixels; the smallest face of the world has about 900
LEAST_LIKENESS = 0.70  # correlation of the features (eyes, hair, nose, screen) with the drawn ones
LEAST_EXPLAINED = 0.45  # share of the difference to the stage that the drawn face explains, outline included
_RADIUS = 0.34
_PIXELS = 192
# Centre of mass below the face's centre, and area over radius squared: where to start looking.
_START = {"person": (-0.03, 2.55), "cat": (-0.02, 2.55), "robot": (-0.04, 2.8)}
INSIDE_MOUTH = (52.0, 8.0, 20.0)


@dataclass(frozen=True)
class Face:
    """A face found in the picture. x, y: its centre, radius: pixels. likeness, explained: see the constants above."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    likeness: float
    explained: float


@cache
def _drawn(kind: str, colour: str) -> tuple[Tensor, Tensor, Tensor]:
    """A silent face: points (P, 2) over it and a little around, their colours (P, 3), and cover 0..1 (P,)."""
    subject = Subject(kind, colour, "large", _RADIUS, Motion("still", 0.0))
    floor = 0.84 * _RADIUS  # so that the face's centre is the picture's
    scene = Scene(0, 1.0, 1.0, "snow", False, floor, 0, (subject,))
    picture = render_frames([scene], fps=16, frames=1, height=_PIXELS, width=_PIXELS)[0, 0].float()
    line = (torch.arange(26, dtype=torch.float32) + 0.5) / 26 * 2.7 - 1.35
    y, x = torch.meshgrid(line, line, indexing="ij")
    distance = OUTLINES[kind](x, y)
    near = distance < 0.16
    points = torch.stack([x[near], y[near]], 1)
    sampled = _sample(_smooth(picture, 5), points[None] * (_RADIUS * _PIXELS) + 0.5 * _PIXELS)[0]
    return points, sampled, (0.5 - distance[near] * 8.0).clamp(0.0, 1.0)


def _smooth(picture_HWC: Tensor, size: int) -> Tensor:
    """Box average: the drawn face is much larger than those of the clips, whose pixels are averages."""
    planes = picture_HWC.permute(2, 0, 1)[None]
    return torch.nn.functional.avg_pool2d(planes, size, 1, size // 2, count_include_pad=False)[0].permute(1, 2, 0)


def _sample(picture_HWC: Tensor, pixels_KP2: Tensor) -> Tensor:
    """Bilinear values at (x, y) positions in pixels, (K, P, 3)."""
    height, width, _ = picture_HWC.shape
    to = pixels_KP2 * torch.tensor([2.0 / width, 2.0 / height]) - 1.0
    planes = picture_HWC.permute(2, 0, 1)[None]
    values = torch.nn.functional.grid_sample(planes, to[None], padding_mode="border", align_corners=False)
    return values[0].permute(1, 2, 0)


def _features(points_P2: Tensor, cover_P: Tensor) -> Tensor:
    """Points inside the face that no speech moves: all but mouth and chin."""
    mouth = (points_P2[:, 0].abs() < 0.6) & (points_P2[:, 1] > 0.02) & (points_P2[:, 1] < 0.9)
    return (cover_P > 0.9) & ~mouth


def _correlation(values_KPC: Tensor, drawn_PC: Tensor) -> Tensor:
    """Of the deviations from each channel's mean, (K,)."""
    values_KPC = values_KPC - values_KPC.mean(1, keepdim=True)
    drawn_PC = drawn_PC - drawn_PC.mean(0)
    power_K = values_KPC.square().sum((1, 2)) * drawn_PC.square().sum()
    return (values_KPC * drawn_PC).sum((1, 2)) / power_K.clamp(min=1e-6).sqrt()


def _grid(start: tuple[float, float, float], steps: np.ndarray, sizes: np.ndarray) -> Tensor:
    """Places and sizes (K, 3) round a start: x, y, radius in pixels; steps in radii, sizes as factors."""
    x, y, radius = start
    return torch.tensor(
        [(x + dx * radius, y + dy * radius, radius * size) for size in sizes for dx in steps for dy in steps],
        dtype=torch.float32,
    )


def find_face(thing: Thing, frames_THWC: Tensor, plate_HWC: Tensor) -> Face | None:
    """The face that the subject is, if it is one. It must stand still, as the world's faces do."""
    if thing.colour is None or np.median(thing.area_T[thing.seen_T]) < LEAST_AREA:
        return None
    if np.nanstd(thing.x_T) > 2.0 or np.nanstd(thing.y_T) > 2.0:
        return None
    picture_HWC = frames_THWC[:: max(1, len(frames_THWC) // 16)].median(0).values
    area = float(np.median(thing.area_T[thing.seen_T]))
    best: tuple[float, str, Tensor] | None = None
    for kind in FACES:
        drop, size = _START[kind]
        points_P2, drawn_PC, cover_P = _drawn(kind, thing.colour)
        inside = _features(points_P2, cover_P)
        radius = (area / size) ** 0.5
        x, y = float(np.nanmedian(thing.x_T)), float(np.nanmedian(thing.y_T)) - drop * radius
        place = (x, y, radius)
        for steps, sizes in (
            (np.arange(-3, 4) * 0.10, np.array([0.9, 1.0, 1.1, 1.2])),
            (np.arange(-2, 3) * 0.035, np.array([0.95, 1.0, 1.05])),
        ):
            tried_K3 = _grid(place, steps, sizes)
            pixels = tried_K3[:, None, :2] + points_P2[inside] * tried_K3[:, 2, None, None]
            score_K = _correlation(_sample(picture_HWC, pixels), drawn_PC[inside])
            index = int(score_K.argmax())
            place = tuple(tried_K3[index].tolist())
        score = score_K[index].item()
        if best is None or score > best[0]:
            best = (score, kind, tried_K3[index])
    score, kind, place = best
    points_P2, drawn_PC, cover_P = _drawn(kind, thing.colour)
    still = ~((points_P2[:, 0].abs() < 0.6) & (points_P2[:, 1] > 0.02) & (points_P2[:, 1] < 0.9))
    pixels = (place[:2] + points_P2[still] * place[2])[None]
    seen_PC, stage_PC = _sample(picture_HWC, pixels)[0], _sample(plate_HWC, pixels)[0]
    made_PC = stage_PC + (drawn_PC[still] - stage_PC) * cover_P[still, None]
    explained = 1.0 - ((seen_PC - made_PC).square().sum() / (seen_PC - stage_PC).square().sum().clamp(min=1.0)).item()
    if score < LEAST_LIKENESS or explained < LEAST_EXPLAINED:
        return None
    return Face(kind, thing.colour, *place.tolist(), score, explained)


def _off_skin(pixels: Tensor, rgb_C: Tensor) -> Tensor:
    """Distance of colours (..., 3) to the well-lit shades of the face's colour; lips are darker than these."""
    along = ((pixels @ rgb_C) / rgb_C.square().sum()).clamp(0.7, 1.08)
    return (pixels - along[..., None] * rgb_C).square().sum(-1).sqrt()


def mouth_opening(face: Face, frames_THWC: Tensor) -> np.ndarray:
    """Height of the open mouth in each frame, radii, (T,): everything below the nose that is not the face's colour.

    Only the middle columns count, which every vowel opens: the height follows the loudness whatever the lips' width.
    """
    x = torch.linspace(-0.13, 0.13, 5)
    y = torch.linspace(0.02, 0.86, 29)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)
    pixels = (torch.tensor([face.x, face.y]) + grid * face.radius)[None]
    frames, height, width, _ = frames_THWC.shape
    planes = frames_THWC.permute(0, 3, 1, 2)
    to = (pixels * torch.tensor([2.0 / width, 2.0 / height]) - 1.0).expand(frames, 1, -1, 2)
    seen_TPC = torch.nn.functional.grid_sample(planes, to, padding_mode="border", align_corners=False)[:, :, 0].mT
    rgb_C = torch.tensor(COLOURS[face.colour], dtype=torch.float32)
    other_TP = _off_skin(seen_TPC, rgb_C) / _off_skin(torch.tensor(INSIDE_MOUTH), rgb_C)
    other_TP = ((other_TP - 0.15) / 0.6).clamp(0.0, 1.0)
    return (other_TP.mean(1) * (0.86 - 0.02)).numpy()
