"""A sketch of what a layout says: the latents that every token probably has, before anything is generated.

How a red star of that size, a quarter of a token to the left and turned so, looks in latents is hardly a matter of
chance. A few layers that see one token at a time, and no noise, learn it in minutes, where towers that must find it in
the midst of noise had not in hours (docs/log.md). So the flow starts from there: the velocity of a told token is a
mixture of what the tower says and of what would be right if the latents were normally distributed about the sketch.

A token also sees what is given, at its place and elsewhere (`models/surroundings.py`): of a clip that is edited or
begun, and of a place that a picture shows, most need only be copied.

Legend: B batch, N tokens, P tokens of pictures, A position axes, S steps apart, C channels, K numbers, D width, L text
tokens, R references, H heads, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openreels.models.layout import Waves
from openreels.models.mentions import SAID, Mentions
from openreels.models.surroundings import (
    BESIDE,
    FRAMES_APART,
    PICTURED,
    PLACES_APART,
    Pictures,
    Surroundings,
)
from openreels.nn.attention import QueryKeyNorm, key_mask_bias, local_attention
from openreels.nn.linear import ZeroLinear
from openreels.types import Context

__all__ = ["Sketch", "Sketched", "likely_velocity"]

OCTAVES, HARMONICS = 4, 6  # of ways and places; of turns: a star is the same again after a fifth of one


class Sketched(NamedTuple):
    """What tokens probably hold: the mean of their latents, and the variance about it, the same in all channels."""

    mean_BNC: Tensor
    variance_BN1: Tensor


def likely_velocity(
    noisy_BNC: Tensor, time_B: Tensor, mean_BNC: Tensor | float = 0.0, variance_BN1: Tensor | float = 1.0
) -> Tensor:
    """E[data - noise | z_t] where data ~ N(mean, variance) and noise ~ N(0, 1), float32: linear in z_t."""
    t = time_B.float()[:, None, None]
    noisy_BNC = noisy_BNC.float()
    away_BNC = (1 - t) * (mean_BNC - noisy_BNC) + t * variance_BN1 * noisy_BNC
    return away_BNC / (t**2 * variance_BN1 + (1 - t) ** 2)


class PromptReading(nn.Module):
    """What the prompt says of a token's matter: by what is known of it (B, N, K), it looks for words -> (B, N, D).

    The layout says that a red star is near; that it is of metal, striped, or on a beach at night, only the prompt.
    """

    def __init__(self, numbers: int, text_dim: int, width: int, num_heads: int = 4, head_dim: int = 48):
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(text_dim)
        self.to_q = nn.Linear(numbers, num_heads * head_dim)
        self.to_k = nn.Linear(text_dim, num_heads * head_dim, bias=False)
        self.to_v = nn.Linear(text_dim, num_heads * head_dim, bias=False)
        self.to_out = nn.Linear(num_heads * head_dim, width)

    def forward(self, known_BNK: Tensor, context: Context) -> Tensor:
        text_BLD = self.norm(context.hidden_BLD.to(known_BNK.dtype))
        parts = self.to_q(known_BNK), self.to_k(text_BLD), self.to_v(text_BLD)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)) for part in parts)
        # Each token reads for itself, and all of the text: nothing for processes that share a clip to exchange.
        return self.to_out(local_attention(q, k, v, key_mask_bias(context.mask_BL, q.dtype)).flatten(-2))


class PictureReading(nn.Module):
    """What pictures show of a token's matter: by what is known of it (B, N, D), it looks in all that is given, or away.

    At first the nearer the likelier, in each head in another measure; and it adds nothing.
    """

    def __init__(self, channels: int, width: int, num_heads: int = 4, head_dim: int = 40):
        super().__init__()
        numbers = 2 * channels + PICTURED
        self.num_heads = num_heads
        self.to_q = nn.Linear(width, num_heads * head_dim)
        self.to_k = nn.Linear(numbers, num_heads * head_dim)
        self.to_v = nn.Linear(numbers, num_heads * head_dim)
        self.said_to_k = ZeroLinear(SAID, num_heads * head_dim)
        self.norm_qk = QueryKeyNorm(head_dim)
        self.away_Hd = nn.Parameter(torch.zeros(num_heads, head_dim))
        self.frames_HS = _nearness(num_heads, FRAMES_APART, timeless=1)
        self.rows_HS, self.columns_HS = _nearness(num_heads, PLACES_APART), _nearness(num_heads, PLACES_APART)
        self.to_out = ZeroLinear(num_heads * head_dim, width)

    def forward(self, known_BND: Tensor, pictures: Pictures, said_BPK: Tensor) -> Tensor:
        """said_BPK: what the prompt says of the picture that each token is of."""
        tokens_BPK = pictures.tokens_BPK.to(known_BND.dtype)
        keys_BPD = self.to_k(tokens_BPK) + self.said_to_k(said_BPK.to(known_BND.dtype))
        parts = self.to_q(known_BND), keys_BPD, self.to_v(tokens_BPK)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)) for part in parts)
        q, k = self.norm_qk(q, k)
        away_B1Hd = self.away_Hd.to(k.dtype).expand(len(k), 1, -1, -1)
        k, v = torch.cat([away_B1Hd, k], 1), torch.cat([torch.zeros_like(away_B1Hd), v], 1)
        tables = self.frames_HS, self.rows_HS, self.columns_HS
        steps = zip(tables, pictures.apart_NPA.unbind(-1), strict=True)
        near_HNP = sum(nn.functional.embedding(steps_NP, table_HS.T) for table_HS, steps_NP in steps).movedim(-1, 0)
        near_BHNP = near_HNP[None]
        if (index_BN := pictures.looked_at_BN) is not None:
            near_BHNP = near_HNP.index_select(1, index_BN.flatten()).unflatten(1, index_BN.shape).transpose(0, 1)
        hidden_B11P = key_mask_bias(pictures.given_BP, near_BHNP.dtype)
        bias_BHNP = nn.functional.pad(near_BHNP + hidden_B11P, (1, 0))
        return self.to_out(local_attention(q, k, v, bias_BHNP.to(q.dtype)).flatten(-2))


def _nearness(num_heads: int, most: int, timeless: int = 0) -> nn.Parameter:
    """What a head's scores gain by every step apart, (H, 2 `most` + 1 + timeless): less the further away, in the last
    head as much everywhere, as in all for what is at no time."""
    slopes = [*(2.0 * 0.5**head for head in range(num_heads - 1)), 0.0]
    steps = range(-most, most + 1)
    return nn.Parameter(torch.tensor([[-slope * abs(step) for step in steps] + [0.0] * timeless for slope in slopes]))


class Look(nn.Module):
    """A residual layer: a token (B, N, D) looks in the pictures, and in the prompt where its width is told."""

    def __init__(self, channels: int, width: int, text_dim: int | None = None):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.pictures = PictureReading(channels, width)
        self.prompt = None if text_dim is None else PromptReading(width, text_dim, width)

    def forward(self, x_BND: Tensor, context: Context, pictures: Pictures | None, said_BPK: Tensor | None) -> Tensor:
        known_BND = self.norm(x_BND)
        if self.prompt is not None:
            x_BND = x_BND + self.prompt(known_BND, context)
        return x_BND if pictures is None else x_BND + self.pictures(known_BND, pictures, said_BPK)


class GatedLayer(nn.Module):
    """A residual layer of products: what a thing looks like is its kind times its place times its size."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fan_out = nn.Linear(width, 2 * hidden)
        self.fan_in = nn.Linear(hidden, width)

    def forward(self, x_BND: Tensor) -> Tensor:
        gate, value = self.fan_out(self.norm(x_BND)).chunk(2, dim=-1)
        return x_BND + self.fan_in(nn.functional.silu(gate) * value)


