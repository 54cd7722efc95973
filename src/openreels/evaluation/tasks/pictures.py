"""What a clip must show where the result is free: parts of judgements from what the oracle sees.

Every part is a name and whether it is right; places are fractions of the picture, times seconds.
Legend: T frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openreels.evaluation.measures import Expectation, pairs_of
from openreels.evaluation.oracle import Seen, Sight
from openreels.world import Scene, Subject, Truth, truth

__all__ = ["colours", "lives", "mouth_follows", "moves", "on_its_way", "place", "subjects", "truth_of", "turns"]

MOVES = 0.03  # deviation of a centre, fraction of the picture, from which something moves: noise stays below 0.01
TALKS = 0.02  # change of a mouth's opening from frame to frame, radii
TALKING = 0.2  # share of the frames in which a talking mouth changes so much; in true speech it is about a half
NEARER = 0.7  # than by holding still
OFF = 0.12  # fraction of the picture by which a centre may be off, in the median
MORE, STIRS = 1.5, 0.5  # how much more a talking mouth changes than a silent one: factor, and levels of 255
FOLLOWS = 0.5  # correlation of a mouth with what is said; of another clip's it is 0 +- 0.2


def truth_of(scene: Scene, frames: int, fps: float) -> Truth:
    return truth(scene, fps=fps, frames=frames)


def subjects(scene: Scene, sight: Sight) -> dict[str, bool]:
    """As many as there should be, each of the right colour and kind, on the right side."""
    pairs = pairs_of(Expectation(scene), sight)
    return {
        "colour": bool(pairs) and all(wanted.colour == seen.colour for wanted, seen in pairs),
        "kind": bool(pairs) and all(wanted.kind == seen.nearest for wanted, seen in pairs),
    }


def place(scene: Scene, sight: Sight) -> dict[str, bool]:
    return {"place": sight.background == scene.background and sight.night == scene.night}


def lives(true: Truth, index: int, frames: Sequence[int]) -> bool:
    """Whether a subject of the truth moves or talks in these frames."""
    subject = true.subjects[index]
    if subject.mouth:
        return float(np.std(np.take(subject.mouth, frames))) > 0.1
    x, y = np.take(subject.x, frames), np.take(subject.y, frames)
    return float(np.hypot(x.std(), y.std())) > 2.0 * MOVES


def _alive(seen: Seen, frames: Sequence[int]) -> bool:
    if seen.mouth_T is not None:
        return float((np.abs(np.diff(seen.mouth_T[frames])) > TALKS).mean()) >= TALKING
    x_T, y_T = seen.x_T[frames], seen.y_T[frames]
    return bool(np.isfinite(x_T).any()) and float(np.hypot(np.nanstd(x_T), np.nanstd(y_T))) > MOVES


def _in_order(scene: Scene) -> list[int]:
    """Indices of the subjects as `pairs_of` has them."""
    return sorted(range(len(scene.subjects)), key=lambda i: scene.subjects[i].motion.x)


def _matched(scene: Scene, sight: Sight) -> list[tuple[int, Subject, Seen]]:
    pairs = pairs_of(Expectation(scene), sight)
    return [(index, *pair) for index, pair in zip(_in_order(scene), pairs, strict=False)]


def moves(scene: Scene, sight: Sight, true: Truth, frames: Sequence[int]) -> dict[str, bool]:
    """Everything that moves or talks in these frames in truth does so in the clip."""
    wanted = [index for index in range(len(scene.subjects)) if lives(true, index, frames)]
    alive = {index for index, _, seen in _matched(scene, sight) if _alive(seen, frames)}
    return {"moves": set(wanted) <= alive and bool(sight.subjects)}


def on_its_way(
    scene: Scene, sight: Sight, true: Truth, frames: Sequence[int], held: Sequence[int] | None = None
) -> dict[str, bool]:
    """Every subject is where it truly is in these frames, in the median within `OFF`.

    held: for each of the frames the known one that doing nothing would show. Then what moves must also be nearer to its
    way (root mean square) than it would be there, by the factor `NEARER`.
    """
    right = []
    for index, subject, seen in _matched(scene, sight):
        x_T, y_T = np.asarray(true.subjects[index].x), np.asarray(true.subjects[index].y)
        x, y = x_T[frames], y_T[frames]
        inside = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1) & np.isfinite(seen.x_T[frames])
        off = np.hypot(seen.x_T[frames] - x, seen.y_T[frames] - y)[inside]
        right.append(len(off) > 0 and float(np.median(off)) <= OFF)
        if held is not None and not subject.is_face and lives(true, index, frames):
            idle = np.hypot(x_T[held] - x, y_T[held] - y)[inside]
            right.append(float(np.mean(off**2)) ** 0.5 <= NEARER * float(np.mean(idle**2)) ** 0.5)
    return {"way": bool(right) and all(right)}


def _correlation(one_T: np.ndarray, other_T: np.ndarray) -> float:
    frames = min(len(one_T), len(other_T))
    one_T, other_T = one_T[:frames], other_T[:frames]
    if one_T.std() < 1e-3 or other_T.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(one_T, other_T)[0, 1])


def mouth_follows(mouth_T: np.ndarray | None, said_T: Sequence[float]) -> bool:
    """Whether a mouth opens with what is said: correlation frame by frame of at least `FOLLOWS`."""
    return mouth_T is not None and _correlation(mouth_T, np.asarray(said_T)) >= FOLLOWS


def colours(scene: Scene, sight: Sight) -> dict[str, bool]:
    """As many subjects as there should be, each of the right colour, on the right side."""
    return {"colour": subjects(scene, sight)["colour"]}


def turns(scene: Scene, sight: Sight, frames_THWC: np.ndarray) -> dict[str, bool]:
    """Two faces talk in turns: in the first two fifths of the time the mouth of the one who begins changes more than
    the other's, in the last two fifths it is the other way round. When exactly the turn changes no prompt says.

    Faces that share a picture are too small for the oracle to fit: what changes where their mouths are is counted.
    """
    pairs = _matched(scene, sight)
    if len(pairs) != 2:
        return {"turns": False}
    pairs.sort(key=lambda pair: pair[1].speech.syllables[0].start)
    first_T, second_T = (_stir(seen, subject.radius, frames_THWC) for _, subject, seen in pairs)
    part = 2 * len(first_T) // 5
    early, late = slice(0, part), slice(len(first_T) - part, None)
    right = first_T[early].mean() > MORE * second_T[early].mean() + STIRS
    right &= second_T[late].mean() > MORE * first_T[late].mean() + STIRS
    return {"turns": bool(right)}


def _stir(seen: Seen, radius: float, frames_THWC: np.ndarray) -> np.ndarray:
    """Mean change from frame to frame of the middle of a face below its nose, levels of 255, (T - 1,)."""
    _, height, width, _ = frames_THWC.shape
    unit = min(height, width) * radius
    x, y = float(np.nanmedian(seen.x_T)) * width, float(np.nanmedian(seen.y_T)) * height
    rows = slice(max(round(y), 0), round(y + 0.85 * unit))
    columns = slice(max(round(x - 0.5 * unit), 0), round(x + 0.5 * unit))
    mouth = frames_THWC[:, rows, columns].astype(np.float32)
    return np.abs(np.diff(mouth, axis=0)).mean((1, 2, 3))
