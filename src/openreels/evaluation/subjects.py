"""Finds what stands before the stage: foreground, connected parts, their colours, and which part is which over time.

Legend: T frames  H, W pixels  C = 3 channels, 0..255  N pixels picked out  K colours.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from openreels.evaluation.scenery import Scenery
from openreels.world import COLOURS

__all__ = ["Thing", "find_things", "foreground", "subject_distance"]

FAINT = 10.0
FAR = 26.0  # RGB distance from the stage at which a pixel belongs to something else
NEAR_PALETTE = 16.0  # this near to a colour the place may show in this row, a pixel counts as another variant's stage
NAMED = 34.0  # RGB distance to a shaded subject colour up to which a pixel has that colour
LEAST_AREA = 80  # pixels; the smallest subject of the world (a star of radius 10) has 150
# Brightness of a subject's pixels relative to its colour: from the dark rim to the lit side.
DARKEST, BRIGHTEST = 0.48, 1.08
REACH = 24.0  # pixels a thing may travel between two frames
PRESENT = 0.5  # share of the frames in which a thing must be seen to count

COLOUR_NAMES = tuple(COLOURS)
_WEIGHT_K = np.array([0.5 if name == "white" else 1.0 for name in COLOUR_NAMES])
_RGB_KC = torch.tensor([COLOURS[name] for name in COLOUR_NAMES], dtype=torch.float32)


@dataclass
class Thing:
    """One subject followed through the clip. Lengths in pixels at the short side `UNIT`; NaN where it was not seen.

    x_T, y_T: centre of mass. area_T: pixels. left_T, right_T, top_T, bottom_T: its box, right and bottom exclusive.
    votes_K: pixels of each subject colour, all frames together. mask_THW: its pixels.
    """

    x_T: np.ndarray
    y_T: np.ndarray
    area_T: np.ndarray
    box_T4: np.ndarray
    votes_K: np.ndarray
    mask_THW: np.ndarray
    last: int = field(default=-1)

    @property
    def seen_T(self) -> np.ndarray:
        return self.area_T > 0

    @property
    def colour(self) -> str | None:
        """The colour of most of its pixels; None when no subject colour has a third of them."""
        best = _colour_of(self.votes_K)
        return COLOUR_NAMES[best] if self.votes_K[best] >= 0.33 * self.area_T.sum() else None


def _colour_distance(pixels_NC: Tensor, stage_NC: Tensor) -> Tensor:
    """Distance of pixels to all appearances of each colour, (N, K): shades of it, pure or with stage shining through.

    Glass lets a fifth of the stage through; a codec mixes in more where something moves.
    """
    power_K = _RGB_KC.square().sum(1)
    best_NK = torch.full((len(pixels_NC), len(_RGB_KC)), torch.inf)
    for through in (0.0, 0.22, 0.45):
        own_NC = (pixels_NC - through * stage_NC) / (1.0 - through)
        along_NK = (own_NC @ _RGB_KC.T / power_K).clamp_(DARKEST, BRIGHTEST)
        # |p - s c|^2 without an (N, K, C) array.
        cross_NK = own_NC @ _RGB_KC.T
        square_NK = own_NC.square().sum(1)[:, None] - 2.0 * along_NK * cross_NK + along_NK.square() * power_K
        best_NK = torch.minimum(best_NK, square_NK.clamp_(min=0).sqrt_() * (1.0 - through) + 12.0 * through)
    return best_NK


def subject_distance(pixels_MC: Tensor, colour: str) -> Tensor:
    """Distance of pixels to the appearances of one colour, (M,): its shades, and its lit side with white light on
    top.
    """
    rgb_C = _RGB_KC[COLOUR_NAMES.index(colour)]
    best_M = torch.full((len(pixels_MC),), torch.inf)
    for gleam, darkest in ((0.0, DARKEST), (0.25, 0.8), (0.5, 0.8)):
        own_MC = (pixels_MC - gleam * 255.0) / (1.0 - gleam)
        along_M = ((own_MC @ rgb_C) / rgb_C.square().sum()).clamp_(darkest, BRIGHTEST)
        best_M = torch.minimum(best_M, (own_MC - along_M[:, None] * rgb_C).square_().sum(1).sqrt_() * (1.0 - gleam))
    return best_M


def foreground(frames_THWC: Tensor, scenery: Scenery) -> tuple[Tensor, Tensor, Tensor]:
    """Distance of each pixel to the empty stage, whether it is foreground, its subject colour's number or -1; (T, H,
    W).

    A shadow on the ground is stage, and so is a blurred stage; so is what another variant of the place might show here,
    unless it is nearly white (a white subject may look like a snow cap).
    """
    height = frames_THWC.shape[1]
    plate_HWC = scenery.plate_HWC
    # The nearest colour that a blur of the stage could give here: within the range of its 3 x 3 neighbours.
    plate_1CHW = plate_HWC.permute(2, 0, 1)[None]
    most_HWC = torch.nn.functional.max_pool2d(plate_1CHW, 3, 1, 1)[0].permute(1, 2, 0)
    least_HWC = -torch.nn.functional.max_pool2d(-plate_1CHW, 3, 1, 1)[0].permute(1, 2, 0)
    distance_THW = (frames_THWC - frames_THWC.clamp(least_HWC, most_HWC)).square_().sum(-1).sqrt_()
    # Shadows lie in a narrow band round the floor line and darken the ground by up to half.
    first = min(max(int(scenery.floor - 1.5), 0), height - 1)
    low_THWC = frames_THWC[:, first:]
    dark_THW = ((low_THWC * plate_HWC[first:]).sum(-1) / plate_HWC[first:].square().sum(-1)).clamp(0.5, 1.0)[..., None]
    stage_THWC = low_THWC.clamp(least_HWC[first:] * dark_THW, most_HWC[first:] * dark_THW)
    distance_THW[:, first:] = (low_THWC - stage_THWC).square_().sum(-1).sqrt_()

    colour_THW = torch.full(distance_THW.shape, -1, dtype=torch.int64)
    t, y, x = torch.where(distance_THW > FAINT)
    pixels_NC = frames_THWC[t, y, x]
    to_colour_NK = _colour_distance(pixels_NC, plate_HWC[y, x])
    nearest = to_colour_NK.min(1)
    palette_NKC = scenery.palette_HKC[y]
    to_palette_N = (palette_NKC - pixels_NC[:, None]).square_().sum(-1).min(1).values.sqrt_()
    to_white_N = to_colour_NK[:, COLOUR_NAMES.index("white")]
    distance_N = torch.where((to_palette_N < NEAR_PALETTE) & (to_white_N > 20.0), 0.0, distance_THW[t, y, x])
    distance_THW[t, y, x] = distance_N
    # By day white stands out little: there a smaller distance will do where the pixel is much nearer to white.
    there_N = (distance_N > FAR) | ((distance_N > FAINT) & (to_white_N < 0.5 * distance_N))
    mask_THW = torch.zeros(distance_THW.shape, dtype=torch.bool)
    mask_THW[t, y, x] = there_N
    colour_THW[t, y, x] = torch.where((nearest.values < NAMED) & there_N, nearest.indices, -1)
    return distance_THW, mask_THW, colour_THW


def label_parts(mask_THW: np.ndarray) -> np.ndarray:
    """Numbers the 4-connected parts of each frame: int32 (T, H, W), 0 outside; numbers are unique over all frames."""
    _, height, width = mask_THW.shape
    labels = np.where(mask_THW, np.arange(1, mask_THW.size + 1, dtype=np.int32).reshape(mask_THW.shape), 0)
    while True:
        before = labels.copy()
        for axis, length in ((2, width), (1, height)):
            lines = np.moveaxis(labels, axis, 0)
            inside = np.moveaxis(mask_THW, axis, 0)
            for step in (range(1, length), range(length - 2, -1, -1)):
                back = -1 if step.step == 1 else 1
                for i in step:
                    np.maximum(lines[i], lines[i + back], out=lines[i], where=inside[i] & inside[i + back])
        if np.array_equal(before, labels):
            return labels


@dataclass
class _Part:
    """A connected part of one frame: flat pixel numbers, and pixels of each colour."""

    pixels: np.ndarray
    votes_K: np.ndarray
    x: float
    y: float


def _part(pixels: np.ndarray, colours: np.ndarray, width: int) -> _Part:
    votes_K = np.bincount(colours[colours >= 0], minlength=len(COLOUR_NAMES))
    return _Part(pixels, votes_K, float((pixels % width).mean() + 0.5), float((pixels // width).mean() + 0.5))


def _parts(mask_HW: np.ndarray, labels_HW: np.ndarray, colour_HW: np.ndarray) -> list[_Part]:
    width = mask_HW.shape[1]
    flat = np.flatnonzero(mask_HW)
    if not len(flat):
        return []
    numbers = labels_HW.ravel()[flat]
    order = np.argsort(numbers, kind="stable")
    flat, numbers = flat[order], numbers[order]
    found = []
    for pixels in np.split(flat, np.flatnonzero(np.diff(numbers)) + 1):
        if len(pixels) < LEAST_AREA:
            continue
        colours = colour_HW.ravel()[pixels]
        found += _split(pixels, colours, width)
    return found


def _split(pixels: np.ndarray, colours: np.ndarray, width: int) -> list[_Part]:
    """Two subjects that touch have two colours side by side: cut between them."""
    whole = _part(pixels, colours, width)
    first, second = np.argsort(whole.votes_K)[::-1][:2]
    if whole.votes_K[second] < LEAST_AREA:
        return [whole]
    x = pixels % width
    spans = [np.percentile(x[colours == colour], (5, 95)) for colour in (first, second)]
    (_, left), (right, _) = sorted(spans, key=lambda span: span[0])
    if right < left - 3.0:  # one lies within the other: an eye in a face
        return [whole]
    cut = 0.5 * (left + right)
    sides = [x <= cut, x > cut]
    return [_part(pixels[side], colours[side], width) for side in sides if side.sum() >= LEAST_AREA]


def _colour_of(votes_K: np.ndarray) -> int:
    """-1 for no votes. Gleams and blurred edges of any colour look white, so white needs twice as many."""
    return int((votes_K * _WEIGHT_K).argmax()) if votes_K.any() else -1


def find_things(foreground_THW: Tensor, colour_THW: Tensor) -> list[Thing]:
    """Follows every part through the clip; those seen in at least half of the frames, from left to right."""
    mask_THW = foreground_THW.numpy()
    colour = colour_THW.numpy()
    frames, _, width = mask_THW.shape
    labels = label_parts(mask_THW)
    things: list[Thing] = []
    for t in range(frames):
        parts = _parts(mask_THW[t], labels[t], colour[t])
        pairs = []
        for i, thing in enumerate(things):
            gap = t - thing.last
            if gap > 4:
                continue
            for j, part in enumerate(parts):
                distance = np.hypot(part.x - thing.x_T[thing.last], part.y - thing.y_T[thing.last])
                if distance < REACH * gap:
                    other = _colour_of(part.votes_K) != _colour_of(thing.votes_K)
                    pairs.append((distance + 12.0 * other, i, j))
        taken_things, taken_parts = set(), set()
        for _, i, j in sorted(pairs):
            if i not in taken_things and j not in taken_parts:
                taken_things.add(i)
                taken_parts.add(j)
                _extend(things[i], t, parts[j], width)
        for j, part in enumerate(parts):
            if j not in taken_parts:
                nan = np.full(frames, np.nan)
                thing = Thing(nan.copy(), nan.copy(), np.zeros(frames), np.full((frames, 4), np.nan),
                              np.zeros(len(COLOUR_NAMES)), np.zeros(mask_THW.shape, bool))  # fmt: skip
                _extend(thing, t, part, width)
                things.append(thing)
    kept = [thing for thing in things if thing.seen_T.mean() >= PRESENT]
    return sorted(kept, key=lambda thing: np.nanmean(thing.x_T))


def _extend(thing: Thing, t: int, part: _Part, width: int) -> None:
    rows, columns = part.pixels // width, part.pixels % width
    thing.x_T[t], thing.y_T[t], thing.area_T[t] = part.x, part.y, len(part.pixels)
    thing.box_T4[t] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    thing.votes_K += part.votes_K
    thing.mask_THW[t, rows, columns] = True
    thing.last = t
