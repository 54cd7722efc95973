"""Audio codec: waveforms to and from normalised latent tokens, and the pocket audio VAE.

The pocket codec makes exactly one token of 1,000 samples at 16 kHz, one video frame at 16 fps. Its classes are called
like diffusers' `MMAudioVAE` and `MMAudioVocoder` (44.1 kHz, 1,024 samples a token); one adapter drives both pairs. The
pocket does not use `MMAudioVAE` at a tiny config: its front end has no frame shorter than half a token (31 ms), its
attention spreads every sound over the whole clip, and a step costs several times as much here; a tiny `MMAudioVocoder`
takes seconds a step on a CPU.

At 44.1 kHz a clip is no whole number of tokens: it has the nearest (the paper's 81 frames at 16 fps: 218.02, so 218).
What is up to half a token too long is cut, what is too short completed with silence.

Shape legend: see `mel.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_mmaudio import MMAudioVAE
from diffusers.models.autoencoders.mmaudio_vocoder import MMAudioVocoder
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from torch import Tensor, nn

from openreels.codecs.mel import MelSpec, log_mel
from openreels.codecs.vocoder import PocketVocoder
from openreels.media.timing import audio_tokens
from openreels.types import AudioShape

__all__ = ["AudioCodec", "MMAudioCodec", "PocketAudioCodec", "PocketAudioVAE"]


class PointwiseBlock(nn.Module):
    """Residual MLP on one token. RMS norm over channels: statistics across time would undo locality."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, hidden)
        self.project = nn.Linear(hidden, width)

    def forward(self, hidden_BND: Tensor) -> Tensor:
        return hidden_BND + self.project(nn.functional.silu(self.expand(self.norm(hidden_BND))))


