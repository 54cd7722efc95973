"""A chat model in this process: any causal language model of transformers that has a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from openreels.prompts.chat import ChatError, Message

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LocalChat"]

MAX_NEW_TOKENS = 768


class LocalChat:
    """source: a folder or a hub id, loaded when it is first asked. device: of torch, by default the fastest there is.

    Decoding is greedy, so the same prompt gives the same caption. It reads text alone.
    """

    pictures = False

    def __init__(self, source: str, device: str | None = None, max_new_tokens: int = MAX_NEW_TOKENS):
        self.source, self.device, self.max_new_tokens = source, device, max_new_tokens
        self.name = source
        self.loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Raises ChatError."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.source)
            model = AutoModelForCausalLM.from_pretrained(self.source, dtype="auto").to(device).eval()
        except (OSError, ValueError, ImportError) as error:
            raise ChatError(f"it cannot be loaded ({str(error).partition(chr(10))[0]})") from error
        if tokenizer.chat_template is None:
            raise ChatError("it has no chat template; accepted are models trained to chat")
        return model, tokenizer

    def unload(self) -> None:
        """Gives its memory back; the next `reply` loads it again."""
        import torch

        self.loaded = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def reply(self, messages: Sequence[Message]) -> str:
        """Raises ChatError."""
        import torch

        self.loaded = self.loaded or self.load()
        model, tokenizer = self.loaded
        inputs = asked(tokenizer, list(messages)).to(model.device)
        given = inputs["input_ids"].shape[1]
        try:
            with torch.inference_mode():
                written = model.generate(
                    **inputs, do_sample=False, max_new_tokens=self.max_new_tokens, pad_token_id=tokenizer.pad_token_id
                )[0, given:]
        except (RuntimeError, IndexError) as error:  # out of memory; more tokens than it has positions
            raise ChatError(f"it failed ({str(error).partition(chr(10))[0]})") from error
        if len(written) == self.max_new_tokens:
            raise ChatError(f"it did not come to an end within {self.max_new_tokens} tokens")
        return tokenizer.decode(written, skip_special_tokens=True)


def asked(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> BatchEncoding:
    """The tokens of a conversation, ready for the model's answer."""
    from jinja2 import TemplateError

    # Some models think aloud unless their template is told not to; others ignore the word.
    options = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True, "enable_thinking": False}
    try:
        return tokenizer.apply_chat_template(messages, **options)
    except TemplateError:  # of models that know no system role, such as Gemma
        system, first, *rest = messages
        first = {**first, "content": f"{system['content']}\n\n{first['content']}"}
        return tokenizer.apply_chat_template([first, *rest], **options)
