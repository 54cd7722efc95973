"""The frozen vocabulary every part shares: shapes of clips and latents, and the state a model sees.

Shape legend (used in the whole package):
    B batch   T frames   H, W pixels   F latent frames   Y, X latent rows, columns   C channels
    N tokens  L text tokens   D width   A audio tokens   S samples of a waveform   R reference tokens
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

__all__ = ["AudioShape", "Context", "StreamState", "VideoShape"]


@dataclass(frozen=True)
class VideoShape:
    """Size of a video in pixels and of its latents.

    frames, height, width: pixels, before any cropping to what the user asked.
    fps: frames per second, exact. latent_*: what the codec makes of it.
    """

    frames: int
    height: int
    width: int
    fps: Fraction
    latent_frames: int
    latent_height: int
    latent_width: int
    latent_channels: int

    @property
    def tokens(self) -> int:
        """Latent positions, one transformer token each at patch size 1."""
        return self.latent_frames * self.latent_height * self.latent_width


@dataclass(frozen=True)
class AudioShape:
    """Size of a waveform and of its latents. samples: per channel at `sample_rate` Hz."""

    samples: int
    sample_rate: int
    tokens: int
    latent_channels: int


@dataclass(frozen=True)
class Context:
    """What the text (later multimodal) encoder says of a prompt.

    hidden_BLD: float hidden states. mask_BL: bool, True where a token is real.
    """

    hidden_BLD: Tensor
    mask_BL: Tensor

    def to(self, *args, **kwargs) -> Context:
        hidden_BLD = self.hidden_BLD.to(*args, **kwargs)
        return Context(hidden_BLD, self.mask_BL.to(hidden_BLD.device))


@dataclass(frozen=True)
class StreamState:
    """One modality on its way through the model; the same object in training and in sampling.

    Every task is inpainting plus in-context references (paper, sections "unified inpainting" and "in-context
    references"): a state holds the noisy latents, what is given of them, where it is given, and reference tokens.

    noisy_BNC:      z_t = t * data + (1 - t) * noise, in normalised latent units (about unit variance).
    given_BNC:      latents of the conditioning frames; of black frames (or zeros) elsewhere, which mask 0 hides.
    mask_BN1:       1 = given, 0 = to generate. For audio always 0 (the paper never inpaints audio that way).
    time_B:         t in [0, 1]; 1 is data, 0 is noise.
    positions_NP:   real-valued, in latent-frame units; P = 3 (frame, row, column) for video, 1 (frame) for audio.
    reference_BRC:  clean latents of reference tokens (R may be 0).
    reference_positions_RP: their positions; the frame index is negative: condition i of n sits at i - n.
    """

    noisy_BNC: Tensor
    given_BNC: Tensor
    mask_BN1: Tensor
    time_B: Tensor
    positions_NP: Tensor
    reference_BRC: Tensor
    reference_positions_RP: Tensor

    @property
    def tokens(self) -> int:
        return self.noisy_BNC.shape[1]

    @property
    def references(self) -> int:
        return self.reference_BRC.shape[1]

    def at(self, noisy_BNC: Tensor, time_B: Tensor) -> StreamState:
        """The same task at another point of the path."""
        return replace(self, noisy_BNC=noisy_BNC, time_B=time_B)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> StreamState:
        """Move; `dtype` applies to latents only: positions and times stay float32 (rounding them loses phase)."""
        latents = {
            name: getattr(self, name).to(device=device, dtype=dtype)
            for name in ("noisy_BNC", "given_BNC", "mask_BN1", "reference_BRC")
        }
        exact = {
            name: getattr(self, name).to(device=device) for name in ("time_B", "positions_NP", "reference_positions_RP")
        }
        return replace(self, **latents, **exact)
