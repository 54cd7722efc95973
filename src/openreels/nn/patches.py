"""Latents of a codec as tokens of a model, and back.

A token holds `patch` x `patch` latent positions of one latent frame, its channels in the order (C, row, column): that
of a flattened convolution kernel, so the weights of a patch embedding are those of a linear layer. At patch 1 (V4's own
codecs: 16 pixels a position) this is a mere change of layout. Legend: see types.py; Y, X rows and columns of the codec.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor

__all__ = ["latents_from_tokens", "tokens_from_latents"]


def tokens_from_latents(latents_BCFYX: Tensor, patch: int = 1) -> Tensor:
    """(B, F * Y/p * X/p, C * p * p). Raises ValueError where rows or columns do not divide by the patch."""
    rows, columns = latents_BCFYX.shape[-2:]
    if rows % patch or columns % patch:
        raise ValueError(f"{rows} x {columns} latent positions do not divide into patches of {patch} x {patch}")
    return rearrange(latents_BCFYX, "b c f (y p) (x q) -> b (f y x) (c p q)", p=patch, q=patch)


def latents_from_tokens(tokens_BNC: Tensor, frames: int, rows: int, patch: int = 1) -> Tensor:
    """The inverse: (B, C, F, Y, X). frames, rows: of the grid of tokens (`VideoShape`: latent frames and height)."""
    return rearrange(tokens_BNC, "b (f y x) (c p q) -> b c f (y p) (x q)", f=frames, y=rows, p=patch, q=patch)
