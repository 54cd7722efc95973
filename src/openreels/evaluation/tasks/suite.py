"""`openreels eval tasks`: held-out cases of every row to a reel, its clips to the row's judge; a rate per row.

    report = evaluate_tasks(openreels.load("pocket"), count=50, folder=Path("measured"))
    print_task_report(report)

Beside each rate stand those of the true results and of doing nothing, by the same judge on the same cases. With a
folder every batch is written down when it is judged, so an interrupted measurement goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from openreels.evaluation.measures import Figure, figure
from openreels.evaluation.tasks.cases import Case, case_of
from openreels.evaluation.tasks.judges import JUDGES
from openreels.media import Clip
from openreels.media.atomic import atomic
from openreels.media.sheet import contact_sheet
from openreels.request import Request
from openreels.world.examples import ROWS

__all__ = ["TaskReport", "TaskRow", "chosen_rows", "evaluate_tasks", "print_task_report", "save_task_report"]

BATCH = 10  # cases that are asked and written down together
SHOWN = 4  # cases of a row on its contact sheet
APART = 1_000_000  # from the first case of a seed to the first of the next

Progress = Callable[[int, int], None]


class AnyReel(Protocol):
    """The public surface of a loaded model."""

    name: str
    weight_hash: str

    def generate_batch(self, requests: Sequence[Request], media: Mapping[str, Clip] | None = None) -> list[Clip]: ...


@dataclass(frozen=True)
class TaskRow:
    """One row. says: what a success is. generated, truth, nothing: rates; see `Figure`. parts: of the generated clips,
    how often each part of the judgement was right. seconds: of generation, per clip."""

    name: str
    group: str
    says: str
    generated: Figure
    truth: Figure
    nothing: Figure
    parts: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class TaskReport:
    """model, weights: name and hash of the reel. count: cases of each row."""

    model: str
    weights: str
    count: int
    seed: int
    steps: int | None
    rows: tuple[TaskRow, ...]

    def row(self, name: str) -> TaskRow:
        return next(row for row in self.rows if row.name == name)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass
class _Verdict:
    """On one case: the parts of the judgements, and the seconds that its clip took."""

    number: int
    generated: dict[str, bool]
    truth: dict[str, bool]
    nothing: dict[str, bool]
    seconds: float


def chosen_rows(names: str | None) -> tuple[str, ...]:
    """Of names with commas between them; None: all. Raises ValueError for a name that is no row."""
    rows = tuple(ROWS) if names is None else tuple(name.strip() for name in names.split(","))
    for row in rows:
        if row not in ROWS:
            raise ValueError(f"rows must be of {', '.join(ROWS)}, with commas between them, not {row!r}")
    return rows


# -- one row ----------------------------------------------------------------------------------------------------------


def _next_cases(row: str, after: int, count: int, steps: int | None) -> list[Case]:
    """The next cases that the row's judge applies to."""
    found, number = [], after
    while len(found) < count:
        case = case_of(row, number, steps)
        number += 1
        if JUDGES[row].applies(case):
            found.append(case)
    return found


def _judged(reel: AnyReel, row: str, cases: Sequence[Case]) -> tuple[list[_Verdict], list[Clip]]:
    media = {path: clip for case in cases for path, clip in case.media.items()}
    begin = perf_counter()
    clips = reel.generate_batch([case.request for case in cases], media=media)
    seconds = (perf_counter() - begin) / len(cases)
    verdicts = []
    for case, clip in zip(cases, clips, strict=True):
        judge = JUDGES[row].of(case)
        verdicts.append(_Verdict(case.number, judge(clip), judge(case.target), judge(case.nothing), seconds))
    return verdicts, clips


def _figured(row: str, verdicts: Sequence[_Verdict]) -> TaskRow:
    def rate(which: str) -> Figure:
        return figure([float(all(getattr(verdict, which).values())) for verdict in verdicts])

    names = dict.fromkeys(name for verdict in verdicts for name in verdict.generated)
    parts = {
        name: float(np.mean([v.generated[name] for v in verdicts if name in v.generated])) for name in names
    }  # fmt: skip
    seconds = float(np.mean([verdict.seconds for verdict in verdicts]))
    return TaskRow(
        row, ROWS[row].group, JUDGES[row].says, rate("generated"), rate("truth"), rate("nothing"), parts, seconds
    )


