"""How well cuts are found and named, on films of the world, whose cuts are known.

Legend: T frames  H, W pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from openreels.shots import CUT_KINDS, SINGLE_SHOT, detect_shots
from openreels.shots.classifier import CutClassifier
from openreels.world.film_rendering import cut_frames, film_frames
from openreels.world.films import Film, sample_film

__all__ = ["TOLERANCE", "ShotReport", "measure_shots", "score_film"]

TOLERANCE = 1  # frames by which a boundary may be off


@dataclass
class ShotReport:
    """Counts over films. confusion: (true kind, said kind) of every true cut and every false one; a cut that was not
    found is said to be "single-shot", and what was found where no cut is has that as its true kind."""

    films: int = 0
    uncut_films: int = 0
    uncut_films_left_whole: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def cuts(self) -> int:
        return sum(count for (true, _), count in self.confusion.items() if true != SINGLE_SHOT)

    @property
    def recall(self) -> float:
        """Share of the cuts whose boundary was found, within `TOLERANCE`."""
        found = sum(n for (true, said), n in self.confusion.items() if SINGLE_SHOT not in (true, said))
        return found / max(self.cuts, 1)

    @property
    def precision(self) -> float:
        """Share of the found boundaries that are cuts."""
        said = sum(n for (_, said), n in self.confusion.items() if said != SINGLE_SHOT)
        right = sum(n for (true, said), n in self.confusion.items() if SINGLE_SHOT not in (true, said))
        return right / max(said, 1)

    @property
    def accuracy(self) -> float:
        """Share of all cuts that were found and named rightly."""
        return sum(self.confusion[kind, kind] for kind in CUT_KINDS) / max(self.cuts, 1)

    def accuracy_of(self, kind: str) -> float:
        """The same for the cuts of one kind; of "single-shot": the share of uncut films that were left whole."""
        if kind == SINGLE_SHOT:
            return self.uncut_films_left_whole / max(self.uncut_films, 1)
        return self.confusion[kind, kind] / max(sum(self.confusion[kind, said] for said in CutClassifier.kinds), 1)

    def table(self) -> str:
        """The confusion matrix and the accuracy of each kind, as text: one row for each true kind."""
        head = "".join(f"{said:>18}" for said in CutClassifier.kinds) + f"{'accuracy':>10}"
        rows = [f"{'true':<18}{head}"]
        for true in CutClassifier.kinds:
            counts = "".join(f"{self.confusion[true, said]:>18}" for said in CutClassifier.kinds)
            rows.append(f"{true:<18}{counts}{self.accuracy_of(true):>10.3f}")
        return "\n".join(rows)


def score_film(report: ShotReport, film: Film, fps: int, found: dict[int, str]) -> None:
    """Add one film to the report. found: first frame of each shot but the first -> the kind of cut."""
    report.films += 1
    if not film.cuts:
        report.uncut_films += 1
        report.uncut_films_left_whole += not found
    left = dict(found)
    for frame, kind in zip(cut_frames(film, fps), film.cuts, strict=True):
        near = min(left, key=lambda each: abs(each - frame), default=None)
        hit = near is not None and abs(near - frame) <= TOLERANCE
        report.confusion[kind, left.pop(near) if hit else SINGLE_SHOT] += 1
    report.confusion.update((SINGLE_SHOT, kind) for kind in left.values())


def measure_shots(
    seeds: Iterable[int],
    *,
    fps: int = 16,
    side: int = 64,
    aspect: float = 1.0,
    cuts: tuple[str, ...] | None = None,
    classifier: CutClassifier | None = None,
) -> ShotReport:
    """Detect the shots of held-out films (other seeds and other things than in training) and compare with the truth.

    side: pixels of the short side. cuts: of every film, as in `sample_film`; by default drawn at random.
    """
    report = ShotReport()
    size = {"height": round(side * max(1, 1 / aspect)), "width": round(side * max(1, aspect))}
    for seed in seeds:
        film = sample_film(seed, cuts=cuts, aspect=aspect, split="held_out")
        shots = detect_shots(film_frames(film, fps=fps, **size).numpy(), fps, classifier)
        score_film(report, film, fps, {shot.first: shot.cut for shot in shots[1:]})
    return report