class Sketch(nn.Module):
    """What tokens are told (B, N, K + 1), the prompt, and what is given -> what they likely hold, float32.

    Tokens do not see each other. numbers, waved, turned: K, those of which sines go in too, and those that are cosines
    and sines (`Waves`). channels: C. layers: gated ones of this width. sees: whether it looks in pictures and, halfway,
    once more in these and the prompt: by then it is known what to look for. briefed: numbers of `Context.brief_BK`.
    """

    def __init__(
        self,
        numbers: int,
        text_dim: int,
        channels: int,
        width: int,
        waved: Sequence[int] = (),
        turned: Sequence[int] = (),
        layers: int = 3,
        sees: bool = False,
        briefed: int = 0,
    ):
        super().__init__()
        self.waves = Waves(numbers, waved, OCTAVES, turned, HARMONICS)
        self.enter = nn.Linear(self.waves.out_features, width)
        self.enter_beside = ZeroLinear(channels + BESIDE, width)
        self.enter_text = PromptReading(self.waves.out_features, text_dim, width)
        self.enter_brief = ZeroLinear(briefed, width) if briefed else None
        self.layers = nn.ModuleList(GatedLayer(width, width + width // 4) for _ in range(layers))
        self.looks = nn.ModuleDict()
        self.mentions = Mentions(text_dim) if sees else None
        if sees:
            looks = {"0": Look(channels, width), str(layers // 2): Look(channels, width, text_dim)}
            self.looks.update(looks)
        self.leave = nn.Linear(width, channels + 1)

    def forward(self, layout_BNK: Tensor, context: Context, surroundings: Surroundings | None = None) -> Sketched:
        """surroundings: of the tokens; None: nothing is seen. Any of a clip's tokens may be left out."""
        told_BNK = self.waves(layout_BNK[..., :-1]).to(self.enter.weight.dtype)
        x_BND = self.enter(told_BNK) + self.enter_text(told_BNK, context)
        if self.enter_brief is not None and context.brief_BK is not None:
            x_BND = x_BND + self.enter_brief(context.brief_BK.to(x_BND.dtype))[:, None]
        if surroundings is not None:
            x_BND = x_BND + self.enter_beside(surroundings.beside_BNK.to(x_BND.dtype))
        pictures = surroundings.pictures if surroundings is not None and self.looks else None
        said_BPK = None if pictures is None else self._said(context, pictures.names_P)
        for number, layer in enumerate(self.layers):
            if str(number) in self.looks:
                x_BND = self.looks[str(number)](x_BND, context, pictures, said_BPK)
            x_BND = layer(x_BND)
        out = self.leave(x_BND).float()
        return Sketched(out[..., :-1], out[..., -1:].clamp(-6.0, 2.0).exp())

    def _said(self, context: Context, names_P: Tensor) -> Tensor:
        """What the prompt says of the references of these names, (B, P, K)."""
        names_R, index_P = names_P.unique(return_inverse=True)
        return self.mentions(context, names_R.tolist())[:, index_P]
