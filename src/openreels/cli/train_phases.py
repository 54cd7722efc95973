"""The recipes of `openreels train` that go through the sharded trainer: one device or a cluster."""

from __future__ import annotations

from pathlib import Path

from openreels.cli.terminal import Mistake, make_folder, no_library_bars

__all__ = ["PHASED_RECIPES", "train_in_phases"]

PHASED_RECIPES = {"v4": "openreels.recipes.v4_phases"}
"""Name -> module with `plan(preset, data)`."""


def train_in_phases(recipe: str, preset: str, data: Path | None, processes: int, **run) -> None:
    """Train a recipe's phases, or the one named `part`, with one clear sentence for what cannot be done.

    run: fields of `training.sharded.launch.PhaseRun`.
    """
    from importlib import import_module

    from openreels.training.loop import Interrupted
    from openreels.training.sharded.launch import PhaseRun, check, train_phases
    from openreels.training.sharded.layout import started_by_torchrun

    if started_by_torchrun() and processes > 1:
        raise Mistake("--processes is for a start without torchrun, which has started its processes already")
    no_library_bars()
    asked = PhaseRun(**run)
    try:
        plan = import_module(PHASED_RECIPES[recipe]).plan(preset, data)
        check(plan, asked)
    except (ValueError, FileNotFoundError) as error:
        raise Mistake(str(error)) from error
    make_folder(asked.workdir)
    try:
        train_phases(plan, asked, processes)
    except Interrupted as stop:
        print(f"{stop}; the same command goes on from there")
