"""What is scored: each measure compares what the oracle saw and heard with what the scene asks for.

A measure applies only where the scene asks for something it can check. Every value is 0..1 (mouth: -1..1), 1 is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import sqrt

import numpy as np

from openreels.evaluation.hearing import Heard
from openreels.evaluation.oracle import Seen, Sight, contact_matches, mouth_correlation
from openreels.world import MATERIALS, Scene, Subject, contacts

__all__ = [
    "MEASURES",
    "Expectation",
    "Figure",
    "Measure",
    "figure",
    "heard_material",
    "materials_of",
    "pairs_of",
    "partners",
]


@dataclass(frozen=True)
class Expectation:
    """What a prompt asks for. ordered: it says which subject stands on which side; else either order is right."""

    scene: Scene
    ordered: bool = True

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """From left to right."""
        return tuple(sorted(self.scene.subjects, key=lambda subject: subject.motion.x))


def _right_motion(wanted: Subject, seen: Seen) -> bool:
    if seen.motion != wanted.motion.kind:
        return False
    return wanted.motion.kind not in ("slide", "roll") or seen.side == (1 if wanted.motion.distance > 0 else -1)


def pairs_of(expected: Expectation, sight: Sight) -> list[tuple[Subject, Seen]]:
    """Who is who; empty when the number of subjects is wrong."""
    wanted = expected.subjects
    if len(wanted) != len(sight.subjects):
        return []
    orders = [tuple(range(len(wanted)))] if expected.ordered else permutations(range(len(wanted)))

    def agreement(order: tuple[int, ...]) -> int:
        pairs = [(wanted[i], seen) for i, seen in zip(order, sight.subjects, strict=True)]
        return sum((w.colour == s.colour) + (w.kind == s.kind) + _right_motion(w, s) for w, s in pairs)

    best = max(orders, key=agreement)
    return [(wanted[i], seen) for i, seen in zip(best, sight.subjects, strict=True)]


def _share(
    expected: Expectation, sight: Sight, right: Callable[[Subject, Seen], bool], shapes_only: bool = False
) -> float:
    """Share of the subjects for which something is right."""
    pairs = [pair for pair in pairs_of(expected, sight) if not (shapes_only and pair[0].is_face)]
    return float(np.mean([right(*pair) for pair in pairs])) if pairs else 0.0


def heard_material(heard: Heard) -> str | None:
    if not heard.impacts:
        return None
    return MATERIALS[int(np.sum([impact.likelihoods for impact in heard.impacts], axis=0).argmax())]


def materials_of(scene: Scene) -> set[str]:
    return {material for contact in contacts(scene) for material in contact.materials}


def _contact_share(sight: Sight, heard: Heard) -> float:
    times = tuple(impact.time for impact in heard.impacts)
    return contact_matches(sight.contacts, times) / len(sight.contacts) if sight.contacts else 0.0


def _impact_share(sight: Sight, heard: Heard) -> float:
    # Two blows that the eye takes for one contact may be told apart by ear: here each subject's own contacts count.
    seen = tuple(sorted({time for subject in sight.subjects for time in subject.contacts}))
    times = tuple(impact.time for impact in heard.impacts)
    return contact_matches(seen, times) / len(times) if times else 0.0


def _speech(expected: Expectation) -> str | None:
    return next((subject.speech.voice for subject in expected.scene.subjects if subject.speech is not None), None)


def _kinds(scene: Scene) -> Hashable:
    return tuple(sorted(subject.motion.kind for subject in scene.subjects))


@dataclass(frozen=True)
class Measure:
    """One row of the table.

    says: what the value is. applies: to which scenes. score: of an expectation and what was measured.
    alike: for the chance level a clip is scored against another scene with the same key; or, where `both` picture and
    sound are compared with each other, with that other clip's sound.
    """

    name: str
    says: str
    applies: Callable[[Scene], bool]
    score: Callable[[Expectation, Sight, Heard], float]
    alike: Callable[[Scene], Hashable] = lambda scene: len(scene.subjects)
    both: bool = False


MEASURES: tuple[Measure, ...] = (
    Measure("background", "the right place of six", lambda s: True,
            lambda e, sight, heard: sight.background == e.scene.background),
    Measure("night", "day or night", lambda s: True, lambda e, sight, heard: sight.night == e.scene.night),
    Measure("count", "the right number of subjects", lambda s: True,
            lambda e, sight, heard: len(sight.subjects) == len(e.subjects), alike=lambda s: 0),
    Measure("colour", "subjects of the right colour of eight", lambda s: True,
            lambda e, sight, heard: _share(e, sight, lambda w, s: w.colour == s.colour)),
    Measure("shape", "subjects of the right kind of nine, by their outline or face", lambda s: True,
            lambda e, sight, heard: _share(e, sight, lambda w, s: w.kind == s.kind)),
    Measure("two subjects", "both right in colour and kind", lambda s: len(s.subjects) == 2,
            lambda e, sight, heard: _share(e, sight, lambda w, s: w.colour == s.colour and w.kind == s.kind) == 1.0),
    Measure("motion", "shapes that move as told, to the right side",
            lambda s: any(not subject.is_face for subject in s.subjects),
            lambda e, sight, heard: _share(e, sight, _right_motion, shapes_only=True)),
    Measure("material", "the right sound of four where something hits", lambda s: len(materials_of(s)) == 1,
            lambda e, sight, heard: heard_material(heard) in materials_of(e.scene), alike=lambda s: 0),
    Measure("contacts", "visible contacts with their sound within 80 ms", lambda s: bool(materials_of(s)),
            lambda e, sight, heard: _contact_share(sight, heard), alike=_kinds, both=True),
    Measure("impacts", "impact sounds with their visible contact within 80 ms", lambda s: bool(materials_of(s)),
            lambda e, sight, heard: _impact_share(sight, heard), alike=_kinds, both=True),
    Measure("speech", "a voice where a face speaks, none elsewhere", lambda s: True,
            lambda e, sight, heard: heard.voice.present == (_speech(e) is not None), alike=lambda s: 0),
    Measure("voice", "a low or a high voice as told", lambda s: _speech(Expectation(s)) is not None,
            lambda e, sight, heard: heard.voice.kind == _speech(e), alike=lambda s: 0),
    Measure("music", "a music box where told, none elsewhere", lambda s: True,
            lambda e, sight, heard: heard.music == (e.scene.melody is not None), alike=lambda s: 0),
    Measure("mouth", "correlation of mouth and voice", lambda s: _speech(Expectation(s)) is not None,
            lambda e, sight, heard: mouth_correlation(sight, heard), alike=lambda s: 0, both=True),
)  # fmt: skip


def partners(measure: Measure, scenes: Sequence[Scene]) -> dict[int, int]:
    """For the chance level: each scene the measure applies to, and the number of another one, alike where possible."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, scene in enumerate(scenes):
        if measure.applies(scene):
            groups[measure.alike(scene)].append(index)
    # Scenes without their like share one group.
    rest = [index for members in groups.values() if len(members) == 1 for index in members]
    found = {}
    for members in [*(members for members in groups.values() if len(members) > 1), rest]:
        if len(members) > 1:
            found |= dict(zip(members, members[1:] + members[:1], strict=True))
    return found


@dataclass(frozen=True)
class Figure:
    """A mean with its 95% interval and the number of clips behind it; all NaN for no clip."""

    value: float
    low: float
    high: float
    count: int


def figure(values: Sequence[float], seed: int = 0) -> Figure:
    """Wilson's interval where every value is 0 or 1, a bootstrap elsewhere."""
    if not len(values):
        return Figure(float("nan"), float("nan"), float("nan"), 0)
    data = np.asarray(values, dtype=np.float64)
    n, mean = len(data), float(data.mean())
    if np.isin(data, (0.0, 1.0)).all():
        z = 1.959964
        middle, half = mean + z * z / (2 * n), z * sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
        return Figure(mean, (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n), n)
    picked = np.random.default_rng(seed).integers(n, size=(1000, n))
    low, high = np.percentile(data[picked].mean(1), (2.5, 97.5))
    return Figure(mean, float(low), float(high), n)
