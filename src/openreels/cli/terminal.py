"""What verbs share on the terminal: progress on stderr, results on stdout, warnings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

__all__ = ["number_above_zero", "progress_bar", "show_facts", "show_json", "warn", "whole_number"]


def show_json(result: Mapping[str, Any] | list[Any]) -> None:
    print(json.dumps(result, ensure_ascii=False, indent=2))


def show_facts(facts: Mapping[str, Any]) -> None:
    """Names and values in two columns; a mapping inside becomes rows "outer.inner"."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in flat(facts):
        table.add_row(name, Text("" if value is None else str(value)))  # Text: a prompt's [brackets] are no markup
    Console().print(table)


def flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def warn(sentence: str) -> None:
    print(f"openreels: warning: {sentence}.", file=sys.stderr)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """The parser of a flag: typer's own does not say what it was given."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise typer.BadParameter(f"accepted is a whole number from {low:,} to {high:,}, not {text!r}")
        return number

    return parse


def number_above_zero(text: str) -> float:
    """The parser of a flag."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise typer.BadParameter(f"accepted is a number above 0, not {text!r}")
    return number


@contextmanager
def progress_bar(title: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with the step and the remaining time; gives the function to call with (step, total) after each step.

    Gives None, and shows nothing, where `quiet` or where stderr is no terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[steps]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, steps="")
        yield lambda step, total: bar.update(task, completed=step, total=total, steps=f"step {step} of {total}")
