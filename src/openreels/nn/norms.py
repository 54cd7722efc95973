"""Norms that compute and return float32 whatever they are given and stored in (the rule of the Wan networks).

Legend: D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LayerNorm", "RMSNorm"]


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` in float32."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (None if p is None else p.float() for p in (self.weight, self.bias))
        return nn.functional.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps)


class RMSNorm(nn.Module):
    """RMS norm over the last axis in float32."""

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor, apart: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """x / rms(x) * weight; apart: x * weight and 1 / rms(x) (..., 1), for those who join the two factors later."""
        # The vector norm reads x once and writes one number a row: faster than squaring the whole tensor.
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = (norm.square() / x.shape[-1] + self.eps).rsqrt()
        weighted = x.float() * self.weight.float()
        return (weighted, inverse) if apart else weighted * inverse
