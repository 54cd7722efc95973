"""What is given, from pixels and samples to latents of a state: kept parts of a video, references in context.

Training and sampling build the conditions of their states here.

Legend: B batch, T frames, H W pixels, F latent frames, N tokens, C channels, S samples, R reference tokens, P axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from einops import reduce, repeat
from torch import Tensor

from openreels.codecs.audio import AudioCodec
from openreels.codecs.video import VideoCodec
from openreels.tasks.states import video_positions
from openreels.types import AudioShape, StreamState

__all__ = ["audio_references", "kept_latents", "video_references", "with_kept", "with_references"]


def _groups(video: Tensor, size: int) -> Tensor:
    """(B, T, ...) -> (B, F, size, ...): frames by latent frame; the first one stands alone, repeated."""
    first = video[:, :1].expand(-1, size - 1, *video.shape[2:])
    return torch.cat([first, video], dim=1).unflatten(1, (-1, size))


def _filled(frames_BTHWC: Tensor, keep_BTHW: Tensor, size: int) -> Tensor:
    """Only what is kept, on black; within a latent frame it stands for its neighbours in time too.

    A key frame is one of several frames behind one latent frame: between black ones it would be a flash.
    """
    frames = _groups(frames_BTHWC * keep_BTHW[..., None], size)
    keep = _groups(keep_BTHW, size)
    for order in (range(1, size), range(size - 2, -1, -1)):
        for i in order:
            neighbour = i - 1 if order.step > 0 else i + 1
            missing = keep[:, :, neighbour] & ~keep[:, :, i]
            frames[:, :, i] = torch.where(missing[..., None], frames[:, :, neighbour], frames[:, :, i])
            keep[:, :, i] |= missing
    return frames.flatten(1, 2)[:, size - 1 :]


def kept_latents(
    codec: VideoCodec, frames_BTHWC: Tensor, keep_BTHW: Tensor, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """What is kept of a video, as (given (B, N, C), mask (B, N, 1)) of a state.

    frames_BTHWC: uint8 on the model's canvas. keep_BTHW: bool, True where a pixel is given. Latents are those of the
    given pixels with black elsewhere (paper, "unified inpainting"). The mask says which share of a token's pixels is
    given: 1 all, 0 none. The paper's mask is binary; with tokens as large as a pocket model's, most of the border of a
    region would be lost to that. device: where the codec computes, as in its `encode`; so in all functions here.
    """
    side, size = codec.spatial_factor, codec.temporal_factor
    latents_BNC = codec.encode(_filled(frames_BTHWC, keep_BTHW, size), device=device)
    keep = _groups(keep_BTHW.float(), size)
    share = reduce(keep, "b f g (y p) (x q) -> b (f y x) 1", "mean", p=side, q=side)
    share = share.to(latents_BNC.device)
    return latents_BNC * (share > 0), share


def with_kept(state: StreamState, given_BNC: Tensor, mask_BN1: Tensor) -> StreamState:
    """The state with its kept parts (`kept_latents`)."""
    return replace(state, given_BNC=given_BNC, mask_BN1=mask_BN1)


def video_references(
    codec: VideoCodec, clips: Sequence[Tensor], device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Pictures and clips as reference tokens: (B, R, C) and their positions (R, 3).

    clips: uint8 (B, T, H, W, 3) each, T = 1 or 4k + 1, all of one size. Latent frame i of all n sits at i - n; rows and
    columns are kept (paper, "in-context references").
    """
    latents, frames = [], 0
    for clip_BTHWC in clips:
        latents.append(codec.encode(clip_BTHWC, device=device))
        shape = codec.shape(*clip_BTHWC.shape[1:4], Fraction(1))
        frames += shape.latent_frames
    positions_RP = video_positions(replace(shape, latent_frames=frames))
    positions_RP[:, 0] -= frames
    return torch.cat(latents, dim=1), positions_RP


def audio_references(
    codec: AudioCodec,
    sounds: Sequence[Tensor],
    shape: AudioShape,
    latent_frames: int,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Sounds as reference tokens of a track of `shape`: (B, R, C) and their positions (R, 1), before the track's start.

    sounds: float (B, S) or (B, channels, S) each.
    """
    latents_BRC = torch.cat([codec.encode(sound, device=device) for sound in sounds], dim=1)
    count = latents_BRC.shape[1]
    positions_RP = (torch.arange(count, dtype=torch.float32)[:, None] - count) * (latent_frames / shape.tokens)
    return latents_BRC, positions_RP


def with_references(state: StreamState, reference_BRC: Tensor, positions_RP: Tensor) -> StreamState:
    """The state with reference tokens; one set of references serves a batch of any size."""
    batch = state.noisy_BNC.shape[0]
    if reference_BRC.shape[0] == 1 and batch > 1:
        reference_BRC = repeat(reference_BRC, "1 r c -> b r c", b=batch)
    return replace(state, reference_BRC=reference_BRC, reference_positions_RP=positions_RP)
