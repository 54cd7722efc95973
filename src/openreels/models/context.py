"""How the context enters a tower: a refiner of the prompt's hidden states, and optional sources beside them.

Both come with the warm start from HunyuanVideo (diffusers' `HunyuanVideo15TokenRefiner`, `...ByT5TextProjection` and
`...ImageProjection`); a model that has neither reads the prompt through one linear layer (`models/v4.py`).
Legend: B batch, L context tokens, D width, E width of an encoder.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from openreels.nn.attention import attention, key_mask_bias
from openreels.nn.modulation import AdaptiveNorm, TimeEmbedding
from openreels.types import Context, HiddenStates

__all__ = ["ContextSources", "TextRefiner", "two_layers"]

GLYPH_HIDDEN = 2048  # of the glyph projection, whatever the model's width


def two_layers(dim_in: int, hidden: int, dim_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim_in, hidden), nn.SiLU(), nn.Linear(hidden, dim_out))


class RefinerBlock(nn.Module):
    """Self-attention among the prompt's tokens and an MLP; both gated by the time and the prompt's mean."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.gates = AdaptiveNorm(dim, 2)
        self.norm_attention = nn.LayerNorm(dim, eps=1e-6)
        self.to_qkv = nn.Linear(dim, 3 * dim)
        self.to_out = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = two_layers(dim, 4 * dim, dim)

    def forward(self, text_BLD: Tensor, embedding_B1D: Tensor, bias: Tensor) -> Tensor:
        gate_attention, gate_mlp = self.gates(embedding_B1D)
        qkv = self.to_qkv(self.norm_attention(text_BLD))
        q, k, v = rearrange(qkv, "b l (three h d) -> three b l h d", three=3, h=self.num_heads)
        text_BLD = text_BLD + gate_attention * self.to_out(attention(q, k, v, bias).flatten(-2))
        return text_BLD + gate_mlp * self.mlp(self.norm_mlp(text_BLD))


class TextRefiner(nn.Module):
    """The prompt's hidden states, brought to the model's width and refined for the time on the path."""

    def __init__(self, text_dim: int, dim: int, num_heads: int, layers: int):
        super().__init__()
        self.embed_time = TimeEmbedding(dim)
        self.embed_mean = two_layers(text_dim, dim, dim)
        self.embed = nn.Linear(text_dim, dim)
        self.blocks = nn.ModuleList(RefinerBlock(dim, num_heads) for _ in range(layers))

    def forward(self, text: HiddenStates, time_B: Tensor) -> Tensor:
        """(B, L, D); what stands at masked tokens means nothing."""
        weight_BL1 = text.mask_BL[..., None].to(text.hidden_BLD.dtype)
        mean_BE = (text.hidden_BLD * weight_BL1).sum(1) / weight_BL1.sum(1).clamp(min=1)
        embedding_B1D = (self.embed_time(time_B) + self.embed_mean(mean_BE))[:, None]
        bias = key_mask_bias(text.mask_BL, torch.float32)
        text_BLD = self.embed(text.hidden_BLD)
        for block in self.blocks:
            text_BLD = block(text_BLD, embedding_B1D, bias)
        return text_BLD


class ContextSources(nn.Module):
    """Glyph and image states beside the text, each kind marked by a learned vector."""

    def __init__(self, dim: int, glyph_dim: int | None, image_dim: int | None):
        super().__init__()
        self.glyph = self.image = None
        if glyph_dim:
            self.glyph = nn.Sequential(
                nn.LayerNorm(glyph_dim),
                nn.Linear(glyph_dim, GLYPH_HIDDEN),
                nn.GELU(),
                nn.Linear(GLYPH_HIDDEN, GLYPH_HIDDEN),
                nn.GELU(),
                nn.Linear(GLYPH_HIDDEN, dim),
            )
        if image_dim:
            self.image = nn.Sequential(
                nn.LayerNorm(image_dim),
                nn.Linear(image_dim, image_dim),
                nn.GELU(),
                nn.Linear(image_dim, dim),
                nn.LayerNorm(dim),
            )
        self.kind = nn.Embedding(3, dim)  # rows: text, glyph, image

    def forward(self, text: HiddenStates, context: Context) -> HiddenStates:
        """Those that are given, then the text: (B, L, D) and their masks together."""
        parts = [HiddenStates(text.hidden_BLD + self.kind.weight[0], text.mask_BL)]
        for row, name in ((1, "glyph"), (2, "image")):
            source: HiddenStates | None = getattr(context, name)
            if source is not None:
                projected_BLD = getattr(self, name)(source.hidden_BLD)
                parts.insert(0, HiddenStates(projected_BLD + self.kind.weight[row], source.mask_BL))
        return HiddenStates(torch.cat([p.hidden_BLD for p in parts], 1), torch.cat([p.mask_BL for p in parts], 1))
