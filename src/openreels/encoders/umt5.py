"""The text encoder of SkyReels-V3: transformers' `UMT5EncoderModel` on cleaned prompts, always 512 tokens.

Source: spec/v3.md 3.1. The networks attend to all 512 tokens without a mask, so the zeros after a prompt belong to what
they learned; do not shorten them.

Legend: B batch, L = 512 tokens, D width.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

__all__ = ["UMT5TextEncoder", "clean_prompt"]

TOKENS = 512


def clean_prompt(prompt: str) -> str:
    """Mended Unicode, HTML entities resolved (twice, as the official code), white space collapsed, ends stripped."""
    import ftfy  # slow to import, and only prompts need it

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(prompt))).split())


class UMT5TextEncoder:
    """Prompts -> hidden states.

    model: runs where and in what precision it is. tokenizer: `google/umt5-xxl`'s or any with an end-of-text token.
    """

    def __init__(self, model: UMT5EncoderModel, tokenizer: PreTrainedTokenizerBase):
        self.model, self.tokenizer = model, tokenizer

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """(B, 512, D) in the model's dtype, zero from the end of each prompt on; longer prompts are cut."""
        batch = self.tokenizer(
            [clean_prompt(prompt) for prompt in prompts],
            padding="max_length",
            truncation=True,
            max_length=TOKENS,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self.model.device)
        hidden_BLD = self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        return hidden_BLD * batch.attention_mask[..., None].to(hidden_BLD.dtype)
