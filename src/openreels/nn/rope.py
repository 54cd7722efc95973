"""Rotary position embeddings over real-valued positions.

Positions are floats in latent-frame units, so audio tokens can sit between video frames and references before them.
Legend: N tokens, P position axes, H heads, d head width, B batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["RotaryTable", "apply_rotary", "rotary_table"]


class RotaryTable(NamedTuple):
    """Cosines and sines of every token's rotation angles, float32, each (N, d / 2)."""

    cos_Nd: Tensor
    sin_Nd: Tensor


def rotary_table(positions_NP: Tensor, axis_dims: tuple[int, ...], theta: float) -> RotaryTable:
    """Angles for axial RoPE: axis p owns `axis_dims[p]` of the head's channels, lowest frequencies last.

    positions_NP: (N, P) float. axis_dims: even numbers, one per axis, summing to the head width.
    """
    if positions_NP.shape[1] != len(axis_dims) or any(dim % 2 for dim in axis_dims):
        raise ValueError(f"{positions_NP.shape[1]} position axes for RoPE channels {axis_dims} (even numbers needed)")
    angles = []
    for axis, dim in enumerate(axis_dims):
        exponent = torch.arange(0, dim, 2, dtype=torch.float64) / dim  # on the CPU: MPS has no float64
        frequency = (theta**-exponent).float().to(positions_NP.device)
        angles.append(positions_NP[:, axis, None].float() * frequency)
    angle_Nd = torch.cat(angles, dim=1)
    return RotaryTable(angle_Nd.cos(), angle_Nd.sin())


def apply_rotary(x_BNHd: Tensor, table: RotaryTable) -> Tensor:
    """Rotate neighbouring channel pairs (the convention of HunyuanVideo and Wan): (a, b) -> (a c - b s, b c + a s)."""
    cos_N1d = table.cos_Nd.to(x_BNHd.dtype).repeat_interleave(2, dim=-1)[:, None]
    sin_N1d = torch.stack([-table.sin_Nd, table.sin_Nd], dim=-1).to(x_BNHd.dtype).flatten(-2)[:, None]
    # Two long products and one swap: four times faster on a CPU than taking the pairs apart and stacking them again.
    swapped_BNHd = x_BNHd.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return x_BNHd * cos_N1d + swapped_BNHd * sin_N1d
