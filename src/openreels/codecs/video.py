"""Video codec: frames <-> normalised latents, behind one adapter for every causal video autoencoder.

`VideoCodec` drives `AutoencoderKLHunyuanVideo15` (16 x 16 pixels, 32 channels: the full preset's),
`AutoencoderKLHunyuanVideo` (8 x 8, 16 channels), `AutoencoderKLWan` (8 x 8 or 16 x 16) and the pocket's own; all make
one latent frame of the first frame and one of each four after it.

`PocketVideoVAE` has the geometry, the causality and the interface of `AutoencoderKLHunyuanVideo15` but works on
pixel-shuffled groups of four frames: on two CPU cores the library's class, with its 3D convolutions at full resolution,
trains an order of magnitude slower (figures in docs/log.md).

Notable features of the pocket's
    - the first frame is a group of its own (a still image is a video of one frame);
    - causal in time: latent frame f depends on frames up to 4 f only, so a prefix of a video encodes to a prefix;
    - all heavy work happens at 1/4 resolution and below.

Shape legend: B batch, T = 4 (F - 1) + 1 frames, F latent frames, H W pixels, Y X latent rows and columns, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from torch import Tensor, nn

from openreels.media.timing import latent_frames
from openreels.nn.patches import latents_from_tokens, tokens_from_latents
from openreels.types import VideoShape

__all__ = ["PocketVideoVAE", "VideoCodec"]

GROUP = 4  # frames per latent frame
PATCH = 4  # pixels folded into channels before the first convolution


class ChannelNorm(nn.Module):
    """RMS norm over channels at each position: causality and tiling stay exact, as no statistics cross positions."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x_NCYX: Tensor) -> Tensor:
        power_N1YX = x_NCYX.float().square().mean(dim=1, keepdim=True)
        return x_NCYX * (power_N1YX + 1e-6).rsqrt().to(x_NCYX.dtype) * self.scale[:, None, None]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions inside one latent frame; the second starts at zero, so the block starts as identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x_NCYX: Tensor) -> Tensor:
        return x_NCYX + self.conv_out(nn.functional.silu(self.conv_in(nn.functional.silu(self.norm(x_NCYX)))))


class CausalTimeMix(nn.Module):
    """Residual mixing of each position with the two latent frames before it."""

    kernel = 3

    def __init__(self, channels: int):
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.mix = nn.Linear(channels * self.kernel, channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_NCYX: Tensor, latent_frames: int) -> Tensor:
        h_BFYXC = rearrange(self.norm(x_NCYX), "(b f) c y x -> b f y x c", f=latent_frames)
        past = [h_BFYXC]
        for lag in range(1, self.kernel):
            # Before the first frame stands the first frame: a still past, not a black one.
            first = h_BFYXC[:, :1].expand(-1, min(lag, latent_frames), -1, -1, -1)
            past.append(torch.cat([first, h_BFYXC[:, : max(latent_frames - lag, 0)]], dim=1))
        mixed_BFYXC = self.out(nn.functional.silu(self.mix(torch.cat(past, dim=-1))))
        return x_NCYX + rearrange(mixed_BFYXC, "b f y x c -> (b f) c y x")


class Stage(nn.Module):
    """Residual blocks at one resolution, with or without mixing over time in front."""

    def __init__(self, channels: int, blocks: int, time_mix: bool):
        super().__init__()
        self.time_mix = CausalTimeMix(channels) if time_mix else None
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))

    def forward(self, x_NCYX: Tensor, latent_frames: int) -> Tensor:
        if self.time_mix is not None:
            x_NCYX = self.time_mix(x_NCYX, latent_frames)
        for block in self.blocks:
            x_NCYX = block(x_NCYX)
        return x_NCYX


