"""What a prompt says of what is shown beside it: the words around its name.

"On the left @image_2 bounces, at the place of @image_1": which picture is the place and which the ball is a matter of a
few words before and behind a name, and a small text encoder does not carry them there. (The hidden states of a name
itself tell which of three pictures is the place no better than chance; those of the words around it do so in all cases:
docs/log.md.) So they are handed over.

Legend: B batch, L text tokens, R references, D width of the text, K numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openreels.types import Context

__all__ = ["SAID", "Mentions", "around_names"]

SAID = 12  # numbers that say what a prompt says of a reference
AROUND = 6  # tokens before a name, and as many behind it


def around_names(context: Context, names: Sequence[int]) -> Tensor:
    """Mean hidden states of the tokens before and behind the first mention of each of `names` (see `Context.named_BL`),
    (B, R, 2 D); zeros for what a prompt does not name."""
    hidden_BLD = context.hidden_BLD
    if context.named_BL is None or not names:
        return hidden_BLD.new_zeros(len(hidden_BLD), len(names), 2 * hidden_BLD.shape[-1])
    is_it_BRL = context.named_BL[:, None] == torch.tensor(names, device=hidden_BLD.device)[:, None]
    is_it_BRL = is_it_BRL & (torch.tensor(names, device=hidden_BLD.device) != 0)[:, None]
    place_L = torch.arange(is_it_BRL.shape[-1], device=hidden_BLD.device)
    first_BR1 = is_it_BRL.int().argmax(-1, keepdim=True)
    # A name is several tokens, all of the same number: it ends before the first that is none of it.
    behind_BRL = (place_L > first_BR1) & ~is_it_BRL
    last_BR1 = (
        torch.where(behind_BRL.any(-1, keepdim=True), behind_BRL.int().argmax(-1, keepdim=True), len(place_L)) - 1
    )
    sides = (
        (place_L < first_BR1) & (place_L >= first_BR1 - AROUND),
        (place_L > last_BR1) & (place_L <= last_BR1 + AROUND),
    )
    found = []
    for side_BRL in sides:
        side_BRL = (side_BRL & context.mask_BL[:, None] & is_it_BRL.any(-1, keepdim=True)).to(hidden_BLD.dtype)
        found.append(side_BRL @ hidden_BLD / side_BRL.sum(-1, keepdim=True).clamp(min=1.0))
    return torch.cat(found, dim=-1)


class Mentions(nn.Module):
    """What is said of each reference, in few numbers: (B, R, `SAID`)."""

    def __init__(self, text_dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(2 * text_dim, elementwise_affine=False)
        self.to_numbers = nn.Linear(2 * text_dim, SAID)

    def forward(self, context: Context, names: Sequence[int]) -> Tensor:
        around_BRK = around_names(context, names).to(self.to_numbers.weight.dtype)
        is_named_BR1 = (around_BRK != 0).any(-1, keepdim=True)
        return self.to_numbers(self.norm(around_BRK)) * is_named_BR1
