"""One training loop for everything this package trains: codecs, text encoder, and each stage of the V4 transformer.

A `Task` knows its modules, its optimizers, what step number n works on and its loss; the loop knows time, checkpoints,
learning-rate schedule, averaging over processes, EMA, logs and pictures. Every random draw of step n comes from a
generator seeded with (seed, stage, n, rank), so the only state to save is weights, optimizer, EMA and the step: a run
killed at any moment and started again is bit-identical to one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from openreels.training.checkpoint import load_checkpoint, save_checkpoint

__all__ = ["Interrupted", "LoopConfig", "Task", "run", "step_generator"]

CALIBRATION_STEPS = 12  # steps timed before a run with a wall-clock budget fixes its length


class Interrupted(RuntimeError):
    """The wall-clock budget ended before the stage did; the checkpoint holds everything, run again to go on."""


class Task(Protocol):
    """What a stage of training must offer to the loop."""

    name: str
    modules: Mapping[str, nn.Module]
    optimizers: list[torch.optim.Optimizer]

    def draw(self, step: int, generator: torch.Generator) -> Any:
        """What the step works on, on the CPU. All randomness of the step must come from `generator`.

        Where `LoopConfig.workers` are given this runs ahead of time in other processes, so it must depend on its
        arguments alone. By default nothing is drawn before `loss` does so itself.
        """
        return step, generator

    def loss(self, drawn: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Loss to minimise, and numbers to log, for what was drawn."""
        ...

    @property
    def samples_per_step(self) -> int: ...


@dataclass
class LoopConfig:
    """How long, how fast, how often.

    steps: length of the stage; None = as many as fit into `minutes` (measured over the first steps, then fixed).
    warmup, decay: shares of the steps over which the learning rate rises from and falls to zero.
    workers: processes that draw ahead, for a device so fast that it would wait for captions and noise; 0 = none.
    """

    workdir: Path
    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    warmup: float = 0.02
    decay: float = 0.4
    ema_decay: float = 0.995
    clip: float | None = 1.0
    checkpoint_minutes: float = 2.0
    log_every: int = 20
    device: str = "cpu"
    workers: int = 0
    on_log: Callable[[str], None] = field(default=lambda line: print(line, flush=True))


def step_generator(seed: int, name: str, step: int, rank: int = 0) -> torch.Generator:
    """Generator whose stream is a function of its arguments alone; on the CPU, so that every device sees one stream."""
    # torch's CPU generator keeps 32 bits of a seed and drops the rest: all of them must count.
    start = crc32(f"{seed}/{name}/{rank}".encode())
    return torch.Generator().manual_seed((start + step) % 2**32)


def learning_rate_factor(step: int, steps: int, warmup: float, decay: float) -> float:
    """Trapezoid with a cosine fall: 0 -> 1 over `warmup`, 1, then to 0.01 over the last `decay` share of the steps."""
    rise = min(1.0, (step + 1) / max(1.0, warmup * steps))
    left = (steps - step) / max(1.0, decay * steps)
    fall = 1.0 if left >= 1 else 0.01 + 0.99 * 0.5 * (1 - math.cos(math.pi * max(left, 0.0)))
    return rise * fall


class _Draws(Dataset):
    """Step number -> what it works on."""

    def __init__(self, task: Task, seed: int):
        self.task, self.seed, self.rank = task, seed, rank()

    def __getitem__(self, step: int) -> Any:
        return self.task.draw(step, step_generator(self.seed, self.task.name, step, self.rank))


def draw_ahead(task: Task, config: LoopConfig, first: int) -> Iterator[Any]:
    """What each step from `first` on works on, without end."""
    draws = _Draws(task, config.seed)
    if config.workers == 0:
        return (draws[step] for step in count(first))
    # Forked workers see the latents without copying them; they touch nothing on the device.
    loader = DataLoader(
        draws, batch_size=None, sampler=count(first), num_workers=config.workers, multiprocessing_context="fork"
    )
    return iter(loader)


