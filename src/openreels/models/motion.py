"""The motion channels of the video tower: last in what it reads and writes, there in some models and not in others.

A model whose training data say how things move (`training/token_truth.py`) generates that beside the latents; one that
is trained on clips of which nobody says it has no such channels. Weights fit both.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["MOTION_STD", "fitted"]

# Standard deviation of the motion channels, where the latents have 1: at every time of the path they stand out more
# from their noise, so that where things go is settled before how they look.
MOTION_STD = 6.0

# Weights of the transformer that meet the motion channels, and along which axis these come last.
MEET_MOTION: Mapping[str, int] = {"video.embed.weight": 1, "video.to_velocity.weight": 0, "video.to_velocity.bias": 0}


def fitted(name: str, value: Tensor, like: Tensor) -> Tensor:
    """The weight `name` of a transformer for another one, in which it looks `like` this.

    The two may differ in their motion channels: what `value` has too many of is dropped, what it lacks is of `like`.
    Raises ValueError where they differ in anything else.
    """
    if value.shape == like.shape:
        return value
    axis = MEET_MOTION.get(name)
    sizes = [list(tensor.shape) for tensor in (value, like)]
    if axis is not None and value.ndim == like.ndim:
        for size in sizes:
            size[axis] = 0
    if sizes[0] != sizes[1]:
        raise ValueError(f"{name} is {tuple(value.shape)} in one model and {tuple(like.shape)} in the other")
    both = min(value.shape[axis], like.shape[axis])
    return torch.cat([value.narrow(axis, 0, both), like.narrow(axis, both, like.shape[axis] - both)], dim=axis)
