"""What a prompt asks for, as numbers: which place, style or cut, who goes and who comes.

Models read the hidden states of a prompt themselves, but learn to read by how well they plan or draw, from a few
thousand clips: of "put it in a city" a sketch drew the mean of all places. To say what a prompt asks for nothing has to
be drawn. So that is learned by itself, from as many prompts as there are (`training/briefs.py`), and goes with the
hidden states (`Context.brief_BK`).

Legend: B batch, L text tokens, J questions, K answers of all of them, D width.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

__all__ = ["Brief"]

LAYERS, REACH = 2, 9  # of tokens that are related first, and how many in each: what a word is about stands around it


class Nearby(nn.Module):
    """A residual layer: each token hears of those around it."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Conv1d(width, width, REACH, padding=REACH // 2, groups=width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, mask_BL1: Tensor) -> Tensor:
        near_BLD = self.mix((self.norm(x_BLD) * mask_BL1).transpose(1, 2)).transpose(1, 2)
        return x_BLD + self.out(nn.functional.silu(near_BLD))


class Brief(ModelMixin, ConfigMixin):
    """text_dim: of the hidden states. answers: how many there are to each question. questions: their names. reads:
    fingerprint of the text encoder whose states it has learnt to read; None: of any."""

    @register_to_config
    def __init__(
        self, text_dim: int, answers: tuple[int, ...], questions: tuple[str, ...] = (), reads: str | None = None
    ):
        super().__init__()
        self.layers = nn.ModuleList(Nearby(text_dim) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(text_dim)
        self.score = nn.Linear(text_dim, len(answers))
        self.answer = nn.ModuleList(nn.Linear(text_dim, count) for count in answers)

    @property
    def numbers(self) -> int:
        """K."""
        return sum(self.config.answers)

    def said_of(self, question: str, brief_BK: Tensor) -> Tensor | None:
        """How likely each answer to a question is, (B, answers), of what `told` told; None: that is not asked."""
        if question not in self.config.questions:
            return None
        return brief_BK.split([*self.config.answers], dim=-1)[[*self.config.questions].index(question)]

    def forward(self, hidden_BLD: Tensor, mask_BL: Tensor) -> list[Tensor]:
        """Logits of the answers to each question, J times (B, answers)."""
        x_BLD, mask_BL1 = hidden_BLD.to(self.dtype), mask_BL[..., None]
        for layer in self.layers:
            x_BLD = layer(x_BLD, mask_BL1)
        x_BLD = self.norm(x_BLD)
        score_BLJ = self.score(x_BLD).masked_fill(~mask_BL1, -1e4)
        found_BJD = score_BLJ.softmax(dim=1).transpose(1, 2) @ x_BLD
        return [answer(found_BD) for answer, found_BD in zip(self.answer, found_BJD.unbind(1), strict=True)]

    @torch.no_grad()
    def told(self, hidden_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """How likely every answer is, (B, K), float32."""
        return torch.cat([logits.float().softmax(-1) for logits in self(hidden_BLD, mask_BL)], dim=-1)
