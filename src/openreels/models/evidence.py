"""How well a layout explains what is given of a clip: frames, a whole picture, a whole sound.

The sketches say what tokens hold where a layout is right. So whatever is given can be asked how likely it is under a
layout, and a planner can look for plans under which it is likely, without having learnt to see or to hear
(reconstruction guidance, as in "Video Diffusion Models", Ho et al., 2022, and the best of several candidates).

Legend: B batch, S subjects, F latent frames, K numbers, N tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from openreels.models.layout import heard_layout, seen_layout
from openreels.models.sketch import Sketch
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.types import Context, StreamState, VideoShape

__all__ = ["Evidence"]


class Witness(NamedTuple):
    """What one stream shows: its latents, 1 where a token is given, and what a layout tells of its tokens."""

    sketch: Sketch
    latents_BNC: Tensor
    given_BN: Tensor
    told: Callable[[Tensor], Tensor]


class Evidence:
    """The log-likelihood (B',) of what is given under layouts (B', S, F, K), which gradients pass through.

    video, audio: states of B clips at their start. prompts: theirs. B' is B or a multiple: several layouts of each.
    """

    def __init__(
        self,
        transformer: SkyReelsV4Transformer,
        video: StreamState,
        audio: StreamState | None,
        shape: VideoShape,
        prompts: Context,
    ):
        self.prompts = prompts
        streams = [(transformer.video, video, lambda layout: seen_layout(layout, shape))]
        if audio is not None:
            streams.append((transformer.audio, audio, lambda layout: heard_layout(layout, audio.tokens)))
        witnesses = [Witness(tower.sketch, *_shown(state), told) for tower, state, told in streams]
        self.witnesses = [witness for witness in witnesses if witness.given_BN.any()]

    def __bool__(self) -> bool:
        return bool(self.witnesses)

    def __call__(self, layout_BSFK: Tensor) -> Tensor:
        batch, device = len(self.prompts.mask_BL), self.prompts.mask_BL.device
        index_B = torch.arange(batch, device=device).repeat_interleave(len(layout_BSFK) // batch)
        likely_B = torch.zeros(len(index_B), device=device)
        for sketch, latents_BNC, given_BN, told in self.witnesses:
            mean_BNC, variance_BN1 = sketch(told(layout_BSFK.to(device)), self.prompts.rows(index_B))
            error_BNC = (mean_BNC - latents_BNC[index_B]) ** 2 / variance_BN1 + variance_BN1.log()
            likely_B = likely_B - 0.5 * (error_BNC.sum(-1) * given_BN[index_B]).sum(-1)
        return likely_B.to(layout_BSFK.device)


def _shown(state: StreamState) -> tuple[Tensor, Tensor]:
    """Latents (B, N, C) of a state, and where these are given, (B, N): everywhere at time 1, else where M is 1."""
    whole_B11 = (state.time_B >= 1)[:, None, None]
    latents_BNC = torch.where(whole_B11, state.noisy_BNC, state.given_BNC).float()
    return latents_BNC, ((state.mask_BN1 >= 1) | whole_B11)[..., 0].float()
