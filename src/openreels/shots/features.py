"""A cut in numbers: what of the picture before is found again in the picture after, and how large.

The numbers are made of things that any footage has (is the same picture there, larger, smaller, mirrored; are colours
the same; where and how large is what stands out), none of the pocket world's own. Legend: T frames  H, W pixels
S scales. Pictures are (H, W, 3) uint8 RGB of one size, short side up to 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from openreels.shots.extra import opencv

__all__ = ["CONTEXT", "FEATURES", "Standout", "features", "standouts"]

CONTEXT = 2  # frames on each side of a cut that are looked at
MATCHING_SIZE = 32  # pixels of the short side in which pictures are searched for in one another
SCALES = tuple(1.25**power for power in range(-4, 5))  # how much larger things are after the cut: 0.41 to 2.44
# Parts of a picture that are searched for, as (left, top, right, bottom): a camera that moves loses one side.
PARTS = ((0.2, 0.15, 0.8, 0.85), (0.0, 0.1, 0.6, 0.9), (0.4, 0.1, 1.0, 0.9))
DISTINCT = 22.0  # distance in Lab by which something stands out of its background
SMALLEST = 0.012  # share of the picture
FEATURES = 2 * 3 * len(SCALES) + 41


@dataclass(frozen=True, slots=True)
class Standout:
    """Something that stands out of the background; all in shares of the picture. box: left, top, right, bottom."""

    area: float
    x: float
    y: float
    box: tuple[float, float, float, float]


def features(frames_THWC: np.ndarray) -> np.ndarray:
    """(FEATURES,) float32 of the boundary in the middle of four frames (two before, two after) or of two."""
    cv2 = opencv()
    middle = len(frames_THWC) // 2
    before, after = frames_THWC[middle - 1], frames_THWC[middle]
    standing = standouts(before), standouts(after)
    curves = [
        curve
        for mirrored in (False, True)
        for curve in _found_again(before[:, ::-1] if mirrored else before, after, *standing, mirrored)
    ]
    lab = [cv2.cvtColor(picture, cv2.COLOR_RGB2LAB) for picture in (before, after)]
    numbers = [
        *np.concatenate(curves),
        *_colours(*lab),
        *_composition(*standing),
        *_own_colours(lab, standing),
        *_motion(frames_THWC, middle),
    ]
    return np.array(numbers, dtype=np.float32)


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    cv2 = opencv()
    height, width = picture.shape[:2]
    size = max(round(width * scale), 4), max(round(height * scale), 4)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _brightness(picture: np.ndarray) -> np.ndarray:
    cv2 = opencv()
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def _part(picture: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    height, width = picture.shape[:2]
    left, right = int(box[0] * width), max(round(box[2] * width), int(box[0] * width) + 4)
    top, bottom = int(box[1] * height), max(round(box[3] * height), int(box[1] * height) + 4)
    return picture[top:bottom, left:right]


def _likeness(picture: np.ndarray, part: np.ndarray) -> float:
    """Best normalised correlation of the part with any place of the picture, -1..1."""
    cv2 = opencv()
    if part.shape[0] > picture.shape[0] or part.shape[1] > picture.shape[1]:
        return 0.0
    found = cv2.matchTemplate(picture, part, cv2.TM_CCOEFF_NORMED)
    best = float(np.nan_to_num(found, posinf=0.0, neginf=0.0).max())
    return min(max(best, -1.0), 1.0)


def _found_again(
    before: np.ndarray, after: np.ndarray, stood: list[Standout], stands: list[Standout], mirrored: bool
) -> list[np.ndarray]:
    """Three curves (S,): likeness of the best part, of all parts on average, and of what stands out most."""
    shrink = MATCHING_SIZE / min(before.shape[:2])
    best_S, mean_S, subject_S = (np.zeros(len(SCALES)) for _ in range(3))
    for index, scale in enumerate(SCALES):
        # Always the nearer picture is searched for in the wider one, which is enlarged to its measure.
        closer = scale >= 1
        sought, place = (after, before) if closer else (before, after)
        sought, place = _resized(sought, shrink), _resized(place, shrink * max(scale, 1 / scale))
        light, light_place = (_brightness(picture) for picture in (sought, place))
        found = [_likeness(light_place, _part(light, part)) for part in PARTS]
        best_S[index], mean_S[index] = max(found), sum(found) / len(found)
        subject = (stands if closer else stood)[:1]
        if subject:
            left, top, right, bottom = subject[0].box
            if mirrored and not closer:
                left, right = 1.0 - right, 1.0 - left
            subject_S[index] = _likeness(place, _part(sought, (left, top, right, bottom)))  # in colour
    return [best_S, mean_S, subject_S]


def standouts(picture: np.ndarray) -> list[Standout]:
    """What stands out of the background, largest first: regions unlike the rows' colours at the sides."""
    cv2 = opencv()
    height, width = picture.shape[:2]
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    side = max(width // 5, 1)
    # A subject may touch one side: each pixel is compared with the more similar of both.
    left, right = (
        cv2.blur(np.median(edge, axis=1, keepdims=True), (1, 5)).reshape(height, 1, 3)
        for edge in (lab[:, :side], lab[:, -side:])
    )
    distance = np.minimum(*(np.sqrt(((lab - colour) ** 2).sum(-1)) for colour in (left, right)))
    mask = cv2.morphologyEx((distance > DISTINCT).astype(np.uint8), cv2.MORPH_OPEN, _disc())
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc())
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found = []
    for x, y, w, h, area in stats[1:count]:
        if area >= SMALLEST * height * width:
            box = (x / width, y / height, (x + w) / width, (y + h) / height)
            found.append(Standout(area / (height * width), (x + w / 2) / width, (y + h / 2) / height, box))
    return sorted(found, key=lambda each: -each.area)


