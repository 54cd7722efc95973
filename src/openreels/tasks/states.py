"""Building states: positions, what is given, references. Training and sampling both start here.

Legend: B batch, N tokens, C channels, P position axes, F Y X latent frames, rows, columns, A audio tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreels.types import AudioShape, StreamState, VideoShape

__all__ = ["audio_positions", "audio_state", "video_positions", "video_state"]


def video_positions(shape: VideoShape) -> Tensor:
    """(F * Y * X, 3): frame, row, column of every latent position, in latent units."""
    axes = [
        torch.arange(n, dtype=torch.float32) for n in (shape.latent_frames, shape.latent_height, shape.latent_width)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


def audio_positions(tokens: int, latent_frames: int) -> Tensor:
    """(A, 1): token a stands at a * latent_frames / tokens on the video's timeline (paper: 21 / 218 = 0.09633)."""
    return torch.arange(tokens, dtype=torch.float32)[:, None] * (latent_frames / tokens)


def video_state(shape: VideoShape, batch: int) -> StreamState:
    """A video of which nothing is given yet, at time 0, without noise: `state.at(noise, time)` puts it on the path."""
    return _blank(batch, shape.tokens, shape.latent_channels, video_positions(shape))


def audio_state(shape: AudioShape, latent_frames: int, batch: int) -> StreamState:
    """A sound track beside a video of `latent_frames` (also where there is no video: the timeline stays the same)."""
    return _blank(batch, shape.tokens, shape.latent_channels, audio_positions(shape.tokens, latent_frames))


def _blank(batch: int, tokens: int, channels: int, positions_NP: Tensor) -> StreamState:
    return StreamState(
        noisy_BNC=torch.zeros(batch, tokens, channels),
        given_BNC=torch.zeros(batch, tokens, channels),
        mask_BN1=torch.zeros(batch, tokens, 1),
        time_B=torch.zeros(batch),
        positions_NP=positions_NP,
        reference_BRC=torch.zeros(batch, 0, channels),
        reference_positions_RP=torch.zeros(0, positions_NP.shape[1]),
    )
