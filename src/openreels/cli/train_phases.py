"""The recipes of `openreels train` that go through the sharded trainer: one device or a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from openreels.cli.terminal import Mistake, make_folder, no_library_bars, warn

if TYPE_CHECKING:
    from openreels.pipelines.assembly import Assembly
    from openreels.training.loop import Interrupted
    from openreels.training.sharded.launch import PhasePlan

__all__ = ["PHASED_RECIPES", "tell_interrupted", "train_in_phases"]

PHASED_RECIPES = {"v4": "openreels.recipes.v4_phases"}
"""Name -> module with `PHASES` and `plan(preset, data)`."""


def train_in_phases(recipe: str, preset: str, data: Path | None, processes: int, export: Path | None, **run) -> None:
    """Train a recipe's phases, or the one named `part`, with one clear sentence for what cannot be done.

    export: a new folder for a whole pipeline with what is trained. run: fields of `training.sharded.launch.PhaseRun`.
    """
    from importlib import import_module

    from openreels.recipes.presets import preset as preset_of
    from openreels.training.loop import Interrupted
    from openreels.training.sharded.launch import PhasePlan, PhaseRun, check, furthest, train_phases, write_trained
    from openreels.training.sharded.layout import started_by_torchrun

    if started_by_torchrun() and processes > 1:
        raise Mistake("--processes is for a start without torchrun, which has started its processes already")
    no_library_bars()
    if run.get("learns"):
        run["learns"] = tuple(part.strip() for part in run["learns"])
    phases = import_module(PHASED_RECIPES[recipe])
    with mistakes():
        asked = PhaseRun(**run)
        to_train = asked.steps is not None or asked.minutes is not None
        if to_train:
            plan = phases.plan(preset, data)
            check(plan, asked, processes)
        else:
            plan = PhasePlan(phases.PHASES, phases.trained_of(preset_of(preset)), data=None)
            furthest(plan, asked)
        whole = None if export is None else assembled(plan, preset, asked.start_from, export)
    if to_train:
        for phase in map(asked.narrowed, plan.chosen(asked.part)):
            if lacking := plan.data.lacks(phase):
                warn(f"{data} has no clips for {', '.join(lacking)}: phase {phase.name} is trained on its other tasks")
        make_folder(asked.workdir)
        try:
            train_phases(plan, asked, processes)
        except Interrupted as stop:
            tell_interrupted(stop, export)
            return
    if whole is not None and (not started_by_torchrun() or os.environ["RANK"] == "0"):
        with mistakes():
            whole.write(export, lambda folder: write_trained(plan, asked, folder))
        trained = ", ".join(f"{part} of {phase}" for part, phase in furthest(plan, asked).items())
        print(f"{export}: model written; trained: {trained}")


def tell_interrupted(stop: Interrupted, export: Path | None) -> None:
    """Raises typer.Exit(1) where an export was wanted: there is none."""
    print(f"{stop}; the same command goes on from there")
    if export is not None:
        warn(f"nothing was written to {export}, for the training is not finished")
        raise typer.Exit(1) from stop


def assembled(plan: PhasePlan, preset: str, start: Path | None, export: Path) -> Assembly:
    """The pipeline around what is trained: its other parts are those of `start`, or the package's own. Raises
    ValueError where there are none, or where they do not fit."""
    import torch

    from openreels.models.v4 import SkyReelsV4Transformer
    from openreels.pipelines.assembly import Parts, assemble, parts_in
    from openreels.pipelines.registry import folder_of

    parts = Parts() if start is None else parts_in(start)
    if parts.missing and preset == "pocket":
        parts = parts_in(folder_of("pocket"))
    if parts.missing:
        raise ValueError(
            "--export needs --start-from with a whole model (`openreels init` writes one), for its other parts; "
            f"{'none is given' if start is None else f'{start} lacks ' + ', '.join(parts.missing)}"
        )
    with torch.device("meta"):
        transformer = SkyReelsV4Transformer(**plan.transformer)
    return assemble(transformer, parts, export)  # not on that device: see `Part.on_meta`


@contextmanager
def mistakes() -> Iterator[None]:
    """What is found wrong with plans, weights and folders is said in one sentence."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise Mistake(str(error)) from error
