"""`openreels eval pocket`: held-out prompts to a reel, its clips to the oracle, the figures beside truth and chance.

    report = evaluate(openreels.load("pocket"), count=200)
    print_report(report)

Chance is measured too: every clip is also scored against another scene, or with another clip's sound.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np

from openreels.evaluation.hearing import Heard
from openreels.evaluation.measures import MEASURES, Expectation, Figure, figure, partners
from openreels.evaluation.oracle import Sight, listen, look
from openreels.media import Clip
from openreels.request import Request
from openreels.world import Scene, captions, render, sample_scene

__all__ = ["Case", "Report", "Row", "cases", "evaluate", "measure_clips", "print_report", "save_report", "true_clips"]

BATCH = 16
DURATION = 2.0  # seconds
FORMS = ("structured_en", "structured_zh", "long_en")
FORM_SHARES = (50, 25, 25)
SHOWN = 12  # clips kept for the contact sheet

Progress = Callable[[int, int], None]


class AnyReel(Protocol):
    """The public surface of a loaded model."""

    name: str
    weight_hash: str

    def generate_batch(self, requests: list[Request]) -> list[Clip]: ...


@dataclass(frozen=True)
class Case:
    """One prompt. form: of the caption. request: what the reel is asked."""

    expected: Expectation
    form: str
    request: Request


@dataclass(frozen=True)
class Row:
    """One measure of the report; see `Figure`. shuffled: the same clips against other scenes or other clips' sound."""

    name: str
    says: str
    generated: Figure
    truth: Figure
    shuffled: Figure


@dataclass(frozen=True)
class Report:
    """model, weights: name and hash of the reel. clips: generated and measured. examples: a few, not in the JSON."""

    model: str
    weights: str
    clips: int
    seed: int
    steps: int | None
    duration: float
    rows: tuple[Row, ...]
    examples: tuple[tuple[str, Clip], ...] = field(default=(), repr=False, compare=False)

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what was not measured is null."""
        plain = asdict(replace(self, examples=()))
        del plain["examples"]
        for row in plain["rows"]:
            for column in ("generated", "truth", "shuffled"):
                row[column] = {
                    name: None if isinstance(value, float) and np.isnan(value) else value
                    for name, value in row[column].items()
                }
        return plain


def cases(count: int, seed: int = 0, duration: float = DURATION, steps: int | None = None) -> list[Case]:
    """Held-out scenes with captions that name everything that is measured; a function of the arguments alone.

    duration: seconds. steps: sampling steps, None for the model's own number.
    """
    found = []
    for index in range(count):
        number = seed * 1_000_000 + index
        scene = sample_scene(number, duration=duration, split="held_out")
        form = Random(f"openreels eval {number}").choices(FORMS, FORM_SHARES)[0]
        prompt = getattr(captions(scene, number), form)
        sided = "on the left" in prompt.lower() or "左边" in prompt
        request = Request(prompt=prompt, duration=duration, seed=number, steps=steps)
        found.append(Case(Expectation(scene, ordered=sided), form, request))
    return found


def true_clips(scenes: Sequence[Scene], like: Clip) -> list[Clip]:
    """The world's own clips of the scenes, in the size, rate and length of a generated one."""
    frames, height, width, _ = like.frames.shape
    rate = like.sample_rate or 16_000
    rendered = render(
        scenes, frames=frames, height=height, width=width, fps=float(like.fps), sample_rate=rate, device="cpu"
    )
    return [
        Clip(frames=picture.numpy(), fps=Fraction(like.fps), audio=sound[None].numpy(), sample_rate=rate)
        for picture, sound in zip(rendered.frames, rendered.audio, strict=True)
    ]


def measure_clips(clips: Sequence[Clip]) -> list[tuple[Sight, Heard]]:
    return [(look(clip), listen(clip)) for clip in clips]


def score(expected: Sequence[Expectation], measured: Sequence[tuple[Sight, Heard]]) -> dict[str, list[float]]:
    """Values of every measure over the clips that it applies to."""
    return {
        measure.name: [
            float(measure.score(wanted, *seen))
            for wanted, seen in zip(expected, measured, strict=True)
            if measure.applies(wanted.scene)
        ]
        for measure in MEASURES
    }


def score_shuffled(expected: Sequence[Expectation], measured: Sequence[tuple[Sight, Heard]]) -> dict[str, list[float]]:
    """The chance level: clips against another scene, or pictures with another clip's sound."""
    values = {}
    for measure in MEASURES:
        pairs = partners(measure, [wanted.scene for wanted in expected]).items()
        if measure.both:
            values[measure.name] = [float(measure.score(expected[i], measured[i][0], measured[j][1])) for i, j in pairs]
        else:
            values[measure.name] = [float(measure.score(expected[j], *measured[i])) for i, j in pairs]
    return values


def evaluate(
    reel: AnyReel, count: int = 200, seed: int = 0, steps: int | None = None, progress: Progress | None = None
) -> Report:
    """Ask the reel for `count` clips of held-out scenes and measure them.

    seed: chooses the scenes and the noise. steps: sampling steps, None for the model's own. progress: called with
    (clips done, count).
    """
    chosen = cases(count, seed, steps=steps)
    generated: list[tuple[Sight, Heard]] = []
    true: list[tuple[Sight, Heard]] = []
    examples: list[tuple[str, Clip]] = []
    for first in range(0, count, BATCH):
        part = chosen[first : first + BATCH]
        clips = reel.generate_batch([case.request for case in part])
        generated += measure_clips(clips)
        true += measure_clips(true_clips([case.expected.scene for case in part], clips[0]))
        examples += [(case.request.prompt, clip) for case, clip in zip(part, clips, strict=True)]
        examples = examples[:SHOWN]
        if progress is not None:
            progress(len(generated), count)
    expected = [case.expected for case in chosen]
    columns = score(expected, generated), score(expected, true), score_shuffled(expected, generated)
    rows = tuple(
        Row(measure.name, measure.says, *(figure(column[measure.name]) for column in columns)) for measure in MEASURES
    )
    return Report(reel.name, reel.weight_hash, count, seed, steps, DURATION, rows, tuple(examples))


def _shown(cell: Figure) -> str:
    return f"{cell.value:.3f}" if cell.count else "-"


def print_report(report: Report) -> None:
    """The table on the terminal: every measure on generated clips, on true ones, and by chance."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report.model} {report.weights}: {report.clips} held-out prompts, {report.duration:g} s each")
    for name, where in (("measure", "left"), ("generated", "right"), ("95%", "right"), ("truth", "right"),
                        ("shuffled", "right"), ("clips", "right"), ("what it says", "left")):  # fmt: skip
        table.add_column(name, justify=where, no_wrap=name != "what it says")
    for row in report.rows:
        interval = f"{row.generated.low:.2f}-{row.generated.high:.2f}" if row.generated.count else "-"
        table.add_row(row.name, _shown(row.generated), interval, _shown(row.truth), _shown(row.shuffled),
                      str(row.generated.count), row.says)  # fmt: skip
    Console().print(table)


def save_report(report: Report, folder: str | Path) -> list[Path]:
    """Write `report.json` and `sheet.png` (some of the generated clips with their prompts); returns the paths."""
    from openreels.media.sheet import contact_sheet

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures, sheet = folder / "report.json", folder / "sheet.png"
    figures.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    prompts, clips = zip(*report.examples, strict=True)
    contact_sheet(clips, prompts).save(sheet)
    return [figures, sheet]
