"""Training of the V4 transformer on any number of processes, with the same result on each number.

A step's samples are a function of the step (`Source`), divided into micro-batches that the data ranks take in turn;
losses are summed over all of them and divided by the number of clips of the whole step. So a step is the same, up to
rounding, on one process that takes its micro-batches one after another and on many that take one each; a checkpoint
of one number of processes goes on with another.

Legend: B batch, N tokens, C channels.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.tensor import DTensor

from openreels.models.context_parallel import ContextParallel
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.training.loop import Interrupted, LoopConfig, Meter, forget_after, step_generator
from openreels.training.sharded.checkpoints import Checkpoints
from openreels.training.sharded.ema import ShardedEma
from openreels.training.sharded.layout import Layout, first_says
from openreels.training.sharded.samples import Batch, Source, Times, UniformTimes, collate
from openreels.training.stages import OnPath

__all__ = ["ShardedTrainer", "TrainerConfig", "video_listens"]


@dataclass(frozen=True)
class TrainerConfig:
    """How a model is trained.

    workdir, name: checkpoints go to `workdir/name/`, the log to `workdir/name.jsonl`. seed: of data, times, noise.
    steps: length; the learning rate rises over `warmup_steps`, stays, and falls (cosine, to 1%) over `decay_steps`.
    minutes: wall-clock budget of one call. batch: clips of a step, over all processes. micro_batch: clips a forward
    pass takes.
    learns: parts with gradients ("video", "audio", "cross"); weights: stream -> weight of its loss.
    cross_dropout: share of samples whose streams do not see each other. clip: largest norm of the whole gradient.
    checkpoint_steps, checkpoint_minutes: whichever comes first. background_saving: see `Checkpoints`.
    """

    workdir: Path
    name: str
    steps: int
    batch: int
    micro_batch: int
    learning_rate: float
    seed: int = 0
    minutes: float | None = None
    learns: tuple[str, ...] = ("video", "audio", "cross")
    weights: Mapping[str, float] = field(default_factory=lambda: {"video": 1.0, "audio": 1.0})
    times: Times = field(default_factory=UniformTimes)
    cross_dropout: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    warmup_steps: int = 0
    decay_steps: int = 0
    clip: float = 1.0
    ema_decay: float = 0.999
    checkpoint_steps: int = 1000
    checkpoint_minutes: float = 30.0
    background_saving: bool = False
    keep: int = 2
    log_every: int = 10
    device: str = "cpu"

    def __post_init__(self):
        if self.micro_batch < 1 or self.batch % self.micro_batch:
            raise ValueError(f"batch must be a multiple of micro_batch, {self.micro_batch}, not {self.batch}")
        unknown = {*self.learns} - {"video", "audio", "cross"}
        if unknown or not self.learns:
            raise ValueError(f"learns must name some of video, audio, cross, not {', '.join(unknown) or 'nothing'}")
        if any(weight < 0 for weight in self.weights.values()) or {*self.weights} != {"video", "audio"}:
            raise ValueError(f"weights need a number >= 0 for video and for audio, not {dict(self.weights)}")

    @property
    def micro_batches(self) -> int:
        """Of one step, over all processes."""
        return self.batch // self.micro_batch

    def check_ranks(self, data_ranks: int) -> None:
        """Raises ValueError where so many data ranks do not divide the micro-batches of a step."""
        if self.micro_batches % data_ranks:
            raise ValueError(
                f"{self.name}: a step of {self.micro_batches} micro-batches ({self.batch} clips, {self.micro_batch} at "
                f"a time) cannot be divided among {data_ranks} data ranks"
            )


def video_listens(learns: tuple[str, ...]) -> bool:
    """Whether video attends to audio: not where the audio tower learns to follow a frozen video tower."""
    return "video" in learns or "audio" not in learns


class ShardedTrainer:
    """Trains a sharded model (`sharding.shard`) on a source; call `run()` once.

    Raises ValueError where the data ranks do not divide the micro-batches of a step.
    """

    def __init__(self, model: SkyReelsV4Transformer, source: Source, config: TrainerConfig, layout: Layout):
        config.check_ranks(layout.data_ranks)
        self.model, self.source, self.config, self.layout = model, source, config, layout
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), config.learning_rate, config.betas, weight_decay=config.weight_decay, foreach=True
        )
        _begin(self.optimizer)
        self.ema = ShardedEma(self.trained, config.ema_decay)
        self.listens = video_listens(config.learns)
        self.folder = config.workdir / config.name
        self.checkpoints = Checkpoints(self.folder, background=config.background_saving, keep=config.keep)
        # Adapters alone are saved where there are some: what they adapt is a file already.
        self.options = StateDictOptions(ignore_frozen_params=hasattr(model, "peft_config"), strict=False)
        self.losses: list[float] = []
        self.step, self.seconds = 0, 0.0
        if layout.context_ranks > 1:
            ContextParallel(model, layout.context_group)

    def run(self) -> list[float]:
        """Train to the end, from the newest checkpoint if there is one; returns the loss of every step made here.

        Raises Interrupted where `minutes` end first, FloatingPointError where the gradient is not finite.
        """
        config, log = self.config, self.config.workdir / f"{self.config.name}.jsonl"
        config.workdir.mkdir(parents=True, exist_ok=True)
        # What one process sees on a shared disk, another may not see yet: all load what the first one names.
        if newest := first_says(self.checkpoints.steps()[-1:]):
            self._load(*newest)
            if self.layout.is_first:
                forget_after(log, self.step)
                print(f"{config.name}: resumed at step {self.step} of {config.steps}", flush=True)
        # The velocities are views of the model's last product; nothing writes to them.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        reports = LoopConfig(config.workdir, log_every=config.log_every)
        meter = Meter(reports, log, config.name, config.batch, self.seconds)
        saved_at, saved_step, over = meter.began, self.step, False
        self.model.train()
        while self.step < config.steps and not over:
            meter.add(self.train_step())
            if self.step % config.log_every == 0 or self.step == config.steps:
                meter.report(self.step, config.steps)
            now = time.monotonic()
            over = config.minutes is not None and now - meter.began > config.minutes * 60
            due = now - saved_at > config.checkpoint_minutes * 60 or self.step - saved_step >= config.checkpoint_steps
            over, due = self._agreed(over, due or over or self.step == config.steps)
            if due:
                self.seconds = meter.elapsed()
                self.checkpoints.save(self.step, self._state())
                saved_at, saved_step = time.monotonic(), self.step
        self.checkpoints.finish()
        if self.step < config.steps:
            raise Interrupted(
                f"{config.name}: {config.minutes:g} minutes are over at step {self.step} of {config.steps}"
            )
        return self.losses

    def train_step(self) -> dict[str, Tensor | float]:
        """One step of the optimizer; returns the numbers of the whole step, over all processes."""
        device = torch.device(self.config.device)
        errors = {name: torch.zeros((), device=device) for name in self.config.weights}
        counts: dict[str, float] = {}
        for number in self._numbers():
            batch = self._drawn(number)
            # All micro-batches of a step have the same streams, so the first one says what is to be counted in all.
            counts = counts or self._counted(batch)
            total = torch.zeros((), device=device)
            for name, error in self._errors(batch.to(device)).items():
                share = error / max(counts[name], 1.0)
                total = total + self.config.weights[name] * share
                errors[name] += share.detach()
            # Gradients are averaged over all processes; the losses of the data ranks are to be summed.
            (total * self.layout.data_ranks).backward()
        norm = nn.utils.clip_grad_norm_(self.trained.values(), self.config.clip)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not torch.isfinite(norm):
            raise FloatingPointError(f"{self.config.name}: loss or gradient is not finite at step {self.step}")
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.ema.update(self.step)
        shown = {name: value for name, value in self._summed(errors).items() if counts[name]}
        loss = sum(self.config.weights[name] * value for name, value in shown.items())
        self.losses.append(loss)
        return {"loss": loss, "norm": norm, **shown}

    def _numbers(self) -> range:
        """The micro-batches of a step that this process's data rank takes."""
        return range(self.layout.data_rank, self.config.micro_batches, self.layout.data_ranks)

    def _drawn(self, number: int) -> Batch:
        samples = self.source.micro_batch(self.step, number)
        return collate(samples, self.config.times, self.config.cross_dropout, self._generators(number))

    def _generators(self, number: int) -> list[torch.Generator]:
        """Of what is drawn for each clip of a micro-batch, its times first."""
        first = self.step * self.config.batch + number * self.config.micro_batch
        name = f"{self.config.name}/path"
        return [step_generator(self.config.seed, name, first + i) for i in range(self.config.micro_batch)]

    def _counted(self, batch: Batch) -> dict[str, float]:
        """Stream -> clips of the whole step of which it is to be generated (t < 1). batch: any one of the step.

        By their times alone, so that no more than one micro-batch is held at a time.
        """
        generators = [generator for number in self._numbers() for generator in self._generators(number)]
        drawn = [dict(zip(("video", "audio"), self.config.times.draw(1, g), strict=True)) for g in generators]
        runs = {name: getattr(batch, name) is not None for name in self.config.weights}
        return self._summed({name: sum(float(t[name] < 1) for t in drawn) if runs[name] else 0.0 for name in runs})

    def _errors(self, batch: Batch) -> dict[str, Tensor]:
        """Stream -> squared error of its velocity, summed over the clips of which it was to be generated."""
        joint = batch.video is not None and batch.audio is not None
        velocities = self.model(
            batch.video.state if batch.video else None,
            batch.audio.state if batch.audio else None,
            batch.context,
            batch.tie_B if joint else None,
            video_listens=self.listens,
        )
        truths = {"video": batch.video if self.listens else None, "audio": batch.audio}
        pairs = zip(truths.items(), velocities, strict=True)
        return {name: summed_error(v, truth) for (name, truth), v in pairs if truth is not None}

    def _summed(self, numbers: Mapping[str, float | Tensor]) -> dict[str, float]:
        """Over the data ranks."""
        values = torch.stack([torch.as_tensor(x, dtype=torch.float32) for x in numbers.values()])
        values = values.to(self.config.device)
        dist.all_reduce(values, group=self.layout.data_group)
        return dict(zip(numbers, values.tolist(), strict=True))

    def _agreed(self, *flags: bool) -> list[bool]:
        """The first process's view: no process may stop or save without the others."""
        box = torch.tensor([float(flag) for flag in flags], device=self.config.device)
        dist.broadcast(box, 0)
        return [bool(flag) for flag in box.tolist()]

    def _rate(self, step: int) -> float:
        """Factor of the learning rate."""
        rise = min(1.0, (step + 1) / max(self.config.warmup_steps, 1))
        left = min(1.0, (self.config.steps - step) / max(self.config.decay_steps, 1))
        return rise * (0.01 + 0.99 * 0.5 * (1 - math.cos(math.pi * left)))

    def _state(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.optimizer, options=self.options)
        progress = {"step": self.step, "seconds": self.seconds}
        return {"model": model, "optimizer": optimizer, "ema": self.ema.average, "progress": progress}

    def _load(self, step: int) -> None:
        state = self._state()
        self.checkpoints.load(step, state)
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=self.options,
        )
        self.step, self.seconds = state["progress"]["step"], state["progress"]["seconds"]


def summed_error(predicted: Tensor, truth: OnPath) -> Tensor:
    """Mean squared error of each clip of which something was to be generated, summed."""
    error_B = (predicted - truth.target_BNC).square().flatten(1).mean(1)
    return (error_B * (truth.state.time_B < 1)).sum()


def _begin(optimizer: torch.optim.Optimizer) -> None:
    """Give every parameter its moments now: checkpoints must hold the same tensors whatever was trained so far."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for state in optimizer.state.values():
        state["step"].zero_()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
