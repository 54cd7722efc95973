"""What verbs share on the terminal: flags read, results on stdout, warnings and progress on stderr."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

__all__ = [
    "Mistake",
    "make_folder",
    "no_library_bars",
    "number_above_zero",
    "one_of",
    "progress_bar",
    "show_facts",
    "show_json",
    "typed_flags",
    "warn",
    "warnings_of",
    "whole_number",
]

# -- what was typed ---------------------------------------------------------------------------------------------------


class Mistake(typer.BadParameter):
    """What was typed is not accepted. Raised by a parser, it goes on after the name of the flag: "must be ..."."""

    def format_message(self) -> str:
        if self.param is None:
            return self.message
        is_flag = self.param.param_type_name == "option"
        return f"{max(self.param.opts, key=len) if is_flag else self.param.metavar} {self.message}"


def refusal(accepted: str, text: str) -> Mistake:
    from openreels.request import shown

    return Mistake(f"must be {accepted}, not {shown(text)}")


def typed_flags(typed: typer.Context, names: Iterable[str]) -> list[str]:
    """Which of a verb's options somebody typed, as flags; `names` are those of its parameters."""
    return [f"--{name.replace('_', '-')}" for name in names if typed.get_parameter_source(name).name == "COMMANDLINE"]


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """The parser of a flag; typer's own numbers do not say in one sentence what was given and what is accepted."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise refusal(f"a whole number from {low:,} to {high:,}", text)
        return number

    return parse


def number_above_zero(text: str) -> float:
    """The parser of a flag."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise refusal("a number above 0", text)
    return number


def one_of(choices: Collection[str]) -> Callable[[str], str]:
    """The parser of a flag or an argument."""

    def parse(text: str) -> str:
        if text not in choices:
            raise refusal(f"one of {', '.join(choices)}", text)
        return text

    return parse


def make_folder(folder: Path) -> None:
    """Make it where it is missing. Raises Mistake where no file can be written in it."""
    from openreels.media.atomic import try_folder

    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_folder(folder)
    except OSError as error:
        raise Mistake(f"{folder} cannot be written: {error.strerror.lower()}; accepted is a folder") from error


# -- what is shown ----------------------------------------------------------------------------------------------------


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


@contextmanager
def warnings_of(kind: type[Warning]) -> Iterator[None]:
    """Python's warnings of this kind come as `warn` writes them; all others as they do."""
    usual = warnings.showwarning

    def show(message: Warning, category: type[Warning], *place: Any) -> None:
        warn(str(message)) if issubclass(category, kind) else usual(message, category, *place)

    with warnings.catch_warnings():
        warnings.simplefilter("default", kind)  # each text once
        warnings.showwarning = show
        yield


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


def no_library_bars() -> None:
    """Hides the bars that diffusers and transformers draw for every file they load or save."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
