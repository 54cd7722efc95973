"""Step caching: some sampling steps are computed, those between them extrapolated (TaylorSeer, arXiv 2503.06923).

The library's extrapolation, put round the whole transformer: its two velocities are what is extrapolated. The library's
own way in (`enable_cache`) looks for blocks that pass one stream on; ours pass two, either of which may be absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers.hooks import HookRegistry
from diffusers.hooks.hooks import StateManager
from diffusers.hooks.taylorseer_cache import TaylorSeerCacheHook, TaylorSeerState

from openreels.flow.guidance import Velocities
from openreels.models.v4 import SkyReelsV4Transformer

__all__ = ["step_cache"]

NAME = "step_cache"


class VelocityCache(TaylorSeerCacheHook):
    """The library's hook for a module that returns None for a stream that is absent."""

    def new_forward(self, module: SkyReelsV4Transformer, *args, **kwargs) -> Velocities:
        compute, state = self._measure_should_compute()
        if compute:
            velocities = self.fn_ref.original_forward(*args, **kwargs)
            self.present = [velocity is not None for velocity in velocities]
            state.update(tuple(velocity for velocity in velocities if velocity is not None))
            return velocities
        predicted = iter(state.predict())
        return tuple(next(predicted) if present else None for present in self.present)


@contextmanager
def step_cache(transformer: SkyReelsV4Transformer, interval: int, order: int = 1, warm_up: int = 3) -> Iterator[None]:
    """Inside, of `interval` calls of the transformer one is computed; each must be the next step of one sampling.

    interval: 1 = every step is computed. order: of the extrapolation, 0 = the last velocity is held. warm_up: first
    steps, all of which are computed. Raises ValueError.
    """
    if interval < 1 or order < 0 or warm_up <= order:
        raise ValueError(
            f"a step cache needs an interval of at least 1, an order of at least 0 and a longer warm-up than that, "
            f"not {interval}, {order} and {warm_up}"
        )
    if interval == 1:
        yield
        return
    states = StateManager(TaylorSeerState, init_kwargs={"taylor_factors_dtype": torch.float32, "max_order": order})
    registry = HookRegistry.check_if_exists_or_initialize(transformer)
    registry.register_hook(VelocityCache(interval, warm_up, torch.float32, states), NAME)
    try:
        with transformer.cache_context("sampling"):
            yield
    finally:
        registry.remove_hook(NAME)
