"""Moving average of sharded weights: every process averages its own part, without a message."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

__all__ = ["ShardedEma"]


def _local(x: Tensor) -> Tensor:
    return x.to_local() if isinstance(x, DTensor) else x


class ShardedEma:
    """Of the trainable parameters; in float32, sharded as they are. decay 0 follows the weights exactly."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float):
        self.decay = decay
        self.live = dict(parameters)
        self.average = {name: p.detach().clone() for name, p in self.live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After optimizer step number `step`; the memory is short at the start (as in `training.loop.Ema`)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        average, live = ([_local(x) for x in values] for values in (self.average.values(), self.live.values()))
        torch._foreach_lerp_(average, [p.detach() for p in live], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Averaged weights into the model and the live ones here; a second call undoes it."""
        for name, parameter in self.live.items():
            live, average = _local(parameter.detach()), _local(self.average[name])
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)
