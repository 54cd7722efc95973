"""Clips of which something is given, for tests of what sketches see: three latent frames with two tokens each."""

from dataclasses import replace
from fractions import Fraction

import torch

from openreels.tasks.states import video_state
from openreels.types import StreamState, VideoShape

SHAPE = VideoShape(9, 32, 32, Fraction(16), latent_frames=3, latent_height=1, latent_width=2, latent_channels=3)


def draw(*size: int, seed: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def clip(kept: dict[int, float] | None = None, references: int = 0) -> StreamState:
    """Two clips of three frames with two tokens each. kept: token -> which share of it is given."""
    mask_BN1 = torch.zeros(2, 6, 1)
    for token, share in (kept or {}).items():
        mask_BN1[:, token] = share
    positions_RP = torch.zeros(references, 3)
    positions_RP[:, 0] = torch.arange(references) // 2 - references / 2
    return replace(
        video_state(SHAPE, 2), given_BNC=draw(2, 6, 3, seed=3), mask_BN1=mask_BN1,
        reference_BRC=draw(2, references, 3, seed=4), reference_positions_RP=positions_RP,
    )  # fmt: skip
