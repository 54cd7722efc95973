"""Adaptive layer norm: how the time on the path reaches every block.

Legend: B batch, G groups of tokens with a time of their own, N tokens, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from openreels.nn.linear import ZeroLinear

__all__ = ["AdaptiveNorm", "NumberEmbedding", "TimeEmbedding", "per_token"]


class NumberEmbedding(nn.Module):
    """Sinusoids of a number in the thousands through a small MLP, as the open video models have it."""

    def __init__(self, dim: int, frequencies: int = 256):
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, numbers: Tensor) -> Tensor:
        """(...) -> (..., D)."""
        half = self.frequencies // 2
        exponent = torch.arange(half, device=numbers.device, dtype=torch.float32) / half
        angle = numbers.float()[..., None] * torch.exp(-math.log(10_000) * exponent)
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1).to(self.mlp[0].weight.dtype))


class TimeEmbedding(NumberEmbedding):
    """Of 1000 (1 - t): t = 1 is data here, the open models count noise; the conversion is made once, in this place."""

    def forward(self, time_BG: Tensor) -> Tensor:
        return super().forward(1000 * (1 - time_BG.float()))


class AdaptiveNorm(nn.Module):
    """Projects the time embedding to `chunks` vectors of width D (shifts, scales, gates), all starting at zero.

    rank: width of a bottleneck, for small models where these projections would be a third of all weights.
    """

    def __init__(self, dim: int, chunks: int, rank: int | None = None):
        super().__init__()
        self.chunks = chunks
        self.down = nn.Linear(dim, rank) if rank else nn.Identity()
        self.up = ZeroLinear(rank or dim, chunks * dim)

    def forward(self, embedding_BGD: Tensor) -> tuple[Tensor, ...]:
        return self.up(self.down(nn.functional.silu(embedding_BGD))).chunk(self.chunks, dim=-1)


def per_token(values_BGD: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Spread one vector a group to the tokens of the group; a single group stays (B, 1, D) and broadcasts."""
    if values_BGD.shape[1] == 1:
        return values_BGD
    parts = [values_BGD[:, g : g + 1].expand(-1, n, -1) for g, n in enumerate(counts) if n]
    return torch.cat(parts, dim=1)
