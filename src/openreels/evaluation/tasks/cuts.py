"""Clips of several shots: is there a cut where one should be, of which kind, and does each shot show what it should.

How near the camera stands after a cut is free. So colours of subjects are compared by their excess over the empty
place, and places in the coarsest of pictures: which of all places, by day and night, the shot is nearest to.

Legend: T frames  H, W pixels  C = 3 channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, pairwise, product

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from openreels.evaluation.subjects import NAMED, subject_distance
from openreels.evaluation.tasks.nearest import frames_of
from openreels.media import Clip
from openreels.shots import SINGLE_SHOT
from openreels.shots.boundaries import working_frames
from openreels.shots.classifier import shipped_classifier
from openreels.shots.detector import around
from openreels.shots.features import features
from openreels.world import BACKGROUNDS, COLOURS, Film, cut_frames, film_frames, sample_film

__all__ = ["Continuation", "Panels", "Story"]

VISIBLE = 0.01  # share of the picture that a colour must fill in truth to be asked for
ENOUGH = 0.3  # of this share it must fill in the clip
SHORTEST = 5  # frames of a shot
DECOYS = 8  # other films with which a shot is compared


def _segments(frames: np.ndarray, count: int) -> list[tuple[int, int]]:
    """First and last (excluded) frames of `count` successive parts, each as much like itself as can be.

    Finds cuts that a codec has smeared over its latent frames, for which a detector of hard cuts is blind.
    """
    spots_TP = avg_pool2d(torch.from_numpy(frames).permute(0, 3, 1, 2).float(), 8).flatten(1).double().numpy()
    sums, squares = (np.concatenate([[np.zeros(spots_TP.shape[1])], x.cumsum(0)]) for x in (spots_TP, spots_TP**2))

    def spread(first: int, last: int) -> float:
        mean = (sums[last] - sums[first]) / (last - first)
        return float((squares[last] - squares[first] - (last - first) * mean**2).sum())

    total = len(frames)
    options = [
        (0, *cuts, total)
        for cuts in combinations(range(SHORTEST, total - SHORTEST + 1), count - 1)
        if all(b - a >= SHORTEST for a, b in pairwise((0, *cuts, total)))
    ]
    best = min(options, key=lambda borders: sum(spread(a, b) for a, b in pairwise(borders)))
    return list(pairwise(best))


def _kind_of_cut(frames: np.ndarray, cut: int) -> str:
    """What the shipped classifier calls the cut before a frame, the frames a codec may have smeared left out."""
    clean = frames.copy()
    clean[cut - 2 : cut] = frames[cut - 3]
    clean[cut : cut + 2] = frames[cut + 2]
    seen = torch.from_numpy(features(around(working_frames(clean), cut)))[None]
    classifier = shipped_classifier()
    return classifier.kinds[int(classifier.probabilities(seen)[0].argmax())]


def _excess(frames_THWC: Tensor, empty_THWC: Tensor) -> dict[str, float]:
    """Share of the pixels of each colour, beyond that of the empty place."""
    every = max(len(frames_THWC) // 6, 1)
    shares = []
    for pictures in (frames_THWC[::every], empty_THWC[::every]):
        pixels = pictures.reshape(-1, 3).float()
        shares.append({name: float((subject_distance(pixels, name) < NAMED).float().mean()) for name in COLOURS})
    return {name: shares[0][name] - shares[1][name] for name in COLOURS}


@dataclass(frozen=True)
class _Wanted:
    """What a shot should show. first: its first frame. empty_THWC: without subjects. colours: of the subjects that fill
    enough of it, and their excess. places: coarse pictures of it at every place, by day and night, the right one first.
    """

    first: int
    empty_THWC: Tensor
    colours: dict[str, float]
    places: list[Tensor]


def _coarse(frames_THWC: Tensor) -> Tensor:
    """The median picture as a few spots of colour, (C, H / 16, W / 16)."""
    return avg_pool2d(frames_THWC.float().median(0).values.permute(2, 0, 1), 16)


def _places(film: Film, index: int, frame: int, like: Clip) -> list[Tensor]:
    right = film.shots[index].scene
    looks = [(right.background, right.night)]
    looks += [look for look in product(BACKGROUNDS, (False, True)) if look != looks[0]]
    found = []
    for background, night in looks:
        shots = list(film.shots)
        shots[index] = replace(shots[index], scene=replace(right, background=background, night=night))
        _, height, width, _ = like.frames.shape
        other = replace(film, shots=tuple(shots))
        picture = film_frames(other, fps=float(like.fps), height=height, width=width, first=frame, last=frame + 1)
        found.append(_coarse(picture))
    return found


def _wanted(film: Film, like: Clip) -> list[_Wanted]:
    true_THWC = frames_of(film, like)
    bare = replace(film, shots=tuple(replace(shot, scene=replace(shot.scene, subjects=())) for shot in film.shots))
    empty_THWC = frames_of(bare, like)
    borders = (0, *cut_frames(film, float(like.fps)), len(true_THWC))
    found = []
    for index, (shot, (first, last)) in enumerate(zip(film.shots, pairwise(borders), strict=True)):
        excess = _excess(true_THWC[first:last], empty_THWC[first:last])
        names = {shot.scene.subjects[each].colour for each in shot.seen}
        colours = {name: excess[name] for name in names if excess[name] >= VISIBLE}
        places = _places(film, index, (first + last) // 2, like)
        found.append(_Wanted(first, empty_THWC[first:last], colours, places))
    return found


def _shows(frames_THWC: Tensor, wanted: _Wanted) -> dict[str, bool]:
    """Whether all colours are there that should be, at the right place."""
    if not len(frames_THWC):
        return {"colour": False, "place": False}
    excess = _excess(frames_THWC, wanted.empty_THWC)
    seen = _coarse(frames_THWC)
    errors = [float((seen - place).square().mean()) for place in wanted.places]
    return {
        "colour": all(excess[name] >= ENOUGH * share for name, share in wanted.colours.items()),
        "place": errors.index(min(errors)) == 0,
    }


class Continuation:
    """A clip that goes on behind a cut. film: kept until its cut, then the new shot."""

    def __init__(self, film: Film, like: Clip) -> None:
        self.kind = film.cuts[0]
        self.wanted = _wanted(film, like)[1]

    def judge(self, clip: Clip) -> dict[str, bool]:
        kind = _kind_of_cut(clip.frames, self.wanted.first)
        after = torch.from_numpy(clip.frames)[self.wanted.first + 1 :]
        return {"cut": kind != SINGLE_SHOT, "kind": kind == self.kind, **_shows(after, self.wanted)}


class Story:
    """A film with the cuts that are told; when they come is free."""

    def __init__(self, film: Film, like: Clip) -> None:
        self.kinds = film.cuts
        self.wanted = _wanted(film, like)

    def judge(self, clip: Clip) -> dict[str, bool]:
        shots = _segments(clip.frames, len(self.wanted))
        kinds = [_kind_of_cut(clip.frames, first) for first, _ in shots[1:]]
        frames_THWC = torch.from_numpy(clip.frames)
        shown = [_shows(frames_THWC[first:last], w) for (first, last), w in zip(shots, self.wanted, strict=True)]
        together = {name: all(each[name] for each in shown) for name in ("colour", "place")}
        return {"cuts": SINGLE_SHOT not in kinds, "kind": kinds[0] == self.kinds[0], **together}


def _still(frames_THWC: Tensor) -> Tensor:
    """The median picture, in 4 x 4 averages, (C, H / 4, W / 4)."""
    return avg_pool2d(frames_THWC.float().median(0).values.permute(2, 0, 1), 4)


class Panels:
    """A storyboard made into a film: as many shots, and each nearer to its own than to any shot of other films."""

    def __init__(self, film: Film, like: Clip) -> None:
        self.panels = self._stills(film, like)
        cuts = ("",) * len(film.cuts)
        self.decoys = [
            still
            for number in range(DECOYS)
            for still in self._stills(sample_film(film.seed + number + 1, cuts=cuts, aspect=film.aspect), like)
        ]

    @staticmethod
    def _stills(film: Film, like: Clip) -> list[Tensor]:
        total = replace(
            like, frames=np.zeros((round(film.duration * float(like.fps)), *like.frames.shape[1:]), np.uint8)
        )
        frames_THWC = frames_of(film, total)
        borders = (0, *cut_frames(film, float(like.fps)), len(frames_THWC))
        return [_still(frames_THWC[first:last]) for first, last in pairwise(borders)]

    def judge(self, clip: Clip) -> dict[str, bool]:
        found = _segments(clip.frames, len(self.panels))
        kinds = [_kind_of_cut(clip.frames, first) for first, _ in found[1:]]
        frames_THWC = torch.from_numpy(clip.frames)
        right = []
        for index, (first, last) in enumerate(found):
            seen = _still(frames_THWC[first:last])
            errors = [float((seen - still).square().mean()) for still in (*self.panels, *self.decoys)]
            right.append(int(np.argmin(errors)) == index)
        return {"cuts": SINGLE_SHOT not in kinds, "panels": all(right)}
