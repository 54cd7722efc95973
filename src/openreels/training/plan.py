"""The whole life of a model's weights: codecs, text encoder, the stages of the transformer, reader and planner of
layouts, and the decoder once more.

Everything lives in one work folder and each part is skipped once it is done, so the same call starts a run, goes on
with an interrupted one, and extends a finished one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing

from openreels.codecs.audio import PocketAudioCodec
from openreels.codecs.video import PocketVideoVAE, VideoCodec
from openreels.encoders.text import TextEncoder
from openreels.media.folders import new_folder, replaced_folder
from openreels.models.layout import shared_weights
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.training.audio_codec import train_audio_codec
from openreels.training.briefs import train_brief
from openreels.training.checkpoint import load_checkpoint
from openreels.training.decoder import train_decoder
from openreels.training.latents import Bucket, Codecs, LatentSet, build_shard, shard_path
from openreels.training.loop import Interrupted, LoopConfig, run
from openreels.training.monitor import plot_losses, sample_sheet
from openreels.training.planner import train_planner
from openreels.training.reader import train_reader
from openreels.training.stages import Stage, StageTask, part_of
from openreels.training.text_encoder import train_text_encoder, trained_heads
from openreels.training.video_codec import train_video_codec
from openreels.world import keep_freed_memory

__all__ = [
    "TrainingPlan",
    "begin_from",
    "furthest",
    "leave_with_parent",
    "load_components",
    "load_parts",
    "load_text",
    "train",
]

START = "start"  # folder of a transformer trained elsewhere


@dataclass(frozen=True)
class TrainingPlan:
    """transformer: called with (video channels, audio channels, text width). *_share: parts of a run's minutes; None of
    brief, reader, planner and decoder where the transformer is not told layouts. planned: row of the task table -> how
    often the planner learns from its cases, against the others; 1 where nothing is said."""

    name: str
    transformer: Callable[[int, int, int], SkyReelsV4Transformer]
    codec_minutes_share: float
    text_minutes_share: float
    brief_minutes_share: float | None
    reader_minutes_share: float | None
    planner_minutes_share: float | None
    decoder_minutes_share: float | None
    stages: tuple[Stage, ...]
    planned: Mapping[str, float] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything `train` can be asked to do, in order."""
        before, after = ((stage.name for stage in stages) for stages in self.around_brief)
        brief = () if self.brief_minutes_share is None else ("brief",)
        told = {
            "reader": self.reader_minutes_share,
            "planner": self.planner_minutes_share,
            "decoder": self.decoder_minutes_share,
        }
        of_layouts = (name for name, share in told.items() if share is not None)
        return ("video_codec", "audio_codec", "text_encoder", "latents", *before, *brief, *after, *of_layouts)

    @property
    def pictures(self) -> dict[Bucket, float]:
        """Kinds of clips and cases with something to see, and how often the last stage draws them."""
        return {share.bucket: share.weight for share in self.stages[-1].shares if "video" in share.bucket.streams}

    @property
    def plain(self) -> dict[Bucket, float]:
        """Kinds of plain clips, and how often the last stage draws them."""
        return {share.bucket: share.weight for share in self.stages[-1].shares if share.bucket.row is None}

    @property
    def around_brief(self) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
        """The stages up to the last one that changes the text encoder, and those after it."""
        count = 1 + max((n for n, stage in enumerate(self.stages) if "text" in stage.learns), default=-1)
        return self.stages[:count], self.stages[count:]

    def latest(self, workdir: Path) -> str:
        """The furthest stage that has been trained in `workdir`; the very last where none has."""
        trained = [stage.name for stage in self.stages if (workdir / f"{stage.name}.pt").exists()]
        return trained[-1] if trained else self.stages[-1].name


@dataclass(frozen=True)
class Run:
    """A plan at work. minutes: part -> its wall-clock budget. The rest: see `train`."""

    plan: TrainingPlan
    workdir: Path
    minutes: Mapping[str, float | None]
    steps: int | None
    seed: int
    device: str
    workers: int


