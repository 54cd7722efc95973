"""Shots of a clip: where it is cut, and how.

Boundaries come from PySceneDetect (`boundaries`), kinds from a small network over comparisons of the pictures before
and after (`features`, `classifier`). Trained and measured on films of the pocket world only, where the truth is known;
on real footage its boundaries are PySceneDetect's, and its kinds are an educated guess.

Legend: T frames  H, W pixels  B boundaries  K kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import torch

from openreels.shots.boundaries import candidates, working_frames
from openreels.shots.classifier import SINGLE_SHOT, CutClassifier, shipped_classifier
from openreels.shots.features import CONTEXT, features

__all__ = ["Shot", "detect_shots"]

CLOSEST = 0.2  # seconds between two cuts; of closer ones the surer is kept


@dataclass(frozen=True, slots=True)
class Shot:
    """One shot. first, last: its frames, `last` excluded. start, end: the same in seconds.

    cut: how it is reached, one of `classifier.CUT_KINDS`; "single-shot" for the first shot, which no cut leads to.
    confidence: of the kind of cut, 0..1; for a first shot 1.
    """

    first: int
    last: int
    start: float
    end: float
    cut: str = SINGLE_SHOT
    confidence: float = 1.0


def detect_shots(
    frames: np.ndarray, fps: Fraction | float, classifier: CutClassifier | None = None
) -> tuple[Shot, ...]:
    """The shots of a clip in order, one where it is not cut.

    frames: (T, H, W, 3) uint8 RGB. fps: frames per second. classifier: by default the one that is shipped.
    Raises ValueError for other frames or a rate that is not above 0; RequestError without the extra `shots`.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"frames must be (T, H, W, 3) uint8, not {frames.shape} {frames.dtype}")
    if not fps > 0:
        raise ValueError(f"fps must be above 0, not {fps}")
    small_THWC = working_frames(frames)
    cuts = _classified(small_THWC, candidates(small_THWC, fps), classifier or shipped_classifier())
    cuts = _apart(cuts, CLOSEST * float(fps))
    borders = [(0, SINGLE_SHOT, 1.0), *cuts, (len(frames), "", 0.0)]
    return tuple(
        Shot(first, last, first / float(fps), last / float(fps), kind, confidence)
        for (first, kind, confidence), (last, _, _) in pairwise(borders)
    )


def around(frames: np.ndarray, boundary: int) -> np.ndarray:
    """As many frames before as after a boundary, at most `CONTEXT` each."""
    reach = min(CONTEXT, boundary, len(frames) - boundary)
    return frames[boundary - reach : boundary + reach]


def _classified(
    frames_THWC: np.ndarray, boundaries: list[int], classifier: CutClassifier
) -> list[tuple[int, str, float]]:
    """Boundary, kind and confidence of those that are cuts."""
    if not boundaries:
        return []
    features_BF = torch.from_numpy(np.stack([features(around(frames_THWC, index)) for index in boundaries]))
    probabilities_BK = classifier.probabilities(features_BF)
    found = []
    for index, row_K in zip(boundaries, probabilities_BK, strict=True):
        best = int(row_K.argmax())
        if classifier.kinds[best] != SINGLE_SHOT:
            found.append((index, classifier.kinds[best], float(row_K[best])))
    return found


def _apart(cuts: list[tuple[int, str, float]], closest: float) -> list[tuple[int, str, float]]:
    """Without those that follow, or are followed by, a surer one within `closest` frames."""
    kept: list[tuple[int, str, float]] = []
    for cut in cuts:
        if kept and cut[0] - kept[-1][0] < closest:
            kept[-1] = max(kept[-1], cut, key=lambda each: each[2])
        else:
            kept.append(cut)
    return kept