# -- what was measured before -----------------------------------------------------------------------------------------


def _key(reel: AnyReel, seed: int, steps: int | None) -> dict[str, Any]:
    return {"weights": reel.weight_hash, "seed": seed, "steps": steps}


def _remembered(path: Path, key: Mapping[str, Any]) -> list[_Verdict]:
    """What the file holds of the same model, seed and steps; nothing where it holds another's."""
    if not path.is_file():
        return []
    data = json.loads(path.read_text(encoding="utf-8"))
    return [_Verdict(**verdict) for verdict in data["verdicts"]] if data["key"] == dict(key) else []


def _remember(path: Path, key: Mapping[str, Any], verdicts: Sequence[_Verdict]) -> None:
    text = json.dumps({"key": dict(key), "verdicts": [asdict(verdict) for verdict in verdicts]}, indent=1)
    with atomic(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _save_sheet(path: Path, cases: Sequence[Case], clips: Sequence[Clip]) -> None:
    """Some cases: what doing nothing gives, the true result, and what was made."""
    rows, captions = [], []
    for case, clip in list(zip(cases, clips, strict=True))[:SHOWN]:
        rows += [case.nothing, case.target, clip]
        captions += [f"nothing: {case.request.prompt}", "truth", "generated"]
    with atomic(path) as part:
        contact_sheet(rows, captions).save(part, format="png")


# -- all rows ---------------------------------------------------------------------------------------------------------


def evaluate_tasks(
    reel: AnyReel,
    rows: Sequence[str] = tuple(ROWS),
    count: int = 50,
    seed: int = 0,
    steps: int | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> TaskReport:
    """Success rates of the rows on `count` held-out cases each.

    seed: chooses the cases and the noise. steps: sampling steps, None for the model's own. folder: keeps verdicts and
    contact sheets of each row; what it holds of the same weights, seed and steps is not measured again. progress:
    called with (cases done, cases in all).
    """
    key, figures = _key(reel, seed, steps), []
    for index, row in enumerate(rows):
        path = None if folder is None else folder / f"{row}.json"
        verdicts = [] if path is None else _remembered(path, key)[:count]
        while len(verdicts) < count:
            after = verdicts[-1].number + 1 if verdicts else seed * APART
            cases = _next_cases(row, after, min(BATCH, count - len(verdicts)), steps)
            made, clips = _judged(reel, row, cases)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                if not verdicts:
                    _save_sheet(path.with_suffix(".png"), cases, clips)
                _remember(path, key, [*verdicts, *made])
            verdicts += made
            if progress is not None:
                progress(index * count + len(verdicts), len(rows) * count)
        figures.append(_figured(row, verdicts))
    return TaskReport(reel.name, reel.weight_hash, count, seed, steps, tuple(figures))


# -- the table --------------------------------------------------------------------------------------------------------


def print_task_report(report: TaskReport) -> None:
    """The table on the terminal, and how many rows reach 0.8 and 0.5."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report.model} {report.weights}: {report.count} held-out cases of each row")
    for name, where in (("row", "left"), ("success", "right"), ("95%", "right"), ("truth", "right"),
                        ("nothing", "right"), ("s / clip", "right"), ("success is", "left")):  # fmt: skip
        table.add_column(name, justify=where, no_wrap=name != "success is")
    group = None
    for row in report.rows:
        if row.group != group:
            table.add_section()
            group = row.group
        made = row.generated
        table.add_row(row.name, f"{made.value:.2f}", f"{made.low:.2f}-{made.high:.2f}", f"{row.truth.value:.2f}",
                      f"{row.nothing.value:.2f}", f"{row.seconds:.1f}", row.says)  # fmt: skip
    console = Console()
    console.print(table)
    values = [row.generated.value for row in report.rows]
    reached = {level: sum(value >= level for value in values) for level in (0.8, 0.5)}
    console.print(f"{reached[0.8]} of {len(values)} rows at 0.80 or more, {reached[0.5]} at 0.50 or more")


def save_task_report(report: TaskReport, folder: Path) -> Path:
    """Write `tasks.json`; returns its path."""
    path = folder / "tasks.json"
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(path) as part:
        part.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    return path
