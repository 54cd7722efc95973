"""Video codec: frames <-> normalised latents, 4 frames x 16 x 16 pixels to one position of 32 channels.

`PocketVideoVAE` has the geometry, the causality and the interface of `AutoencoderKLHunyuanVideo15` (which the full
preset uses) but works on pixel-shuffled groups of four frames: on two CPU cores the library's class, with its 3D
convolutions at full resolution, trains an order of magnitude slower (figures in docs/log.md).

Notable features
    - the first frame is a group of its own (a still image is a video of one frame);
    - causal in time: latent frame f depends on frames up to 4 f only, so a prefix of a video encodes to a prefix;
    - all heavy work happens at 1/4 resolution and below.

Shape legend: B batch, T = 4 (F - 1) + 1 frames, F latent frames, H W pixels, Y X latent rows and columns, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from einops import rearrange
from torch import Tensor, nn

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

    vae: any class with `encode(x).latent_dist`, `decode(z).sample` and config `latents_mean`, `latents_std`.
    """

    vae: PocketVideoVAE
    temporal_factor: int = 4
    spatial_factor: int = 16

    def shape(self, frames: int, height: int, width: int, fps: Fraction) -> VideoShape:
        """Latent shape of a video; raises ValueError where the codec could not take it."""
        if (frames - 1) % self.temporal_factor or height % self.spatial_factor or width % self.spatial_factor:
            raise ValueError(f"{frames} x {height} x {width}: need 4k+1 frames, height and width multiples of 16")
        return VideoShape(
            frames=frames,
            height=height,
            width=width,
            fps=fps,
            latent_frames=(frames - 1) // self.temporal_factor + 1,
            latent_height=height // self.spatial_factor,
            latent_width=width // self.spatial_factor,
            latent_channels=self.vae.config.latent_channels,
        )

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = self.vae.config.latents_mean, self.vae.config.latents_std
        if mean is None or std is None:
            raise ValueError("this video autoencoder has no latent statistics: train it to the end, or set them")
        return like.new_tensor(mean), like.new_tensor(std)

    @torch.no_grad()
    def encode(self, frames_BTHWC: Tensor) -> Tensor:
        """uint8 frames (B, T, H, W, 3) -> float32 latents (B, F * Y * X, C), about unit variance; no sampling."""
        parameter = next(self.vae.parameters())
        x = rearrange(frames_BTHWC.to(parameter.device), "b t h w c -> b c t h w").to(parameter.dtype) / 127.5 - 1
        z_BNC = rearrange(self.vae.encode(x).latent_dist.mode().float(), "b c f y x -> b (f y x) c")
        mean_C, std_C = self._statistics(z_BNC)
        return (z_BNC - mean_C) / std_C

    @torch.no_grad()
    def decode(self, latents_BNC: Tensor, shape: VideoShape) -> Tensor:
        """Normalised latents (B, F * Y * X, C) -> uint8 frames (B, T, H, W, 3)."""
        parameter = next(self.vae.parameters())
        mean_C, std_C = self._statistics(latents_BNC.float())
        z = rearrange(
            latents_BNC.float() * std_C + mean_C,
            "b (f y x) c -> b c f y x",
            f=shape.latent_frames,
            y=shape.latent_height,
        )
        x = self.vae.decode(z.to(parameter)).sample.float()
        frames = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return rearrange(frames, "b c t h w -> b t h w c")
