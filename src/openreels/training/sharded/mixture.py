"""Which task each micro-batch of a step has: a function of (seed, phase, step, number) alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from openreels.training.loop import step_generator
from openreels.training.sharded.conditions import TASKS

__all__ = ["draw_task"]


def draw_task(shares: Mapping[str, float], seed: int, name: str, step: int, number: int) -> str:
    """One of `shares`, with its share as probability.

    All micro-batches of a step run the same towers, for processes must exchange the same gradients; which of the tasks
    with these towers it is, each micro-batch draws for itself.
    """
    by_streams: dict[tuple[str, ...], dict[str, float]] = {}
    for task, share in shares.items():
        by_streams.setdefault(TASKS[task].streams, {})[task] = share
    totals = {streams: sum(tasks.values()) for streams, tasks in by_streams.items()}
    streams = _choice(totals, step_generator(seed, f"{name}/streams", step))
    return _choice(by_streams[streams], step_generator(seed, f"{name}/task/{number}", step))


def _choice(weights: Mapping, generator: torch.Generator):
    chosen = torch.multinomial(torch.tensor(list(weights.values())), 1, generator=generator)
    return list(weights)[int(chosen)]
