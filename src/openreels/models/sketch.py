"""A sketch of what a layout says: the latents that every token probably has, before anything is generated.

How a red star of that size, a quarter of a token to the left and turned so, looks in latents is hardly a matter of
chance. A few layers that see one token at a time, and no noise, learn it in minutes, where towers that must find it in
the midst of noise had not in hours (docs/log.md). So the flow starts from there: the velocity of a told token is a
mixture of what the tower says and of what would be right if the latents were normally distributed about the sketch.

A token also sees what is given of the clip at its place (`beside`): of a clip that is edited or begun, most need only
be copied.

Legend: B batch, N tokens, F latent frames, G those of them that are given, Z places in one, C channels, K numbers,
D width, L text tokens, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openreels.models.layout import Waves
from openreels.nn.attention import key_mask_bias, local_attention
from openreels.nn.linear import ZeroLinear
from openreels.types import Context, StreamState

__all__ = ["Sketch", "Sketched", "beside", "likely_velocity"]

BESIDE = 3  # numbers that say where what a token sees beside itself comes from
UNIT = 8.0  # of distances in time and space, latent units


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


def beside(state: StreamState) -> Tensor:
    """What is given where every token is, (B, N, C + `BESIDE`).

    Its own latents, as far as they are given; or those of the same place in the frame nearest in time that is given
    there; or those of the same moment of the last reference that is as long as the clip itself, which is the one to be
    edited where there is one. Then the share of it that is given, how far away in time, and 1 for a reference; zeros
    where there is none of these.
    """
    given_BNC, share_BN1 = state.given_BNC.float(), state.mask_BN1.float()
    long_enough = state.references >= state.tokens
    lent_BNC = state.reference_BRC[:, state.references - state.tokens :] if long_enough else torch.zeros_like(given_BNC)
    lent_BNK = torch.cat([lent_BNC.float(), torch.zeros_like(share_BN1).expand(-1, -1, 2)], dim=-1)
    lent_BNK = nn.functional.pad(lent_BNK, (0, 1), value=float(long_enough))

    time_F = state.positions_NP[:, 0].unique()
    away_FG = (time_F[:, None] - time_F).abs()
    whole_BGZ = share_BN1.squeeze(-1).unflatten(1, (len(time_F), -1)) >= 1
    away_BFGZ = away_FG[..., None].where(whole_BGZ[:, None], torch.inf)
    away_BFZ, index_BFZ = away_BFGZ.min(2)
    source_BGZC = given_BNC.unflatten(1, (len(time_F), -1))
    near_BFZC = source_BGZC.gather(1, index_BFZ[..., None].expand(-1, -1, -1, given_BNC.shape[-1]))
    there_BFZ1 = away_BFZ.isfinite()[..., None].float()
    away_BFZ1 = away_BFZ[..., None].nan_to_num(posinf=0.0) / UNIT
    near_BNK = torch.cat([near_BFZC, there_BFZ1, away_BFZ1, torch.zeros_like(there_BFZ1)], dim=-1).flatten(1, 2)

    own_BNK = nn.functional.pad(torch.cat([given_BNC, share_BN1], dim=-1), (0, 2))
    is_near_BN1 = there_BFZ1.flatten(1, 2) > 0
    return torch.where(share_BN1 > 0, own_BNK, torch.where(is_near_BN1, near_BNK, lent_BNK))


class PromptReading(nn.Module):
    """What the prompt says of a token's matter: by what it is told (B, N, K), it looks for words -> (B, N, D).

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

    def forward(self, told_BNK: Tensor, context: Context) -> Tensor:
        text_BLD = self.norm(context.hidden_BLD.to(told_BNK.dtype))
        parts = self.to_q(told_BNK), self.to_k(text_BLD), self.to_v(text_BLD)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)) for part in parts)
        # Each token reads for itself, and all of the text: nothing for processes that share a clip to exchange.
        return self.to_out(local_attention(q, k, v, key_mask_bias(context.mask_BL, q.dtype)).flatten(-2))


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
    """What tokens are told (B, N, K + 1), the prompt, and what is given beside them -> what they likely hold, float32.

    Tokens do not see each other. numbers, waved: K, and those of which sines go in too. channels: C. layers: gated ones
    of this width.
    """

    def __init__(
        self, numbers: int, text_dim: int, channels: int, width: int, waved: Sequence[int] = (), layers: int = 3
    ):
        super().__init__()
        self.waves = Waves(numbers, waved)
        self.enter = nn.Linear(self.waves.out_features, width)
        self.enter_beside = ZeroLinear(channels + BESIDE, width)
        self.enter_text = PromptReading(self.waves.out_features, text_dim, width)
        self.layers = nn.Sequential(*(GatedLayer(width, width + width // 4) for _ in range(layers)))
        self.leave = nn.Linear(width, channels + 1)

    def forward(self, layout_BNK: Tensor, context: Context, beside_BNK: Tensor | None = None) -> Sketched:
        """beside_BNK: what is given at the tokens' places (`beside`); None: nothing is seen of it. Any of a clip's
        tokens may be left out."""
        told_BNK = self.waves(layout_BNK[..., :-1]).to(self.enter.weight.dtype)
        x_BND = self.enter(told_BNK) + self.enter_text(told_BNK, context)
        if beside_BNK is not None:
            x_BND = x_BND + self.enter_beside(beside_BNK.to(x_BND.dtype))
        out = self.leave(self.layers(x_BND)).float()
        return Sketched(out[..., :-1], out[..., -1:].clamp(-6.0, 2.0).exp())