def train(
    plan: TrainingPlan,
    workdir: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    part: str | None = None,
    processes: int = 1,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 0,
) -> None:
    """Run the plan (or one part of it) in `workdir`, going on from whatever is there.

    minutes: wall-clock budget, divided among the parts by their shares, or all for `part`; it sets a stage's length
    once, at its start. steps: the length of each stage instead; a larger number extends a finished stage.
    processes: gradients are averaged over as many; on a CPU each gets its share of the cores.
    workers: further processes that build latents and draw batches ahead, for a GPU that would wait for them.
    Raises ValueError for an unknown part, training.loop.Interrupted where the budget ends within a part.
    """
    if part is not None and part not in plan.parts:
        raise ValueError(f"{plan.name} has no part {part!r}; its parts are {', '.join(plan.parts)}")
    if minutes is None and steps is None:
        raise ValueError("training needs a budget: minutes or steps")
    keep_freed_memory()
    if workers:
        # Each worker has one core: the tokenizer must not spread over all of them.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    wanted = tuple(name for name in plan.parts if part in (None, name))
    shares = {
        "video_codec": plan.codec_minutes_share * 0.6,
        "audio_codec": plan.codec_minutes_share * 0.4,
        "text_encoder": plan.text_minutes_share,
        **{stage.name: stage.minutes_share for stage in plan.stages},
        "brief": plan.brief_minutes_share or 0.0,
        "reader": plan.reader_minutes_share or 0.0,
        "planner": plan.planner_minutes_share or 0.0,
        "decoder": plan.decoder_minutes_share or 0.0,
    }
    budget = {name: minutes and minutes * (1.0 if part else share) for name, share in shares.items()}
    started = Run(plan, workdir, budget, steps, seed, device, workers)

    # A codec asked for by name goes on training; in a whole run, what is finished stays.
    if "video_codec" in wanted and (part or not (workdir / "video_vae").exists()):
        train_video_codec(workdir, minutes=budget["video_codec"], steps=steps, seed=seed, device=device)
    if "audio_codec" in wanted and (part or not (workdir / "vocoder").exists()):
        minutes_or_so = budget["audio_codec"] or steps / 60
        train_audio_codec(workdir, minutes=minutes_or_so, seed=seed, device=device, go_on=bool(part), steps=steps)
    if "text_encoder" in wanted and (part or not (workdir / "text_encoder").exists()):
        train_text_encoder(workdir, minutes=budget["text_encoder"], steps=steps, seed=seed, device=device)
    if "latents" in wanted:
        codecs, _ = load_components(workdir)
        load_latents(plan.stages, workdir, codecs, seed, workers)

    loop = {
        name: LoopConfig(workdir, seed, steps, share, device=device, workers=workers) for name, share in budget.items()
    }
    # The brief reads the text encoder as it will be: those stages come after it that change the text no more.
    before, after = plan.around_brief
    if stages := tuple(stage for stage in before if stage.name in wanted):
        train_all(started, stages, processes)
    if "brief" in wanted and (part or not (workdir / "brief").exists()):
        _, encoder = load_components(workdir)
        load_text(encoder, [stage.name for stage in before], workdir)
        train_brief(encoder, loop["brief"])
        plot_losses(workdir)
    if stages := tuple(stage for stage in after if stage.name in wanted):
        train_all(started, stages, processes)
    if "reader" in wanted:
        codecs, _ = load_components(workdir)
        latents = load_latents(plan.stages[-1:], workdir, codecs, seed, workers)
        train_reader(codecs, latents, plan.pictures, loop["reader"])
        plot_losses(workdir)
    if "planner" in wanted:
        codecs, encoder = load_components(workdir)
        load_text(encoder, [plan.latest(workdir)], workdir)
        train_planner(codecs.video, encoder, plan.plain, plan.planned, loop["planner"])
        plot_losses(workdir)
    if "decoder" in wanted:
        codecs, encoder = load_components(workdir)
        model = furthest(plan, workdir, codecs, encoder)
        square = {bucket: weight for bucket, weight in plan.plain.items() if bucket.aspect == "1:1"}
        stage = replace(plan.stages[-1], shares=[share for share in plan.stages[-1].shares if share.bucket in square])
        latents = load_latents([stage], workdir, codecs, seed, workers)
        train_decoder(codecs.video, model, encoder, latents, square, loop["decoder"])
        plot_losses(workdir)


