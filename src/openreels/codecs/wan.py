"""The video codec of SkyReels-V3: diffusers' `AutoencoderKLWan` behind normalised latents.

Geometry: the first frame is a latent frame of its own, then 4 frames each; 8 x 8 pixels to one position of 16 channels.
Source: spec/v3.md 3.2 (equal to the official `Wan2.1_VAE.pth` bit for bit).

Shape legend: B batch, T frames, F latent frames, H W pixels, Y X latent rows and columns, C latent channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

__all__ = ["WanVideoCodec"]


class WanVideoCodec:
    """Pixels <-> normalised latents. The VAE belongs in float32: its weights are, and the official code runs it so."""

    def __init__(self, vae: AutoencoderKLWan):
        self.vae = vae

    @property
    def latent_channels(self) -> int:
        return self.vae.config.z_dim

    @property
    def frames_per_latent(self) -> int:
        return self.vae.config.scale_factor_temporal

    @property
    def pixels_per_latent(self) -> int:
        return self.vae.config.scale_factor_spatial

    def latent_frames(self, frames: int) -> int:
        """Latent frames of so many frames. Raises ValueError unless they are 4 n + 1."""
        group = self.frames_per_latent
        if frames < 1 or (frames - 1) % group:
            raise ValueError(f"the number of frames must be a multiple of {group} plus 1; got {frames}.")
        return 1 + (frames - 1) // group

    def frames(self, latent_frames: int) -> int:
        return 1 + self.frames_per_latent * (latent_frames - 1)

    def latent_shape(self, frames: int, height: int, width: int, batch: int = 1) -> tuple[int, int, int, int, int]:
        """(B, C, F, Y, X) for a size in pixels. Raises ValueError where it does not divide."""
        side = self.pixels_per_latent
        if height % side or width % side:
            raise ValueError(f"height and width must be multiples of {side}; got {height} x {width}.")
        return batch, self.latent_channels, self.latent_frames(frames), height // side, width // side

    @property
    def tiling(self) -> bool:
        """Work in overlapping tiles: less memory, not exactly the same pixels."""
        return self.vae.use_tiling

    @tiling.setter
    def tiling(self, on: bool) -> None:
        self.vae.enable_tiling() if on else self.vae.disable_tiling()

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation per channel. The inverse, as in the official code: dividing differs in a bit."""
        config = self.vae.config
        mean, std = (like.new_tensor(x).view(1, -1, 1, 1, 1) for x in (config.latents_mean, config.latents_std))
        return mean, 1 / std

    @torch.no_grad()
    def encode(self, frames_BCTHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B, 3, T, H, W) in [-1, 1] -> float32 latents (B, C, F, Y, X), about unit variance.

        The mean of the posterior, or with a generator a sample of it. Raises ValueError unless T = 4 n + 1 and the
        size divides (the VAE itself would drop frames silently).
        """
        self.latent_shape(*frames_BCTHW.shape[2:])
        posterior = self.vae.encode(frames_BCTHW.to(self.vae.device, self.vae.dtype)).latent_dist
        z_BCFYX = (posterior.mode() if generator is None else posterior.sample(generator)).float()
        mean, inverse_std = self._statistics(z_BCFYX)
        return (z_BCFYX - mean) * inverse_std

    @torch.no_grad()
    def decode(self, latents_BCFYX: Tensor) -> Tensor:
        """Normalised latents (B, C, F, Y, X) -> float32 frames (B, 3, 4 F - 3, 8 Y, 8 X) inside [-1, 1]."""
        latents_BCFYX = latents_BCFYX.float()
        mean, inverse_std = self._statistics(latents_BCFYX)
        z_BCFYX = (latents_BCFYX / inverse_std + mean).to(self.vae.device, self.vae.dtype)
        return self.vae.decode(z_BCFYX).sample.float().clamp(-1, 1)
