"""Guidance: several predictions of one state, combined into one velocity.

Legend: B batch, N tokens, C channels, L text tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from openreels.types import Context, StreamState

__all__ = ["Guidance", "Velocities", "stack_states"]

Velocities = tuple[Tensor | None, Tensor | None]
Model = Callable[[StreamState | None, StreamState | None, Context, Tensor | None], Velocities]

BATCHED = ("noisy_BNC", "given_BNC", "mask_BN1", "time_B", "reference_BRC")


def stack_states(state: StreamState | None, copies: int) -> StreamState | None:
    """The same state several times along the batch."""
    if state is None or copies == 1:
        return state
    return replace(state, **{name: torch.cat([getattr(state, name)] * copies) for name in BATCHED})


@dataclass(frozen=True)
class Guidance:
    """v = v(prompt) + (text - 1) [v(prompt) - v(negative)] + (cross_modal - 1) [v(prompt) - v(streams apart)].

    text: classifier-free guidance scale, 1 = off. cross_modal: strength of the tie between sound and picture, 1 = off;
    it costs nothing where only one stream is present.
    """

    text: float = 3.0
    cross_modal: float = 2.5

    def __call__(
        self, model: Model, video: StreamState | None, audio: StreamState | None, prompt: Context, negative: Context
    ) -> Velocities:
        """One guided velocity per stream; the predictions run as one batch."""
        joint = video is not None and audio is not None
        rows = [(prompt, 1.0)]
        if self.text != 1:
            rows.append((negative, 1.0))
        if self.cross_modal != 1 and joint:
            rows.append((prompt, 0.0))
        context = _concatenate([context for context, _ in rows])
        batch = prompt.hidden_BLD.shape[0]
        tie_B = torch.tensor([tie for _, tie in rows]).repeat_interleave(batch).to(prompt.hidden_BLD.device)
        predictions = model(
            stack_states(video, len(rows)), stack_states(audio, len(rows)), context, tie_B if joint else None
        )

        def combine(velocity: Tensor | None) -> Tensor | None:
            if velocity is None:
                return None
            conditional, *others = velocity.chunk(len(rows))
            guided = conditional
            if self.text != 1:
                guided = guided + (self.text - 1) * (conditional - others.pop(0))
            if others:
                guided = guided + (self.cross_modal - 1) * (conditional - others.pop(0))
            return guided

        return combine(predictions[0]), combine(predictions[1])


def _concatenate(contexts: list[Context]) -> Context:
    """Contexts of different lengths along the batch, padded with masked tokens."""
    length = max(c.hidden_BLD.shape[1] for c in contexts)
    hidden = [torch.nn.functional.pad(c.hidden_BLD, (0, 0, 0, length - c.hidden_BLD.shape[1])) for c in contexts]
    mask = [torch.nn.functional.pad(c.mask_BL, (0, length - c.mask_BL.shape[1])) for c in contexts]
    return Context(torch.cat(hidden), torch.cat(mask))
