"""A sketch of what a layout says: the latents that every token probably has, before anything is generated.

How a red star of that size, a quarter of a token to the left and turned so, looks in latents is hardly a matter of
chance. A few layers that see one token at a time, and no noise, learn it in minutes, where towers that must find it in
the midst of noise had not in hours (docs/log.md). So the flow starts from there: the velocity of a told token is a
mixture of what the tower says and of what would be right if the latents were normally distributed about the sketch.

Legend: B batch, N tokens, C channels, K numbers, D width, L text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from openreels.models.layout import Waves
from openreels.types import Context

__all__ = ["Sketch", "Sketched", "likely_velocity"]


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


class Sketch(nn.Module):
    """What tokens are told (B, N, K + 1), and the prompt as a whole -> what they probably hold, float32.

    numbers, waved: K, and those of which sines go in too. channels: C.
    """

    def __init__(self, numbers: int, text_dim: int, channels: int, width: int, waved: Sequence[int] = ()):
        super().__init__()
        self.waves = Waves(numbers, waved)
        self.enter = nn.Linear(self.waves.out_features, width)
        self.enter_text = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, width, bias=False))
        hidden = [layer for _ in range(2) for layer in (nn.SiLU(), nn.Linear(width, width))]
        self.layers = nn.Sequential(*hidden, nn.SiLU(), nn.Linear(width, channels + 1))

    def forward(self, layout_BNK: Tensor, context: Context) -> Sketched:
        dtype = self.enter.weight.dtype
        mask_BL1 = context.mask_BL[..., None].to(dtype)
        prompt_BD = (self.enter_text(context.hidden_BLD.to(dtype)) * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1)
        x = self.enter(self.waves(layout_BNK[..., :-1]).to(dtype)) + prompt_BD[:, None]
        out = self.layers(x).float()
        return Sketched(out[..., :-1], out[..., -1:].clamp(-6.0, 2.0).exp())