class Ema:
    """Exponential moving average of weights, with the usual short memory at the start."""

    def __init__(self, modules: Mapping[str, nn.Module], decay: float):
        self.decay = decay
        self.live = {f"{name}.{key}": p for name, m in modules.items() for key, p in m.named_parameters()}
        self.average = {key: p.detach().clone() for key, p in self.live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.live.values()], 1 - decay)

    @torch.no_grad()
    def copy_to_modules(self) -> None:
        for key, parameter in self.live.items():
            parameter.copy_(self.average[key])


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Mean of the gradients over processes, in one flat message (small models: latency counts, not bandwidth)."""
    with_grad = [p for p in parameters if p.grad is not None]
    flat = torch.cat([p.grad.reshape(-1) for p in with_grad])
    dist.all_reduce(flat)
    flat /= world_size()
    for p, part in zip(with_grad, flat.split([p.numel() for p in with_grad]), strict=True):
        p.grad.copy_(part.view_as(p))


def _state(task: Task, ema: Ema, step: int, steps: int | None, seconds: float) -> dict:
    return {
        "step": step,
        "steps": steps,
        "seconds": seconds,
        "modules": {name: m.state_dict() for name, m in task.modules.items()},
        "optimizers": [o.state_dict() for o in task.optimizers],
        "ema": ema.average,
    }


def run(task: Task, config: LoopConfig) -> dict[str, float]:
    """Train `task` to its end and leave the EMA weights in its modules.

    Resumes from `<workdir>/<task.name>.pt` if present. Returns the last logged numbers.
    Raises Interrupted where `minutes` end first (only possible if `steps` is given too or the calibration was off),
    FloatingPointError where the loss is not finite.
    """
    path = config.workdir / f"{task.name}.pt"
    log_path = config.workdir / f"{task.name}.jsonl"
    config.workdir.mkdir(parents=True, exist_ok=True)
    ema = Ema(task.modules, config.ema_decay)
    parameters = [p for m in task.modules.values() for p in m.parameters() if p.requires_grad]
    for optimizer in task.optimizers:
        for group in optimizer.param_groups:
            group.setdefault("base_lr", group["lr"])
    step, steps, spent = 0, config.steps, 0.0
    if (state := load_checkpoint(path)) is not None:
        step, steps, spent = state["step"], config.steps or state["steps"], state["seconds"]
        for name, module in task.modules.items():
            module.load_state_dict(state["modules"][name])
        for optimizer, saved in zip(task.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for key, value in state["ema"].items():
            ema.average[key].copy_(value)
        if rank() == 0:
            forget_after(log_path, step)
        config.on_log(f"{task.name}: resumed at step {step}" + (f" of {steps}" if steps else ""))
    del state  # a second copy of everything

    meter = Meter(config, log_path, task.name, task.samples_per_step * world_size(), spent)
    calibration = Calibration(config.minutes)
    saved_at = meter.began
    drawn = draw_ahead(task, config, step)
    while steps is None or step < steps:
        if steps is None:
            steps = calibration.steps(step)
        factor = learning_rate_factor(step, steps, config.warmup, config.decay) if steps else (step + 1) / 50
        loss, logged = task.loss(next(drawn))
        loss.backward()
        if world_size() > 1:
            average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, config.clip or math.inf)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"{task.name}: loss or gradient is not finite at step {step}")
        for optimizer in task.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * min(factor, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        ema.update(step)
        meter.add({"loss": loss.detach(), "norm": norm, **logged})

        if step % config.log_every == 0 or step == steps:
            meter.report(step, steps)
        now = time.monotonic()
        # `minutes` bounds a stage whose length is known only if it was given as well (else it has set the length).
        over = _agree(int(bool(config.steps and config.minutes and now - meter.began > config.minutes * 60)))
        if now - saved_at > config.checkpoint_minutes * 60 or step == steps or over:
            if rank() == 0:
                save_checkpoint(path, _state(task, ema, step, steps, meter.elapsed()))
            saved_at = now
        if over and step != steps:
            raise Interrupted(f"{task.name}: {config.minutes:g} minutes are over at step {step} of {steps}")
    ema.copy_to_modules()
    return meter.latest


def forget_after(log: Path, step: int) -> None:
    """Drop the rows of steps that will be done again."""
    if log.exists():
        kept = [row for row in log.read_text().splitlines(keepends=True) if json.loads(row)["step"] <= step]
        log.write_text("".join(kept))


class Calibration:
    """Turns a wall-clock budget into a number of steps, once, after the first steps have been timed."""

    def __init__(self, minutes: float | None):
        self.minutes = minutes
        self.first: int | None = None
        self.times: list[float] = []

    def steps(self, step: int) -> int | None:
        """The stage's length, or None while it is still being measured."""
        if self.minutes is None:
            raise ValueError("a stage needs a number of steps or a number of minutes")
        self.first = step if self.first is None else self.first
        self.times.append(time.monotonic())
        if len(self.times) <= CALIBRATION_STEPS:
            return None
        # The first steps are slower (allocator, choice of kernels): time the second half only.
        half = CALIBRATION_STEPS // 2
        seconds_a_step = (self.times[-1] - self.times[half]) / (CALIBRATION_STEPS - half)
        return _agree(max(step + 1, self.first + round(self.minutes * 60 / seconds_a_step)))


class Meter:
    """Means of the logged numbers since the last report, throughput, and the remaining time."""

    def __init__(self, config: LoopConfig, path: Path, name: str, samples_per_step: int, spent: float):
        self.config, self.path, self.name = config, path, name
        self.samples_per_step, self.spent = samples_per_step, spent
        self.began = self.reported = time.monotonic()
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.steps_since = 0
        self.latest: dict[str, float] = {}

    def elapsed(self) -> float:
        """Seconds of training, earlier runs of the same stage included."""
        return self.spent + time.monotonic() - self.began

    def add(self, numbers: Mapping[str, float | Tensor]) -> None:
        self.steps_since += 1
        for key, value in numbers.items():
            self.sums[key] = self.sums.get(key, 0.0) + value  # a tensor stays on its device until the report
            self.counts[key] = self.counts.get(key, 0) + 1

    def report(self, step: int, steps: int | None) -> None:
        now = time.monotonic()
        seconds_a_step = (now - self.reported) / max(self.steps_since, 1)
        self.latest = {key: float(total) / self.counts[key] for key, total in self.sums.items()}
        self.reported, self.steps_since, self.sums, self.counts = now, 0, {}, {}
        if rank() != 0:
            return
        rate = self.samples_per_step / max(seconds_a_step, 1e-9)
        left = f"{(steps - step) * seconds_a_step / 60:.1f} min left" if steps else "calibrating"
        shown = "  ".join(f"{key} {value:.4g}" for key, value in self.latest.items())
        self.config.on_log(f"{self.name} {step}/{steps or '?'}  {shown}  {rate:.0f} samples/s  {left}")
        record = {"step": step, "minutes": self.elapsed() / 60, "samples_per_second": rate, **self.latest}
        with self.path.open("a") as file:
            file.write(json.dumps({key: round(value, 6) for key, value in record.items()}) + "\n")


def _agree(value: int) -> int:
    """Rank 0's value on every process: no process may stop a step before another."""
    if world_size() == 1:
        return value
    box = torch.tensor([value], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.broadcast(box, 0)
    return int(box)
