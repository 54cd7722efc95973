"""The straight path between noise (t = 0) and data (t = 1). Source: SkyReels-V4, training objective.

Legend: B batch, N tokens, C channels.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["interpolate", "velocity"]


def interpolate(data_BNC: Tensor, noise_BNC: Tensor, time_B: Tensor) -> Tensor:
    """z_t = t * data + (1 - t) * noise."""
    t_B11 = time_B[:, None, None]
    return t_B11 * data_BNC + (1 - t_B11) * noise_BNC


def velocity(data_BNC: Tensor, noise_BNC: Tensor) -> Tensor:
    """d z_t / d t = data - noise, the same all along the path."""
    return data_BNC - noise_BNC
