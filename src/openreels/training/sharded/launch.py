"""Phases one after another, on the processes torchrun has started or on processes of our own; what they leave."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import torch
from torch import multiprocessing

from openreels.media.folders import link_tree
from openreels.models.adapters import load_lora, merge_lora
from openreels.models.checkpoint import open_tensors
from openreels.models.layout import shared_weights
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.training.loop import Interrupted
from openreels.training.plan import leave_with_parent
from openreels.training.sharded.checkpoints import Checkpoints
from openreels.training.sharded.layout import Layout, data_ranks, distributed, first_says, started_by_torchrun
from openreels.training.sharded.lora import add_lora, lora_config
from openreels.training.sharded.phases import Phase
from openreels.training.sharded.samples import Source
from openreels.training.sharded.sharding import export_adapter, export_weights, freeze, shard
from openreels.training.sharded.trainer import ShardedTrainer, TrainerConfig, video_listens
from openreels.training.stages import part_of

__all__ = ["Data", "PhasePlan", "PhaseRun", "check", "furthest", "train_phases", "write_trained"]

PARTS = ("video", "audio", "cross")


class Data(Protocol):
    """Where a training takes its clips from; given to other processes by pickle."""

    def sizes(self) -> tuple[int, int, int]: ...

    def lacks(self, phase: Phase) -> Sequence[str]: ...

    def source(self, phase: Phase, workdir: Path, micro_batch: int, seed: int) -> Source: ...


@dataclass(frozen=True)
class PhasePlan:
    """What is trained, on what. transformer: arguments of `SkyReelsV4Transformer`. data: None is enough to export."""

    phases: tuple[Phase, ...]
    transformer: Mapping[str, object]
    data: Data | None

    def chosen(self, name: str | None) -> tuple[Phase, ...]:
        """The one of that name; None: all. Raises ValueError where there is none."""
        return (self.phase(name),) if name else self.phases

    def phase(self, name: str) -> Phase:
        """Raises ValueError where there is none of that name."""
        found = [phase for phase in self.phases if phase.name == name]
        if not found:
            raise ValueError(f"there is no phase {name!r}; the phases are {', '.join(p.name for p in self.phases)}")
        return found[0]


@dataclass(frozen=True)
class PhaseRun:
    """How a plan is run.

    part: one phase alone. steps, batch: instead of the phases' own. micro_batch: clips of one forward pass.
    minutes: wall-clock budget of this call. context: processes that share one clip.
    start_from: a transformer's folder that every part begins with, unless a phase trained in `workdir` hands one over.
    lora_rank: train adapters of that rank instead of weights. learns: of the parts a phase learns, these alone, from
    the tasks that teach them. audio_weight: of the audio loss, against 1 for video.
    Raises ValueError where learns names anything else than parts.
    """

    workdir: Path
    part: str | None = None
    steps: int | None = None
    minutes: float | None = None
    batch: int | None = None
    micro_batch: int = 1
    seed: int = 0
    device: str = "cpu"
    context: int = 1
    start_from: Path | None = None
    lora_rank: int | None = None
    learns: tuple[str, ...] | None = None
    audio_weight: float = 1.0

    def __post_init__(self):
        if wrong := [repr(part) for part in self.learns or () if part not in PARTS]:
            raise ValueError(f"learns must name some of {', '.join(PARTS)}, not {', '.join(wrong)}")

    def narrowed(self, phase: Phase) -> Phase:
        """The phase with `learns` alone. Raises ValueError where it learns none of them."""
        return phase if self.learns is None else phase.learning(self.learns)


def train_phases(plan: PhasePlan, run: PhaseRun, processes: int = 1) -> None:
    """Train, going on from whatever is in the work folder; weights end in `<workdir>/<phase>-weights`.

    Under torchrun, `processes` is what torchrun says. Raises ValueError and FileNotFoundError before anything is
    loaded where the plan cannot be run, training.loop.Interrupted where the minutes end first.
    """
    check(plan, run, processes)
    if started_by_torchrun():
        with distributed(run.device):
            _train(plan, run)
        return
    run.workdir.mkdir(parents=True, exist_ok=True)
    stopped = multiprocessing.get_context("spawn").SimpleQueue()
    # A place of its own: what a killed run has left must not be found by the next one, nor by another phase that is
    # trained in the same work folder at the same time.
    with TemporaryDirectory(prefix="openreels-") as folder:
        meet = f"file://{folder}/rendezvous"
        if processes == 1:
            with distributed(run.device, rank=0, processes=1, store=meet):
                _train(plan, run)
        else:
            threads = max(1, torch.get_num_threads() // processes)
            multiprocessing.spawn(_worker, (processes, threads, meet, stopped, plan, run), nprocs=processes)
    if not stopped.empty():
        raise Interrupted(stopped.get())


def check(plan: PhasePlan, run: PhaseRun, processes: int = 1) -> None:
    """Raises ValueError, FileNotFoundError. processes: as of `train_phases`."""
    if run.steps is None and run.minutes is None:
        raise ValueError("training needs a budget: steps or minutes")
    phases = plan.chosen(run.part)
    wanted = tuple(plan.transformer[name] for name in ("video_channels", "audio_channels", "text_dim"))
    if (found := plan.data.sizes()) != wanted:
        names = "channels of video latents, of audio latents, width of the context"
        raise ValueError(f"the data do not fit the model: {names} are {found}, and the model needs {wanted}")
    _check_start(run)
    ranks = data_ranks(int(os.environ["WORLD_SIZE"]) if started_by_torchrun() else processes, run.context)
    for phase in map(run.narrowed, phases):
        settings_of(run, phase).check_ranks(ranks)
        if len(lacking := plan.data.lacks(phase)) == len(phase.shares):
            raise ValueError(f"phase {phase.name} has nothing to train on: there are no clips for {', '.join(lacking)}")
    if run.start_from is None and run.part:
        for source in {*phases[0].chosen.starts_from.values()}:
            if not weights_of(run.workdir, source).is_dir():
                raise FileNotFoundError(
                    f"phase {run.part} starts from {source}, which is not trained in {run.workdir}; "
                    "train it, or give weights to start from"
                )


def _check_start(run: PhaseRun) -> None:
    if run.start_from is not None and not (transformer_in(run.start_from) / "config.json").is_file():
        raise ValueError(f"weights to start from must be a folder with a transformer, not {str(run.start_from)!r}")


def weights_of(workdir: Path, phase: str) -> Path:
    return workdir / f"{phase}-weights"


def adapter_of(workdir: Path, phase: str) -> Path:
    return workdir / f"{phase}-adapter"


def left_by(run: PhaseRun, phase: str) -> Path:
    """What a phase leaves in the work folder: its weights, or its adapter."""
    return (weights_of if run.lora_rank is None else adapter_of)(run.workdir, phase)


def transformer_in(folder: Path) -> Path:
    """Of a whole pipeline's folder, or of the transformer alone."""
    return folder / "transformer" if (folder / "transformer").is_dir() else folder