@lru_cache
def _disc() -> np.ndarray:
    cv2 = opencv()
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))


def _histogram(lab: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    cv2 = opencv()
    counts = cv2.calcHist([lab], [0, 1, 2], mask, [6, 10, 10], [0, 256, 78, 178, 78, 178])
    return counts / max(counts.sum(), 1.0)


def _shared(first: np.ndarray, second: np.ndarray) -> float:
    """Histogram intersection, 0..1."""
    return float(np.minimum(first, second).sum())


def _colours(before: np.ndarray, after: np.ndarray) -> list[float]:
    """16: how much of their colours the two pictures and their bands share, and how bright and lively they are."""
    height = before.shape[0]
    bands = [slice(0, height // 3), slice(height // 3, 2 * height // 3), slice(2 * height // 3, height)]
    side = before.shape[1] // 5
    edges = [np.concatenate([picture[:, :side], picture[:, -side:]], axis=1) for picture in (before, after)]
    shared = [_shared(_histogram(before), _histogram(after)), _shared(_histogram(edges[0]), _histogram(edges[1]))]
    shared += [_shared(_histogram(before[band]), _histogram(after[band])) for band in bands]
    means = [edge.reshape(-1, 3).mean(0) / 128.0 for edge in edges]
    texture = [np.abs(np.diff(picture[..., 0].astype(float), axis=1)).mean() / 16.0 for picture in (before, after)]
    rows = [edge.astype(float).mean((1, 2)) for edge in edges]
    tops = [np.median(picture[: max(height // 6, 1)].reshape(-1, 3), axis=0) / 128.0 for picture in (before, after)]
    lows = [np.median(picture[-max(height // 8, 1) :].reshape(-1, 3), axis=0) / 128.0 for picture in (before, after)]
    return [
        *shared,
        *np.abs(means[1] - means[0]),
        texture[0],
        texture[1] - texture[0],
        *np.abs(tops[1] - tops[0])[:2],
        *np.abs(lows[1] - lows[0]),
        float(np.corrcoef(rows[0], rows[1])[0, 1]) if rows[0].std() > 0 and rows[1].std() > 0 else 0.0,
    ]


def _composition(before: list[Standout], after: list[Standout]) -> list[float]:
    """19: what stands out before and after: how many, how large, where; and what changed."""
    nothing = Standout(0.0, 0.5, 0.5, (0.5, 0.5, 0.5, 0.5))
    numbers = []
    for found in (before, after):
        first, second = [*found, nothing, nothing][:2]
        left, top, right, bottom = first.box
        numbers += [min(len(found), 4) / 4, first.area, second.area, first.x, first.y, right - left, bottom - top]
    first, other = (before or [nothing])[0], (after or [nothing])[0]
    ratio = np.log((other.area + 0.01) / (first.area + 0.01))
    sides = (first.x - 0.5) * (other.x - 0.5) * 4  # below 0: it changed sides
    tall = [np.log(max(each.box[3] - each.box[1], 0.05)) for each in (first, other)]
    return [*numbers, ratio, abs(ratio), sides, tall[1] - tall[0], float(not before) - float(not after)]


def _own_colours(lab: list[np.ndarray], standing: tuple[list[Standout], list[Standout]]) -> list[float]:
    """2: how much of its colours the main subject keeps, and whether both pictures have one."""
    if not all(standing):
        return [0.0, 0.0]
    inner = []
    for picture, found in zip(lab, standing, strict=True):
        left, top, right, bottom = found[0].box
        dx, dy = (right - left) * 0.15, (bottom - top) * 0.15
        inner.append(_histogram(np.ascontiguousarray(_part(picture, (left + dx, top + dy, right - dx, bottom - dy)))))
    return [_shared(*inner), 1.0]


def _motion(frames_THWC: np.ndarray, middle: int) -> list[float]:
    """4: how much changes at the boundary, just before and just after it; and by how much more."""
    changes = np.abs(np.diff(frames_THWC.astype(np.int16), axis=0)).mean((1, 2, 3)) / 32.0
    at = changes[middle - 1]
    earlier = changes[middle - 2] if middle >= 2 else 0.0
    later = changes[middle] if middle < len(changes) else 0.0
    return [at, earlier, later, at / (max(earlier, later) + 0.02) / 10.0]