def train_all(started: Run, stages: Sequence[Stage], processes: int) -> None:
    """The transformer's stages, in so many processes."""
    workdir = started.workdir
    if processes == 1:
        train_stages(started, stages)
    else:
        threads = max(1, torch.get_num_threads() // processes)
        for left in workdir.glob(".rendezvous-*"):  # of a run that was killed: its processes' addresses are dead
            left.unlink()
        store = f"file://{(workdir / f'.rendezvous-{secrets.token_hex(8)}').absolute()}"
        stopped = multiprocessing.get_context("spawn").SimpleQueue()
        try:
            multiprocessing.spawn(_worker, (processes, threads, store, stopped, started, stages), nprocs=processes)
        finally:
            Path(store.removeprefix("file://")).unlink(missing_ok=True)
        if not stopped.empty():
            raise Interrupted(stopped.get())


def _worker(
    rank: int,
    world_size: int,
    threads: int,
    store: str,
    stopped: multiprocessing.SimpleQueue,
    started: Run,
    stages: Sequence[Stage],
) -> None:
    """One process of a training; tells through `stopped` that the budget ended first."""
    threading.Thread(target=leave_with_parent, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(threads)
    keep_freed_memory()
    backend = "gloo"
    if started.device == "cuda":
        backend = "nccl"
        torch.cuda.set_device(rank)
    dist.init_process_group(backend, init_method=store, rank=rank, world_size=world_size)
    try:
        train_stages(started, stages)
    except Interrupted as stop:
        if rank == 0:
            stopped.put(str(stop))
    finally:
        dist.destroy_process_group()


def leave_with_parent(parent: int) -> None:
    """End this process when its parent was killed: an orphan would go on writing checkpoints under the next run."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def train_stages(started: Run, stages: Sequence[Stage]) -> None:
    """The transformer's stages one after another; runs in every process alike."""
    plan, workdir, seed, device = started.plan, started.workdir, started.seed, started.device
    codecs, encoder = load_components(workdir)
    encoder.model.to(device)
    for stage in stages:
        latents = load_latents([stage], workdir, codecs, seed, started.workers)
        torch.manual_seed(seed)
        model = plan.transformer(codecs.video.vae.config.latent_channels, codecs.audio.latent_channels, encoder.width)
        load_parts(model, stage, workdir)
        load_text(encoder, stage.starts_from.values(), workdir)
        if "text" in stage.learns:
            encoder.brief = None  # it has learnt to read another one
        heads = trained_heads(workdir, encoder.width).to(device) if stage.reads else None
        config = LoopConfig(
            workdir,
            seed,
            started.steps,
            started.minutes[stage.name],
            decay=stage.decay,
            device=device,
            workers=started.workers,
        )
        run(StageTask(stage, model.to(device), encoder, latents, heads), config)
        if not dist.is_initialized() or dist.get_rank() == 0:
            if "text" in stage.learns:
                with replaced_folder(workdir / "text_encoder") as part:
                    encoder.model.save_pretrained(part)
            plot_losses(workdir)
            sample_sheet(workdir / f"{stage.name}.png", stage, model, encoder, codecs, latents)


def load_components(workdir: Path) -> tuple[Codecs, TextEncoder]:
    """The frozen parts in `workdir`."""
    vae = PocketVideoVAE.from_pretrained(workdir / "video_vae").eval()
    codecs = Codecs(VideoCodec(vae), PocketAudioCodec.from_pretrained(workdir))
    return codecs, TextEncoder.from_pretrained(workdir)


def load_latents(
    stages: Sequence[Stage], workdir: Path, codecs: Codecs, seed: int, workers: int = 0
) -> dict[Bucket, LatentSet]:
    """Every latent set the stages draw from, built where missing; all processes divide that work among them."""
    folder = workdir / "latents"
    shards = {share.bucket: share.shards for stage in stages for share in stage.shares}
    wanted: dict[Bucket, set[str]] = {bucket: set() for bucket in shards}
    for stage in stages:
        for share in stage.shares:
            wanted[share.bucket] |= {"cases"} if share.bucket.row is not None else set(stage.streams_of(share))
    streams = {bucket: sorted(names) for bucket, names in wanted.items()}
    work = [(name, bucket, number) for bucket in shards for name in streams[bucket] for number in range(shards[bucket])]
    missing = [job for job in work if not shard_path(folder, *job, codecs, seed).exists()]
    mine = missing[dist.get_rank() :: dist.get_world_size()] if dist.is_initialized() else missing
    if workers > 1 and mine:
        multiprocessing.spawn(_build_latents, (workers, workdir, mine, seed), nprocs=workers)
    else:
        build_latents(folder, mine, codecs, seed)
    if dist.is_initialized():
        dist.barrier()
    return {bucket: LatentSet(folder, streams[bucket], bucket, shards[bucket], codecs, seed) for bucket in shards}


def build_latents(folder: Path, work: Sequence[tuple[str, Bucket, int]], codecs: Codecs, seed: int) -> None:
    """Shards (stream, bucket, number), with a line of progress now and then."""
    for done, (stream, bucket, number) in enumerate(work, 1):
        build_shard(folder, stream, bucket, number, codecs, seed)
        if done % 8 == 0 or done == len(work):
            print(f"latents: {done} of {len(work)} shards, {stream} {bucket.name}", flush=True)


def _build_latents(
    worker: int, workers: int, workdir: Path, work: Sequence[tuple[str, Bucket, int]], seed: int
) -> None:
    """One of several processes that build latents, each on one core."""
    torch.set_num_threads(1)
    keep_freed_memory()
    codecs, _ = load_components(workdir)
    build_latents(workdir / "latents", work[worker::workers], codecs, seed)


def load_parts(model: SkyReelsV4Transformer, stage: Stage, workdir: Path) -> None:
    """Start each part of the model from the averaged weights of the stage it comes from.

    A part that no stage trained here hands over starts from the model that `begin_from` brought, if there is one.
    Of a model without a layout embedding, that starts as nothing. Raises FileNotFoundError where a stage is neither
    trained nor replaced by such a model, ValueError where a model is of other sizes.
    """
    parameters = dict(model.named_parameters())
    brought = workdir / START
    if brought.is_dir():
        start = SkyReelsV4Transformer.from_pretrained(brought)
        theirs = dict(start.named_parameters())
        for name in shared_weights(*({n: p.shape for n, p in each.items()} for each in (theirs, parameters))):
            parameters[name].data.copy_(theirs[name])
    for source in sorted(set(stage.starts_from.values())):
        state = load_checkpoint(workdir / f"{source}.pt")
        if state is None:
            if brought.is_dir():
                continue
            raise FileNotFoundError(f"stage {stage.name} starts from {source}, which has not been trained in {workdir}")
        parts = {part for part, name in stage.starts_from.items() if name == source}
        for key, value in state["ema"].items():
            name = key.removeprefix("transformer.")
            if key != name and part_of(name) in parts:
                parameters[name].data.copy_(value)


def furthest(plan: TrainingPlan, workdir: Path, codecs: Codecs, encoder: TextEncoder) -> SkyReelsV4Transformer:
    """The transformer, and the text encoder that goes with it, as the furthest stage left them."""
    model = plan.transformer(codecs.video.vae.config.latent_channels, codecs.audio.latent_channels, encoder.width)
    last = plan.latest(workdir)
    own = ("video", "audio", "cross", "sketch")
    load_parts(model, replace(plan.stages[-1], starts_from=dict.fromkeys(own, last)), workdir)
    load_text(encoder, [last], workdir)
    return model


def load_text(encoder: TextEncoder, stages: Iterable[str], workdir: Path) -> None:
    """The averaged weights of the text encoder, where one of the stages has finished it together with the pictures: the
    transformer of a stage that is not over yet goes with its own."""
    for stage in sorted(set(stages)):
        state = load_checkpoint(workdir / f"{stage}.pt")
        for key, value in state["ema"].items() if state is not None else ():
            if key.startswith("encoder."):
                encoder.model.get_parameter(key.removeprefix("encoder.")).data.copy_(value)


def begin_from(folder: Path, workdir: Path) -> None:
    """Prepare `workdir` to go on from exported weights: frozen parts, and the transformer as any stage's start.

    Raises FileNotFoundError where `folder` is no exported model.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    for name in ("video_vae", "audio_vae", "vocoder", "text_encoder", "tokenizer"):
        _bring(folder / name, workdir / name)
    for name in ("brief", "reader", "planner"):
        if (folder / name).is_dir():
            _bring(folder / name, workdir / name)
    _bring(folder / "transformer", workdir / START)


def _bring(source: Path, target: Path) -> None:
    if not target.exists():
        with new_folder(target) as part:
            shutil.copytree(source, part, dirs_exist_ok=True)