class TokenConv(nn.Module):
    """Convolution over three tokens; the clip's edge tokens are repeated outwards (zero would be a loud value)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * inputs, outputs)

    def forward(self, hidden_BND: Tensor) -> Tensor:
        before = torch.cat([hidden_BND[:, :1], hidden_BND[:, :-1]], dim=1)
        after = torch.cat([hidden_BND[:, 1:], hidden_BND[:, -1:]], dim=1)
        return self.mix(torch.cat([before, hidden_BND, after], dim=2))


class PocketAudioVAE(ModelMixin, ConfigMixin):
    """Variational autoencoder of log-mel pictures, one token per `frames_per_token` mel frames.

    Called like diffusers' `MMAudioVAE`: `encode` takes the waveform, `decode` gives the mel picture for the vocoder.
    One convolution over three tokens on each side, the rest pointwise: a sound in token k touches latents k-2..k+2
    (k+-1 through the analysis window) and mostly k.

    Args:
        mel_bins: bands. latent_channels: C. sample_rate: Hz. n_fft, hop_length: samples. frames_per_token: mel frames.
        mel_floor, mel_shift, mel_scale: normalisation of the picture, see `MelSpec`.
        width, hidden, encoder_layers, decoder_layers: size of the network.
        latents_mean, latents_std: per channel, measured after training; the adapter normalises with them.
    """

    _no_split_modules = ("PointwiseBlock",)

    @register_to_config
    def __init__(
        self,
        mel_bins: int = 64,
        latent_channels: int = 20,
        sample_rate: int = 16_000,
        n_fft: int = 1_000,
        hop_length: int = 250,
        frames_per_token: int = 4,
        mel_floor: float = MelSpec.floor,
        mel_shift: float = MelSpec.shift,
        mel_scale: float = MelSpec.scale,
        width: int = 192,
        hidden: int = 384,
        encoder_layers: int = 2,
        decoder_layers: int = 2,
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.spec = MelSpec(sample_rate, n_fft, hop_length, mel_bins, mel_floor, mel_shift, mel_scale)
        self.latent_hop_length = hop_length * frames_per_token
        picture = mel_bins * frames_per_token
        self.encoder = nn.Sequential(
            TokenConv(picture, width),
            *(PointwiseBlock(width, hidden) for _ in range(encoder_layers)),
            nn.RMSNorm(width, eps=1e-6),
            nn.Linear(width, 2 * latent_channels),
        )
        self.decoder = nn.Sequential(
            TokenConv(latent_channels, width),
            *(PointwiseBlock(width, hidden) for _ in range(decoder_layers)),
            nn.RMSNorm(width, eps=1e-6),
            nn.Linear(width, picture),
        )

    def encode_mel(self, mel: Tensor) -> DiagonalGaussianDistribution:
        """mel: (B, M, N * frames_per_token) normalised. Returns the posterior of the latents (B, C, N)."""
        picture_BNP = mel.unflatten(2, (-1, self.config.frames_per_token)).permute(0, 2, 3, 1).flatten(2)
        moments_BN2C = self.encoder(picture_BNP.to(self.dtype))
        return DiagonalGaussianDistribution(moments_BN2C.transpose(1, 2))

    @apply_forward_hook
    def encode(self, audio: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple:
        """audio: (B, S) mono waveform in [-1, 1], S a multiple of `latent_hop_length`."""
        posterior = self.encode_mel(log_mel(audio, self.spec))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    @apply_forward_hook
    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple:
        """z: (B, C, N) latents, not normalised. Returns `sample`: (B, M, N * frames_per_token) normalised log-mel."""
        picture_BNP = self.decoder(z.transpose(1, 2).to(self.dtype))
        mel_BMT = picture_BNP.unflatten(2, (self.config.frames_per_token, -1)).permute(0, 3, 1, 2).flatten(2)
        return DecoderOutput(sample=mel_BMT) if return_dict else (mel_BMT,)

    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> DecoderOutput | tuple:
        """sample: (B, S) waveform. Returns the mel picture after the round trip, (B, M, T)."""
        posterior = self.encode(sample).latent_dist
        return self.decode(posterior.sample(generator) if sample_posterior else posterior.mode(), return_dict)


class AudioCodec:
    """A VAE and its vocoder as one codec: owns normalisation and the arithmetic between samples and tokens.

    vae: `encode(audio).latent_dist`, `decode(z).sample`, `latent_hop_length`. vocoder: called on mel, gives `sample`.
    channels: of the sound, K. Both networks know one: each channel passes through them by itself, and the K latents of
    a token stand one behind the other, so a second channel costs width and no tokens.
    """

    vae_class: ClassVar[type[ModelMixin]]
    vocoder_class: ClassVar[type[ModelMixin]]

    def __init__(self, vae: ModelMixin, vocoder: ModelMixin, channels: int = 1) -> None:
        if channels < 1:
            raise ValueError(f"channels of a sound must be 1 (mono) or more, not {channels}")
        self.vae = vae.eval()
        self.vocoder = vocoder.eval()
        self.channels = channels

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.vae.config.sample_rate

    @property
    def samples_per_token(self) -> int:
        return self.vae.latent_hop_length

    @property
    def latent_channels(self) -> int:
        """K times the VAE's."""
        return self.channels * self.vae.config.latent_channels

    def tokens_for(self, samples: int) -> int:
        """Tokens that hold `samples` samples; the last one may be part silence."""
        return -(-samples // self.samples_per_token)

    def shape(self, samples: int) -> AudioShape:
        return AudioShape(samples, self.sample_rate, self.tokens_for(samples), self.latent_channels)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the VAE's latents, each (C,) or one number."""
        raise NotImplementedError

    @torch.no_grad()
    def encode(self, audio_BS: Tensor, device: torch.device | str | None = None) -> Tensor:
        """Float32 waveform in [-1, 1] -> float32 latents (B, N, K * C), about unit variance. Deterministic (mode).

        audio_BS: (B, S), or (B, K, S) where K > 1; mono stands for all channels. N = `tokens_for(S)`.
        device: where the VAE computes; by default where its weights are (they lie elsewhere while it is offloaded).
        """
        if audio_BS.ndim == 2 and self.channels > 1:
            audio_BS = audio_BS[:, None].expand(-1, self.channels, -1)
        middle = (self.channels,) if self.channels > 1 else ()
        if audio_BS.ndim < 2 or audio_BS.shape[1:-1] != middle or not audio_BS.shape[-1]:
            accepted = "(batch, samples), mono" if self.channels == 1 else f"(batch, {self.channels}, samples) or mono"
            raise ValueError(f"audio must be {accepted} and not empty; got shape {tuple(audio_BS.shape)}.")
        samples = audio_BS.shape[-1]
        parameter = next(self.vae.parameters())
        mono_BS = audio_BS.reshape(-1, samples).to(device or parameter.device, torch.float32)
        missing = self.tokens_for(samples) * self.samples_per_token - samples
        mono_BS = nn.functional.pad(mono_BS, (0, missing))  # less than 0 cuts
        z_BNC = self.vae.encode(mono_BS).latent_dist.mode().float().transpose(1, 2)
        mean_C, std_C = self._statistics(z_BNC)
        return rearrange((z_BNC - mean_C) / std_C, "(b k) n c -> b n (k c)", k=self.channels)

    @torch.no_grad()
    def decode(
        self, latents_BNC: Tensor, samples: int | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """Normalised latents (B, N, K * C) -> float32 waveform inside [-1, 1]. Deterministic.

        Gives (B, S), or (B, K, S) where K > 1. samples: S, cut or completed with silence; by default all of
        N * `samples_per_token`. device: as in `encode`.
        """
        z_BNC = rearrange(latents_BNC.float(), "b n (k c) -> (b k) n c", k=self.channels)
        mean_C, std_C = self._statistics(z_BNC)
        parameter = next(self.vae.parameters())
        z_BCN = (z_BNC * std_C + mean_C).transpose(1, 2).to(device or parameter.device, parameter.dtype)
        mel_BMT = self.vae.decode(z_BCN).sample
        parameter = next(self.vocoder.parameters())
        audio_BS = self.vocoder(mel_BMT.to(device or parameter.device, parameter.dtype)).sample[:, 0].float()
        if samples is not None:
            audio_BS = nn.functional.pad(audio_BS, (0, samples - audio_BS.shape[1]))
        return audio_BS if self.channels == 1 else audio_BS.unflatten(0, (-1, self.channels))

    def to(self, *args, **kwargs) -> Self:
        self.vae.to(*args, **kwargs)
        self.vocoder.to(*args, **kwargs)
        return self

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Writes `audio_vae/` and `vocoder/` (safetensors and config.json) into `folder`.

        dtype: precision of the stored weights, for example `torch.bfloat16`; the codec itself keeps its own.
        """
        for name, model in (("audio_vae", self.vae), ("vocoder", self.vocoder)):
            if dtype is not None:
                weights = {key: value.to(dtype) for key, value in model.state_dict().items()}
                model = type(model).from_config(model.config).to(dtype)
                model.load_state_dict(weights)
            model.save_pretrained(Path(folder) / name)

    @classmethod
    def from_pretrained(cls, folder: str | Path, torch_dtype: torch.dtype | None = None) -> Self:
        """Reads what `save_pretrained` wrote. torch_dtype: precision to compute in; None = float32."""
        dtype = torch_dtype or torch.float32
        return cls(
            cls.vae_class.from_pretrained(Path(folder) / "audio_vae", torch_dtype=dtype),
            cls.vocoder_class.from_pretrained(Path(folder) / "vocoder", torch_dtype=dtype),
        )


class PocketAudioCodec(AudioCodec):
    """16 kHz, 1,000 samples a token: F frames at 16 fps are F tokens and F * 1,000 samples."""

    vae_class = PocketAudioVAE
    vocoder_class = PocketVocoder

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = self.vae.config.latents_mean, self.vae.config.latents_std
        if mean is None or std is None:
            raise ValueError("this audio VAE has no latent statistics: train it to the end, or set them in its config.")
        return like.new_tensor(mean), like.new_tensor(std)


class MMAudioCodec(AudioCodec):
    """44.1 kHz, 1,024 samples a token: diffusers' `MMAudioVAE` and `MMAudioVocoder`, for the full-size presets.

    The VAE's spectrum reflects 768 samples at either end, so it takes one token of sound or more; its attention sees
    the whole clip, its latents have the mode in `latent_dist` and unit variance after `scaling_factor`.
    """

    vae_class = MMAudioVAE
    vocoder_class = MMAudioVocoder

    def __init__(self, vae: MMAudioVAE, vocoder: MMAudioVocoder, channels: int = 1) -> None:
        super().__init__(vae, vocoder, channels)
        self.vae.mel_converter.float()  # a spectrum exists in float32 alone (torch.stft), whatever the networks take

    def to(self, *args, **kwargs) -> Self:
        super().to(*args, **kwargs)
        self.vae.mel_converter.float()
        return self

    def tokens_for(self, samples: int) -> int:
        """The nearest whole number, at least one."""
        return audio_tokens(samples, self.samples_per_token)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_zeros(()), like.new_tensor(1 / self.vae.config.scaling_factor)
