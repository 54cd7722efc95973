"""Guidance: several predictions of one state, combined into one velocity.

Legend: B batch, N tokens, C channels, L text tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from openreels.types import Context, StreamState

__all__ = ["Guidance", "Velocities", "stack_states"]

Velocities = tuple[Tensor | None, Tensor | None]
Model = Callable[[StreamState | None, StreamState | None, Context, Tensor | None], Velocities]


def stack_states(state: StreamState | None, copies: int) -> StreamState | None:
    """The same state several times along the batch."""
    if state is None or copies == 1:
        return state
    return state.rows(torch.arange(state.noisy_BNC.shape[0], device=state.noisy_BNC.device).repeat(copies))


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
        context = Context.stack([context for context, _ in rows])
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
