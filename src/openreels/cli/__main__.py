"""The entrance: finds the verbs, runs one, and turns what the user got wrong into one sentence and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pkgutil import iter_modules
from re import sub
from typing import Annotated

import typer

import openreels
from openreels import cli
from openreels.cli.terminal import Mistake

__all__ = ["main"]

MISTAKE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
UsageError = typer.BadParameter.__base__  # typer exports only its subclass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (by default that of the process) and return the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = typer.main.get_command(application()).main(arguments, prog_name="openreels", standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except UsageError as error:
        return complain(sentence_of(error))
    except ValueError as error:
        if not is_mistake(error):
            raise
        return complain(str(error))
    if code == INTERRUPTED:
        print("openreels: interrupted.", file=sys.stderr)
    return code


def sentence_of(error: UsageError) -> str:
    """Typer's own words smoothed, with a reference to the help; a Mistake says itself what is accepted."""
    if isinstance(error, Mistake):
        return error.format_message()
    sentence = error.format_message().replace(". Did you mean", ", did you mean").rstrip(".")
    sentence = sub(r" \(Possible options: (.*)\)$", r", did you mean \1?", sentence)
    return f"{sentence} (see {error.ctx.command_path} --help)" if error.ctx else sentence


def complain(sentence: str) -> int:
    print(f"openreels: {' '.join(sentence.splitlines()).rstrip('.')}.", file=sys.stderr)
    return MISTAKE


def is_mistake(error: ValueError) -> bool:
    """Whether it is the user's: any other ValueError is a fault of ours, and its traceback is wanted."""
    from openreels.media.error import MediaError
    from openreels.request import RequestError

    return isinstance(error, MediaError | RequestError)


def application() -> typer.Typer:
    app = typer.Typer(
        help="Generate video with its sound.", add_completion=False, pretty_exceptions_enable=False, callback=options
    )
    for verb in verbs():
        app.add_typer(verb)
    return app


def verbs() -> Iterator[typer.Typer]:
    modules = (import_module(f"{cli.__name__}.{found.name}") for found in iter_modules(cli.__path__))
    return (module.app for module in modules if hasattr(module, "app"))


def show_version(wanted: bool) -> None:
    if wanted:
        print(openreels.__version__)
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Takes what may stand before the verb; typer runs the callback of each."""


if __name__ == "__main__":
    sys.exit(main())
