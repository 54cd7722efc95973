"""The pocket text encoder: byte-level BPE and a tiny T5 encoder, pretrained on captions of the world, then frozen.

Any UTF-8 prompt is accepted: what the vocabulary does not know falls apart into bytes, never into "unknown".
The full preset puts a multimodal LLM in this place (`multimodal.py`); both return a `Context`.

Legend: B batch, L text tokens, D width.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from openreels.encoders.brief import Brief
from openreels.encoders.prompt import PromptParts
from openreels.types import Context

__all__ = ["PromptWarning", "TextEncoder", "new_text_encoder", "train_tokenizer"]

MAX_TOKENS = 160
NAME = re.compile(r"@(image|video)_(\d{1,3})")  # of a reference, as models are told of it (`tasks/wording.py`)


class PromptWarning(UserWarning):
    """A prompt is longer than its encoder reads."""


class TextEncoder:
    """Prompts -> `Context`.

    tokenizer: a fast tokenizer with padding. model: a transformers encoder returning `last_hidden_state`. brief: says
    besides what a prompt asks for.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        model: nn.Module,
        max_tokens: int = MAX_TOKENS,
        brief: Brief | None = None,
    ):
        self.tokenizer, self.model, self.max_tokens, self.brief = tokenizer, model, max_tokens, brief

    @property
    def width(self) -> int:
        return self.model.config.d_model

    @property
    def fingerprint(self) -> str:
        """Changes whenever its weights do, as they are written in bfloat16."""
        total = 0
        for parameter in self.model.parameters():
            rounded = parameter.detach().to("cpu", torch.bfloat16).view(torch.int16)
            total = crc32(rounded.numpy().tobytes(), total)
        return f"{total:08x}"

    def tokenize(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token numbers and mask, int64 (B, L); prompts beyond `max_tokens` are cut (a pocket caption has under 80)."""
        batch = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return batch.input_ids, batch.attention_mask

    def read(self, tokens_BL: Tensor, mask_BL: Tensor, device: torch.device | None = None) -> Context:
        """(B, L, D) hidden states in float32 of what `tokenize` returned. device: as in `encode`."""
        device = device or self.model.device
        tokens_BL, mask_BL = tokens_BL.to(device), mask_BL.to(device)
        hidden_BLD = self.model(input_ids=tokens_BL, attention_mask=mask_BL).last_hidden_state
        named = [self._named(tokens) for tokens in tokens_BL.tolist()]
        named_BL = torch.tensor(named, device=device) if any(map(any, named)) else None
        brief_BK = None if self.brief is None else self.brief.told(hidden_BLD, mask_BL.bool())
        return Context(hidden_BLD.float(), mask_BL.bool(), named_BL=named_BL, brief_BK=brief_BK)

    def _named(self, tokens: Sequence[int]) -> list[int]:
        """Which reference every token names, see `Context`."""
        pieces = self.tokenizer.convert_ids_to_tokens(tokens)
        numbers = [0] * len(pieces)
        owner = [index for index, piece in enumerate(pieces) for _ in piece]
        for name in NAME.finditer("".join(pieces)):  # pieces spell every byte as one character, ASCII as it is
            for index in {*owner[name.start() : name.end()]}:
                numbers[index] = int(name[2]) if name[1] == "image" else -int(name[2])
        return numbers

    def __call__(self, prompts: Sequence[str]) -> Context:
        """Hidden states of prompts."""
        return self.read(*self.tokenize(prompts))

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | PromptParts], device: torch.device | None = None) -> Context:
        """The same without gradients.

        device: where the model computes; by default where its weights are (they lie elsewhere while it is offloaded).
        Warns (`PromptWarning`) of a prompt whose end is beyond `max_tokens`. Raises ValueError for prompts with media:
        this encoder reads text.
        """
        texts = []
        for prompt in prompts:
            if isinstance(prompt, PromptParts) and prompt.media:
                raise ValueError("the prompt names media, and this text encoder reads text only")
            texts.append(prompt.text if isinstance(prompt, PromptParts) else prompt)
        for tokens in self.tokenizer(texts).input_ids:
            if len(tokens) > self.max_tokens:
                end = self.tokenizer.decode(tokens[self.max_tokens :]).strip()
                warnings.warn(
                    f"the prompt has {len(tokens)} tokens and this model reads {self.max_tokens}: unread is "
                    f"{end if len(end) < 60 else f'{end[:50]} ...'!r}",
                    PromptWarning,
                    stacklevel=2,
                )
        return self.read(*self.tokenize(texts), device)

    def park(self) -> None:
        """Stays where it is: a few megabytes need no room made for them (a multimodal encoder's gigabytes do)."""

    def save_pretrained(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.model.save_pretrained(folder / "text_encoder")
        if self.brief is not None:
            self.brief.save_pretrained(folder / "brief")

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype = torch.float32) -> TextEncoder:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
        model = T5EncoderModel.from_pretrained(folder / "text_encoder", dtype=dtype).eval()
        brief = Brief.from_pretrained(folder / "brief", torch_dtype=dtype) if (folder / "brief").is_dir() else None
        return cls(tokenizer, model, brief=brief)


def train_tokenizer(captions: Iterable[str], vocabulary: int = 2048) -> PreTrainedTokenizerFast:
    """Byte-level BPE: all 256 bytes are in the vocabulary. Each text starts with <s>, so none is empty."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>")


def new_text_encoder(
    tokenizer: PreTrainedTokenizerFast, width: int = 128, layers: int = 4, heads: int = 4
) -> TextEncoder:
    """A fresh encoder of about a million parameters at the default size."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=width // heads,
        d_ff=3 * width,
        num_layers=layers,
        num_heads=heads,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    return TextEncoder(tokenizer, T5EncoderModel(config))
