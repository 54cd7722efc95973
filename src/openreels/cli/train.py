"""`openreels train RECIPE`."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openreels.cli.terminal import (
    Mistake,
    make_folder,
    no_library_bars,
    number_above_zero,
    one_of,
    typed_flags,
    whole_number,
)
from openreels.cli.train_phases import PHASED_RECIPES, tell_interrupted, train_in_phases
from openreels.recipes import RECIPES

if TYPE_CHECKING:
    from openreels.training.plan import TrainingPlan

app = typer.Typer()

NAMES = ChainMap(PHASED_RECIPES, RECIPES)
FROZEN = {  # parts that the stages of the transformer build on, and what each leaves in the work folder
    "video_codec": ("video_vae",),
    "audio_codec": ("audio_vae", "vocoder"),
    "text_encoder": ("text_encoder", "tokenizer"),
}


# Flags that one kind of recipe alone knows.
PHASED_ONLY = ("preset", "data", "batch", "micro_batch", "context", "lora", "learns", "audio_weight")
STAGED_ONLY = ("workers",)


@app.command()
def train(
    context_of_flags: typer.Context,
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", parser=one_of(NAMES), help=f"What to train: {', '.join(NAMES)}.", show_default=False
        ),
    ],
    workdir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Checkpoints, logs and samples. (default: runs/RECIPE)")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", parser=number_above_zero, help="Wall-clock budget of this call.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", parser=whole_number(1, 10**9), help="Length of each stage instead.")
    ] = None,
    part: Annotated[str | None, typer.Option(metavar="NAME", help="One part of the recipe only.")] = None,
    processes: Annotated[
        int, typer.Option(metavar="N", parser=whole_number(1, 1024), help="Average gradients over N processes.")
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", parser=whole_number(0, 2**31), help="Of weights, data, noise.")] = 0,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda", parser=one_of(("cpu", "cuda")), help="Where to train.")
    ] = "cpu",
    workers: Annotated[
        int,
        typer.Option(metavar="N", parser=whole_number(0, 1024), help="Processes that render and draw ahead for a GPU."),
    ] = 0,
    start_from: Annotated[
        Path | None,
        typer.Option(metavar="NAME|DIR", help="A whole model to go on from, with --part of a stage; v4: its weights."),
    ] = None,
    export: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the finished model there.")] = None,
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="v4: size of the model; see `openreels plan`.")
    ] = "pocket",
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="v4: cached latents. (default: the world's)")] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole_number(1, 10**6), help="v4: clips of a step."),
    ] = None,
    micro_batch: Annotated[
        int, typer.Option(metavar="N", parser=whole_number(1, 10**4), help="v4: clips of one forward pass.")
    ] = 1,
    context: Annotated[
        int,
        typer.Option(metavar="N", parser=whole_number(1, 1024), help="v4: processes that share a clip."),
    ] = 1,
    lora: Annotated[
        int | None, typer.Option(metavar="RANK", parser=whole_number(1, 1024), help="v4: train an adapter only.")
    ] = None,
    learns: Annotated[
        str | None, typer.Option(metavar="PARTS", help="v4: of video,audio,cross, train these and freeze the rest.")
    ] = None,
    audio_weight: Annotated[
        float, typer.Option(metavar="W", parser=number_above_zero, help="v4: of the audio loss, against 1 for video.")
    ] = 1.0,
) -> None:
    """Train a model from scratch; the same command again goes on where the last one stopped."""
    refuse(context_of_flags, STAGED_ONLY if recipe in PHASED_RECIPES else PHASED_ONLY, recipe)
    workdir = workdir or Path("runs") / recipe
    to_train = minutes is not None or steps is not None
    if not to_train and export is None:
        raise Mistake("training needs a budget: --minutes or --steps; or --export, to write what is trained already")

    if recipe in PHASED_RECIPES:
        check_device(device)
        train_in_phases(
            recipe,
            preset,
            data,
            processes,
            export,
            workdir=workdir,
            part=part,
            steps=steps,
            minutes=minutes,
            batch=batch,
            micro_batch=micro_batch,
            seed=seed,
            device=device,
            context=context,
            start_from=located(start_from),
            lora_rank=lora,
            learns=tuple(learns.split(",")) if learns else None,
            audio_weight=audio_weight,
        )
        return

    from importlib import import_module

    chosen = import_module(RECIPES[recipe])
    plan = chosen.plan()
    start_from = located(start_from)
    check_parts(plan, part, workdir, to_train, export is not None, start_from)
    check_device(device)
    for folder in (workdir if to_train else None, export):
        if folder is not None:
            make_folder(folder)

    from openreels.training.loop import Interrupted
    from openreels.training.plan import begin_from
    from openreels.training.plan import train as run

    no_library_bars()
    if start_from is not None:
        begin_from(start_from, workdir)
    try:
        if to_train:
            run(
                plan,
                workdir,
                minutes=minutes,
                steps=steps,
                part=part,
                processes=processes,
                seed=seed,
                device=device,
                workers=workers,
            )
    except Interrupted as stop:
        tell_interrupted(stop, export)
        return
    if export is not None:
        try:
            chosen.export(plan, workdir, export)
        except ValueError as error:
            raise Mistake(f"--export: {error}") from error
        print(f"{export}: weights written")


def refuse(typed: typer.Context, names: Collection[str], recipe: str) -> None:
    """Raises Mistake where one of the flags is typed, which this recipe would not listen to."""
    if flags := typed_flags(typed, names):
        others = ", ".join(name for name in NAMES if (name in PHASED_RECIPES) != (recipe in PHASED_RECIPES))
        raise Mistake(f"{', '.join(flags)} cannot be used with {recipe}, only with {others}")


def check_parts(
    plan: TrainingPlan, part: str | None, workdir: Path, to_train: bool, to_export: bool, start_from: Path | None
) -> None:
    """Raises Mistake where there is no such part, or where what it or the export needs is not trained."""
    from openreels.training.plan import START

    if part is not None and part not in plan.parts:
        raise Mistake(f"--part must be one of {', '.join(plan.parts)}, not {part!r}")
    stages = {stage.name: stage for stage in plan.stages}
    on_frozen = plan.parts[plan.parts.index("latents") + 1 :]
    frozen = [name for names in FROZEN.values() for name in names]
    if start_from is not None:
        if not (to_train and part in on_frozen):
            raise Mistake(f"--start-from needs a budget and --part with one of {', '.join(on_frozen)}")
        if not all((start_from / name).is_dir() for name in (*frozen, "transformer")):
            raise Mistake(f"--start-from must be a folder of exported weights, not {str(start_from)!r}")
    if to_train and part is None:
        return

    needs: set[str] = set()
    if start_from is None and not (workdir / START).is_dir():
        needs = set() if part in FROZEN and not to_export else {*FROZEN}
        needs |= {*stages[part].starts_from.values()} if to_train and part in stages else set()
        needs |= {plan.latest(workdir)} if (to_export and part not in stages) or part == "decoder" else set()
    if to_export and part in stages:
        needs.add(part)
    if to_train:
        needs.discard(part)

    def is_trained(name: str) -> bool:
        return all((workdir / file).exists() for file in FROZEN.get(name, (f"{name}.pt",)))

    missing = [name for name in plan.parts if name in needs and not is_trained(name)]
    if missing:
        wish = "--export" if to_export else f"--part {part}"
        raise Mistake(f"{wish} needs {', '.join(missing)}, not yet trained in {workdir}")


def located(start_from: Path | None) -> Path | None:
    """A folder, or one of the models that come with the package, by its name."""
    from openreels.pipelines.registry import available, find

    known = {card.name for card in available()}
    return find(str(start_from)) if str(start_from) in known else start_from


def check_device(device: str) -> None:
    """Raises Mistake where there is none."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise Mistake("--device cuda needs a GPU that torch can use, and there is none")