class PocketVideoVAE(ModelMixin, ConfigMixin):
    """Variational autoencoder of video with the interface of diffusers' video autoencoders.

    encode: (B, 3, T, H, W) in [-1, 1] -> latent distribution (B, 32, k + 1, H / 16, W / 16), for T = 4k + 1.
    decode: the reverse, in [-1, 1] (not clamped). H and W are multiples of 16.
    """

    _supports_gradient_checkpointing = False
    temporal_compression_ratio: ClassVar = GROUP
    spatial_compression_ratio: ClassVar = 16

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 32,
        encoder_channels: tuple[int, int, int] = (64, 128, 160),
        encoder_blocks: tuple[int, int, int] = (2, 1, 1),
        decoder_channels: tuple[int, int, int] = (96, 128, 192),
        decoder_blocks: tuple[int, int, int] = (3, 2, 1),
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
    ):
        super().__init__()
        pixels = 3 * GROUP * PATCH * PATCH
        e4, e8, e16 = encoder_channels
        d4, d8, d16 = decoder_channels
        self.encoder = nn.ModuleDict(
            {
                "enter": nn.Conv2d(pixels, e4, 3, padding=1),
                "stage4": Stage(e4, encoder_blocks[0], time_mix=False),
                "down8": nn.Conv2d(e4, e8, 2, stride=2),
                "stage8": Stage(e8, encoder_blocks[1], time_mix=False),
                "down16": nn.Conv2d(e8, e16, 2, stride=2),
                "stage16": Stage(e16, encoder_blocks[2], time_mix=True),
                "leave": nn.Conv2d(e16, 2 * latent_channels, 1),
            }
        )
        self.decoder = nn.ModuleDict(
            {
                "enter": nn.Conv2d(latent_channels, d16, 3, padding=1),
                "stage16": Stage(d16, decoder_blocks[2], time_mix=True),
                "up8": nn.Conv2d(d16, 4 * d8, 1),
                "stage8": Stage(d8, decoder_blocks[1], time_mix=True),
                "up4": nn.Conv2d(d8, 4 * d4, 1),
                "stage4": Stage(d4, decoder_blocks[0], time_mix=False),
                "leave": nn.Conv2d(d4, pixels, 3, padding=1),
            }
        )

    @apply_forward_hook
    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple:
        frames = x.shape[2]
        if (frames - 1) % GROUP or x.shape[3] % 16 or x.shape[4] % 16:
            raise ValueError(f"video of {tuple(x.shape[2:])} frames x height x width: need 4k+1 and multiples of 16")
        latent_frames = (frames - 1) // GROUP + 1
        groups = torch.cat([x[:, :, :1].expand(-1, -1, GROUP - 1, -1, -1), x], dim=2)
        pattern = "b c (f g) (y p) (x q) -> (b f) (c g p q) y x"
        h = rearrange(groups, pattern, g=GROUP, p=PATCH, q=PATCH).contiguous(memory_format=torch.channels_last)
        e = self.encoder
        h = e["stage4"](e["enter"](h), latent_frames)
        h = e["stage8"](e["down8"](h), latent_frames)
        h = e["stage16"](e["down16"](h), latent_frames)
        moments = rearrange(e["leave"](h), "(b f) c y x -> b c f y x", f=latent_frames)
        posterior = DiagonalGaussianDistribution(moments)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    @apply_forward_hook
    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple:
        latent_frames = z.shape[2]
        h = rearrange(z, "b c f y x -> (b f) c y x").contiguous(memory_format=torch.channels_last)
        d = self.decoder
        h = d["stage16"](d["enter"](h), latent_frames)
        h = d["stage8"](nn.functional.pixel_shuffle(d["up8"](h), 2), latent_frames)
        h = d["stage4"](nn.functional.pixel_shuffle(d["up4"](h), 2), latent_frames)
        pattern = "(b f) (c g p q) y x -> b c (f g) (y p) (x q)"
        groups = rearrange(d["leave"](h), pattern, f=latent_frames, g=GROUP, p=PATCH, q=PATCH)
        video = groups[:, :, GROUP - 1 :]
        return DecoderOutput(sample=video) if return_dict else (video,)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).latent_dist.mode()).sample