def _worker(rank: int, processes: int, threads: int, store: str, stopped, plan: PhasePlan, run: PhaseRun) -> None:
    """One process of a training; tells through `stopped` that the budget ended first."""
    threading.Thread(target=leave_with_parent, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(threads)
    with distributed(run.device, rank=rank, processes=processes, store=store):
        try:
            _train(plan, run)
        except Interrupted as stop:
            if rank == 0:
                stopped.put(str(stop))


def _train(plan: PhasePlan, run: PhaseRun) -> None:
    """Runs in every process alike."""
    layout, began = Layout.of(run.device, run.context), time.monotonic()
    for phase in map(run.narrowed, plan.chosen(run.part)):
        # Of a schedule that goes on: what is finished is neither built nor written again.
        if first_says(_is_finished(run, phase)):
            if layout.is_first:
                print(f"{phase.name}: finished already", flush=True)
            continue
        left = None if run.minutes is None else run.minutes - (time.monotonic() - began) / 60
        train_phase(plan, replace(run, minutes=left), phase, layout)


def _is_finished(run: PhaseRun, phase: Phase) -> bool:
    """Whether what the phase leaves is there, of as many steps as it is to have."""
    settings = settings_of(run, phase)
    return left_by(run, phase.name).is_dir() and Checkpoints(settings.workdir / settings.name).exported(settings.steps)


def train_phase(plan: PhasePlan, run: PhaseRun, phase: Phase, layout: Layout) -> None:
    """One phase on the processes of `layout`; leaves its averaged weights, or its adapter, in the work folder."""
    settings = settings_of(run, phase)
    adapter = None
    if run.lora_rank is not None:
        with torch.device("meta"):
            adapter = lora_config(SkyReelsV4Transformer(**plan.transformer), run.lora_rank, branches=settings.learns)

    def prepare(model: SkyReelsV4Transformer) -> None:
        if adapter is not None:
            add_lora(model, adapter)
        else:
            freeze(model, settings.learns, video_listens(settings.learns))

    model = shard(
        lambda: started(plan, run, phase),
        layout,
        run.device,
        dtype=torch.bfloat16 if run.device == "cuda" else None,
        prepare=prepare,
    )
    source = plan.data.source(phase, run.workdir, run.micro_batch, run.seed)
    trainer = ShardedTrainer(model, source, settings, layout)
    trainer.run()
    trainer.ema.swap()
    folder = left_by(run, phase.name)
    if adapter is not None:
        export_adapter(model, layout, folder, adapter)
    else:
        export_weights(model, layout, folder, torch.float32)
    trainer.checkpoints.mark_exported(trainer.step)


def settings_of(run: PhaseRun, phase: Phase) -> TrainerConfig:
    """phase: narrowed to what `run` learns. Raises ValueError where its batch does not divide into micro-batches."""
    chosen = phase.chosen
    steps = run.steps or phase.steps
    return TrainerConfig(
        run.workdir,
        phase.name if run.lora_rank is None else f"{phase.name}-lora",
        steps,
        run.batch or chosen.batch,
        run.micro_batch,
        chosen.learning_rate,
        seed=run.seed,
        minutes=run.minutes,
        learns=chosen.learns,
        weights={"video": 1.0, "audio": run.audio_weight},
        times=chosen.times,
        cross_dropout=chosen.cross_dropout,
        weight_decay=chosen.weight_decay,
        warmup_steps=min(chosen.warmup_steps, max(1, steps // 10)),
        ema_decay=chosen.ema_decay,
        device=run.device,
        background_saving=run.device == "cuda",
    )


def started(plan: PhasePlan, run: PhaseRun, phase: Phase) -> SkyReelsV4Transformer:
    """The model as the phase finds it.

    Fresh, or `start_from`; then the parts that phases trained in the work folder hand over.
    Raises ValueError where weights are of another model.
    """
    folder_of = {} if run.start_from is None else dict.fromkeys(PARTS, transformer_in(run.start_from))
    for part, source in phase.chosen.starts_from.items():
        if (folder := weights_of(run.workdir, source)).is_dir():
            folder_of[part] = folder
    if {*PARTS} <= folder_of.keys():  # nothing is fresh: the largest models are drawn for minutes
        with torch.device("meta"):
            model = SkyReelsV4Transformer(**plan.transformer)
        model = model.to_empty(device="cpu")
    else:
        torch.manual_seed(run.seed)
        model = SkyReelsV4Transformer(**plan.transformer)
    for folder in {*folder_of.values()}:
        _copy(model, folder, tuple(part for part, theirs in folder_of.items() if theirs == folder))
    return model


def _copy(model: SkyReelsV4Transformer, folder: Path, parts: tuple[str, ...]) -> None:
    """Parts of the weights in a folder into the model, one tensor in memory at a time."""
    theirs, ours = open_tensors(folder), dict(model.named_parameters())
    try:
        names = shared_weights(theirs.shapes, {name: parameter.shape for name, parameter in ours.items()})
    except ValueError as error:
        raise ValueError(f"the weights in {folder} are of another model than the one to be trained: {error}") from error
    if lacking := [name for name in ours if name not in names and part_of(name) in parts]:
        raise ValueError(f"the weights in {folder} lack {lacking[0]} and {len(lacking) - 1} others of the model")
    for name in names:
        if part_of(name) in parts:
            ours[name].data.copy_(theirs.tensor(name, torch.device("cpu")))


def furthest(plan: PhasePlan, run: PhaseRun) -> dict[str, str]:
    """Part -> the last phase that has trained it in the work folder, `run.part` at most.

    Of a LoRA run all that the last phase learns: an adapter goes onto what its run started from, not onto another one.
    Raises ValueError for a start that is no model, FileNotFoundError where nothing is trained.
    """
    _check_start(run)
    until = plan.phases.index(plan.phase(run.part)) + 1 if run.part else len(plan.phases)
    finished = [phase for phase in plan.phases[:until] if left_by(run, phase.name).is_dir()]
    if not finished or run.part not in (None, finished[-1].name):
        what = "weights" if run.lora_rank is None else "adapter"
        raise FileNotFoundError(f"there is nothing to export: {run.workdir} holds no {what} of {run.part or 'a phase'}")
    if run.lora_rank is not None:
        finished = finished[-1:]
    return {part: phase.name for phase in finished for part in phase.chosen.learns}


def write_trained(plan: PhasePlan, run: PhaseRun, folder: Path) -> None:
    """The transformer of `furthest` as a diffusers folder: averaged weights, or the adapter merged into its start."""
    parts = furthest(plan, run)
    if run.lora_rank is not None:
        (phase,) = {*parts.values()}
        model = started(plan, run, plan.phase(phase))
        load_lora(model, adapter_of(run.workdir, phase))
        merge_lora(model)
        model.save_pretrained(folder, max_shard_size="5GB")
    elif len({*parts.values()}) == 1:
        link_tree(weights_of(run.workdir, parts.popitem()[1]), folder)
    else:
        # Towers that no joint phase has put together yet. What neither has trained is alike in both.
        (_, first), *others = parts.items()
        model = SkyReelsV4Transformer.from_pretrained(weights_of(run.workdir, first))
        for part, phase in others:
            _copy(model, weights_of(run.workdir, phase), (part,))
        model.save_pretrained(folder, max_shard_size="5GB")
