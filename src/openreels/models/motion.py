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
# from their noise, so that where things go can be settled before how they look.
MOTION_STD = 6.0

# Weights of the transformer that meet the motion channels, and along which axis these come last.
MEET_MOTION: Mapping[str, int] = {"video.embed.weight": 1, "video.to_velocity.weight": 0, "video.to_velocity.bias": 0}


def fitted(name: str, value: Tensor, like: Tensor, more: int) -> Tensor:
    """The weight `name` of a transformer for another one, in which it has the shape of `like`.

    more: motion channels that the other one has beyond those of the first, negative where it has fewer. What `value`
    has too many of is dropped, what it lacks is taken from `like`. Raises ValueError where the two differ otherwise.
    """
    axis, expected = MEET_MOTION.get(name), list(value.shape)
    if axis is not None:
        expected[axis] += more
    if expected != list(like.shape):
        raise ValueError(f"{name} is {tuple(value.shape)} in one model and {tuple(like.shape)} in the other")
    if axis is None or more == 0:
        return value
    both = min(value.shape[axis], like.shape[axis])
    return torch.cat([value.narrow(axis, 0, both), like.narrow(axis, both, like.shape[axis] - both)], dim=axis)
