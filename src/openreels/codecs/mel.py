"""Log-mel analysis of 16 kHz sound: the one front end that the audio VAE, the vocoder and their training share.

Shape legend (audio files of this package):
    B batch   S samples   M mel bands   T mel frames   N audio tokens   C latent channels   K bins of the short-time
    spectrum   W samples of a window   D width
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["MelSpec", "band_edges", "hann_window", "log_mel", "magnitude", "mel_filters", "mel_to_envelope"]


@dataclass(frozen=True)
class MelSpec:
    """Everything that fixes a log-mel picture.

    sample_rate: Hz. n_fft, hop: samples; frame j is centred on sample (j + 1/2) * hop, so `S` samples give exactly
    S / hop frames and a token of four frames covers exactly its own 1,000 samples. bands: 0 Hz to half the rate.
    floor: amplitude (a full-scale sine is 1) that silence is raised to. shift, scale: the affine map of the natural
    logarithm; fixed numbers rather than data statistics, so VAE and vocoder agree without sharing state.
    """

    sample_rate: int = 16_000
    n_fft: int = 1_000
    hop: int = 250
    bands: int = 64
    floor: float = 1e-4
    shift: float = -4.9
    scale: float = 2.2

    def __post_init__(self) -> None:
        if self.n_fft % (2 * self.hop):
            raise ValueError(f"n_fft must be a multiple of twice the hop; got n_fft={self.n_fft}, hop={self.hop}.")

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def silence(self) -> float:
        """The normalised value of digital silence, the smallest that occurs."""
        return (math.log(self.floor) - self.shift) / self.scale

    @property
    def full_scale(self) -> float:
        """Magnitude that a sine of amplitude 1 has at its peak in a Hann-windowed spectrum."""
        return self.n_fft / 4


def _hz_to_mel(hz: Tensor) -> Tensor:
    """Slaney's scale: linear below 1 kHz (voices' harmonics stay evenly resolved there), logarithmic above."""
    return torch.where(hz < 1000, hz * 3 / 200, 15 + torch.log(hz.clamp(min=1) / 1000) * 27 / math.log(6.4))


def _mel_to_hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))


@lru_cache(maxsize=16)
def band_edges(spec: MelSpec) -> Tensor:
    """Corners of the triangular bands in Hz, (M + 2): band m rises from edge m, peaks at m + 1, ends at m + 2."""
    top = _hz_to_mel(torch.tensor(spec.sample_rate / 2, dtype=torch.float64))
    return _mel_to_hz(torch.linspace(0, 1, spec.bands + 2, dtype=torch.float64) * top)


def _triangles(spec: MelSpec) -> Tensor:
    edges = band_edges(spec)
    bins = torch.linspace(0, spec.sample_rate / 2, spec.bins, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)


# Filters and windows are cached functions, not buffers: buffers would be rounded when a model is cast to bf16.
@lru_cache(maxsize=16)
def mel_filters(spec: MelSpec, device: torch.device) -> Tensor:
    """(K, M) float32; each band is a weighted mean of its bins, so levels do not depend on band width."""
    triangles = _triangles(spec)
    return (triangles / triangles.sum(1, keepdim=True)).T.contiguous().float().to(device)


@lru_cache(maxsize=16)
def _spread(spec: MelSpec, device: torch.device) -> Tensor:
    """(M, K) float32: linear interpolation of band levels back onto bins."""
    triangles = _triangles(spec)
    # Bins outside all triangles (0 Hz and half the rate) belong to the outermost bands.
    triangles[0, 0] = triangles[-1, -1] = 1
    return (triangles / triangles.sum(0, keepdim=True)).float().to(device)


@lru_cache(maxsize=32)
def hann_window(size: int, device: torch.device) -> Tensor:
    return torch.hann_window(size, device=device)


def magnitude(audio_BS: Tensor, n_fft: int, hop: int) -> Tensor:
    """Magnitudes (B, K, T) of the Hann-windowed spectrum; a full-scale sine peaks at 1. T = S / hop exactly."""
    edge = (n_fft - hop) // 2
    audio_BS = torch.nn.functional.pad(audio_BS[:, None], (edge, n_fft - hop - edge), mode="reflect")[:, 0]
    # Unfold and rfft rather than torch.stft: the same numbers, a cheaper backward pass.
    spectrum_BTK = torch.fft.rfft(audio_BS.unfold(1, n_fft, hop) * hann_window(n_fft, audio_BS.device))
    return (spectrum_BTK.abs() * (4 / n_fft)).transpose(1, 2)


def log_mel(audio_BS: Tensor, spec: MelSpec) -> Tensor:
    """Normalised log-mel picture of a waveform.

    audio_BS: float32 in [-1, 1], S a multiple of the hop. Returns (B, M, S / hop), from `spec.silence` to about 2.
    """
    if audio_BS.shape[1] % spec.hop:
        raise ValueError(f"audio must hold a multiple of {spec.hop} samples; got {audio_BS.shape[1]}.")
    mel_BTM = magnitude(audio_BS.float(), spec.n_fft, spec.hop).transpose(1, 2) @ mel_filters(spec, audio_BS.device)
    return ((torch.log(mel_BTM + spec.floor) - spec.shift) / spec.scale).transpose(1, 2)


def mel_to_envelope(mel_BMT: Tensor, spec: MelSpec) -> Tensor:
    """Amplitude per spectrum bin, (B, T, K), that a normalised log-mel picture speaks of (its smooth envelope)."""
    level_BMT = torch.exp(mel_BMT.float().clamp(max=3.0) * spec.scale + spec.shift) - spec.floor
    return level_BMT.clamp(min=1e-8).transpose(1, 2) @ _spread(spec, mel_BMT.device)