@dataclass
class VideoCodec:
    """Adapter around a causal video autoencoder: owns normalisation, layout and latent-shape arithmetic.

    vae: any class with `encode(x).latent_dist`, `decode(z).sample` on (B, 3, T, H, W) in [-1, 1], and a config that
    says how its latents come to unit variance: `latents_mean` and `latents_std` per channel, or one `scaling_factor`.
    patch: latent positions per token, in height and in width (`nn/patches.py`); N, Y, X and C of shapes count tokens.
    """

    vae: ModelMixin
    patch: int = 1

    def __post_init__(self) -> None:
        # One video at a time: less memory, and HunyuanVideo-1.5's class cannot take two (diffusers 0.42.1: the mask of
        # its attention lacks an axis).
        if hasattr(self.vae, "use_slicing"):
            self.vae.enable_slicing()

    @property
    def temporal_factor(self) -> int:
        """Frames per latent frame, after the first."""
        # Wan keeps its factors and channels in its config, under names of its own.
        return self.vae.config.get("scale_factor_temporal") or self.vae.temporal_compression_ratio

    @property
    def spatial_factor(self) -> int:
        """Pixels per token, in height and in width."""
        return self.patch * (self.vae.config.get("scale_factor_spatial") or self.vae.spatial_compression_ratio)

    @property
    def latent_channels(self) -> int:
        """Of a token."""
        return self.patch**2 * (self.vae.config.get("z_dim") or self.vae.config.latent_channels)

    @property
    def tiling(self) -> bool:
        """Work in overlapping tiles: less memory, not exactly the same pixels. Raises ValueError where it cannot."""
        return getattr(self.vae, "use_tiling", False)

    @tiling.setter
    def tiling(self, on: bool) -> None:
        if not hasattr(self.vae, "use_tiling"):
            raise ValueError(f"tiling: {type(self.vae).__name__} works in one piece and has no tiles to switch on")
        self.vae.enable_tiling() if on else self.vae.disable_tiling()

    def shape(self, frames: int, height: int, width: int, fps: Fraction) -> VideoShape:
        """Latent shape of a video; raises ValueError where the codec could not take it."""
        group, side = self.temporal_factor, self.spatial_factor
        if frames < 1 or height < 1 or width < 1 or (frames - 1) % group or height % side or width % side:
            raise ValueError(
                f"{frames} x {height} x {width}: need {group}k+1 frames, height and width multiples of {side}"
            )
        return VideoShape(
            frames=frames,
            height=height,
            width=width,
            fps=fps,
            latent_frames=latent_frames(frames, group),
            latent_height=height // side,
            latent_width=width // side,
            latent_channels=self.latent_channels,
        )

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the VAE's latents, ready to meet (B, C, F, Y, X)."""
        config = self.vae.config
        if "scaling_factor" in config:
            return like.new_zeros(()), like.new_tensor(1 / config.scaling_factor)
        if config.latents_mean is None or config.latents_std is None:
            raise ValueError("this video autoencoder has no latent statistics: train it to the end, or set them")
        mean, std = (
            like.new_tensor(values)[:, None, None, None] for values in (config.latents_mean, config.latents_std)
        )
        return mean, std

    @torch.no_grad()
    def encode(
        self,
        frames_BTHWC: Tensor,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """uint8 frames (B, T, H, W, 3) -> float32 latents (B, F * Y * X, C), about unit variance.

        The mean of the posterior, or with a generator a sample of it. device: where the VAE computes; by default where
        its weights are (they lie elsewhere while it is offloaded). Raises ValueError for sizes it cannot take.
        """
        self.shape(*frames_BTHWC.shape[1:4], Fraction(1))
        parameter = next(self.vae.parameters())
        x = frames_BTHWC.to(device or parameter.device)
        x = rearrange(x, "b t h w c -> b c t h w").to(parameter.dtype) / 127.5 - 1
        posterior = self.vae.encode(x).latent_dist
        z_BCFYX = (posterior.mode() if generator is None else posterior.sample(generator)).float()
        mean, std = self._statistics(z_BCFYX)
        return tokens_from_latents((z_BCFYX - mean) / std, self.patch)

    @torch.no_grad()
    def decode(self, latents_BNC: Tensor, shape: VideoShape, device: torch.device | str | None = None) -> Tensor:
        """Normalised latents (B, F * Y * X, C) -> uint8 frames (B, T, H, W, 3). device: as in `encode`."""
        parameter = next(self.vae.parameters())
        z_BCFYX = self.for_vae(latents_BNC, shape)
        x = self.vae.decode(z_BCFYX.to(device or parameter.device, parameter.dtype)).sample.float()
        frames = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return rearrange(frames, "b c t h w -> b t h w c")

    def for_vae(self, latents_BNC: Tensor, shape: VideoShape) -> Tensor:
        """Normalised latents as the VAE has them, float32 (B, C, F, Y, X)."""
        z_BCFYX = latents_from_tokens(latents_BNC.float(), shape.latent_frames, shape.latent_height, self.patch)
        mean, std = self._statistics(z_BCFYX)
        return z_BCFYX * std + mean
