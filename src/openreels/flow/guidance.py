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


def stack_states(state: StreamState | None, copies: int) -> StreamState | None:
    """The same state several times along the batch."""
    if state is None or copies == 1:
        return state
    return state.rows(torch.arange(state.noisy_BNC.shape[0], device=state.noisy_BNC.device).repeat(copies))


def _told(state: StreamState | None, told_B: Tensor) -> StreamState | None:
    """With its layout where `told_B` is 1, and none where it is 0."""
    if state is None or state.layout_BNK is None:
        return state
    return replace(state, layout_BNK=state.layout_BNK * told_B[:, None, None])


@dataclass(frozen=True)
class Guidance:
    """v = v(prompt) + (text - 1) [v(prompt) - v(negative)] + (cross_modal - 1) [v(prompt) - v(streams apart)].

    A layout was planned for the prompt: with the negative prompt nobody is told of it.
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
        rows = [(prompt, 1.0, 1.0)]
        if self.text != 1:
            rows.append((negative, 1.0, 0.0))
        if self.cross_modal != 1 and joint:
            rows.append((prompt, 0.0, 1.0))
        contexts, ties, told = zip(*rows, strict=True)
        batch, device = prompt.hidden_BLD.shape[0], prompt.hidden_BLD.device
        tie_B, told_B = (torch.tensor(each).repeat_interleave(batch).to(device) for each in (ties, told))
        states = (_told(stack_states(state, len(rows)), told_B) for state in (video, audio))
        predictions = model(*states, Context.stack(contexts), tie_B if joint else None)

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
