"""The pocket vocoder: normalised log-mel pictures to waveforms, on a CPU, hundreds of times faster than real time.

Like Vocos (Siuzdak 2023, arXiv 2306.00814) it predicts short-time spectra with ConvNeXt blocks at mel rate and leaves
the waveform to the inverse transform. Vocos alone maps a constant picture to the same spectrum in every frame, so it
can neither hold a steady tone (whose phase must advance) nor steady noise (whose phase must not repeat): both are the
rule in a synthesised world. So the spectrum is a sum of three parts, each with a gain that the network predicts:
    tones    one oscillator per mel band; its frequency is predicted, its phase accumulates from frame to frame
    noise    the spectrum of a fixed white noise
    the rest magnitude and phase per bin, as in Vocos: attacks and what the others leave
Frames are 62.5 ms long, an attack is 2 ms; so tones and noise also get a loudness every 1.6 ms, which keeps them quiet
before a hit. Steady tones drawn by oscillators and shaped noise follow DDSP (Engel et al. 2020, arXiv 2001.04643).

Shape legend: see `mel.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from openreels.codecs.mel import MelSpec, band_edges, hann_window, mel_to_envelope

__all__ = ["PocketVocoder", "VocoderParts", "overlap_add", "soft_limit", "white_noise"]

# Bins on either side of an oscillator's peak that receive its main lobe; Hann side lobes beyond are below -40 dB.
_LOBE = 3
# Steps of the fine loudness in one hop; and its bounds in nepers: it mutes what would sound too early, it hardly lifts.
_STEPS = 10
_LOUDNESS = (-8.0, 1.5)
_LIMIT_KNEE = 0.9


def soft_limit(audio: Tensor) -> Tensor:
    """Identity up to 0.9, then bent smoothly so that the result stays inside (-1, 1) without clipping."""
    over = (audio.abs() - _LIMIT_KNEE).clamp(min=0)
    room = 1 - _LIMIT_KNEE
    # 0.999: float32 rounds tanh of a large number to exactly 1, which 16-bit writers would then wrap or clip.
    bent = _LIMIT_KNEE + 0.999 * room * torch.tanh(over / room)
    return torch.where(over > 0, audio.sign() * bent, audio)


def white_noise(samples: int, start: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """White noise, (S,) float32, uniform in [-1, 1), a pure function of the sample index.

    An integer hash instead of a generator: the same on every device, and a longer clip begins like a shorter one.
    """
    state = torch.arange(start, start + samples, dtype=torch.int64, device=device) + 0x9E3779B9
    for multiplier in (0x7FEB352D, 0x846CA68B):  # "lowbias32" by Chris Wellons, in 64-bit arithmetic
        state = ((state ^ (state >> 16)) * multiplier) & 0xFFFFFFFF
    state = state ^ (state >> 16)
    return state.float() / 2**31 - 1


def overlap_add(frames_BTW: Tensor, hop: int) -> Tensor:
    """Adds windows `hop` samples apart: (B, T, W) to (B, (T - 1) * hop + W). W must be a multiple of hop."""
    batch, frames, width = frames_BTW.shape
    parts = frames_BTW.unflatten(2, (width // hop, hop))
    total = frames_BTW.new_zeros(batch, frames + width // hop - 1, hop)
    for index in range(width // hop):
        total[:, index : index + frames] += parts[:, :, index]
    return total.flatten(1)


@dataclass(frozen=True)
class VocoderParts:
    """What the network says of each frame, before synthesis.

    tone_BTM: oscillator amplitudes. frequency_BTM: their frequencies in Hz. noise_BTK: amplitude of the noise per bin.
    rest_BTK: complex rest spectrum (a full-scale sine is 1). loudness_2BTG: fine loudness of tones and of noise,
    natural logarithm of a gain, G steps in each hop.
    """

    tone_BTM: Tensor
    frequency_BTM: Tensor
    noise_BTK: Tensor
    rest_BTK: Tensor
    loudness_2BTG: Tensor


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a pointwise MLP; residual with a learned scale per channel."""

    def __init__(self, width: int, hidden: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.project = nn.Linear(hidden, width)
        self.gain = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        mixed_BTD = self.norm(self.depthwise(hidden_BTD.transpose(1, 2)).transpose(1, 2))
        return hidden_BTD + self.gain * self.project(F.gelu(self.expand(mixed_BTD), approximate="tanh"))


class PocketVocoder(ModelMixin, ConfigMixin):
    """Mel to waveform; called like diffusers' `MMAudioVocoder`.

    Args:
        num_mels: mel bands. sample_rate: Hz. n_fft, hop_length: samples of a frame and between frames.
        mel_floor, mel_shift, mel_scale: how the mel pictures are normalised, see `MelSpec`.
        width, layers, hidden: the ConvNeXt stack. kernel_size: mel frames each block sees.
    """

    _no_split_modules = ("ConvNeXtBlock",)

    @register_to_config
    def __init__(
        self,
        num_mels: int = 64,
        sample_rate: int = 16_000,
        n_fft: int = 1_000,
        hop_length: int = 250,
        mel_floor: float = MelSpec.floor,
        mel_shift: float = MelSpec.shift,
        mel_scale: float = MelSpec.scale,
        width: int = 128,
        layers: int = 6,
        hidden: int = 384,
        kernel_size: int = 7,
    ) -> None:
        super().__init__()
        self.spec = MelSpec(sample_rate, n_fft, hop_length, num_mels, mel_floor, mel_shift, mel_scale)
        self.embed = nn.Conv1d(num_mels, width, kernel_size)
        self.norm_in = nn.LayerNorm(width)
        self.blocks = nn.ModuleList([ConvNeXtBlock(width, hidden, kernel_size) for _ in range(layers)])
        self.norm_out = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 2 * num_mels + 3 * self.spec.bins + 2 * _STEPS)
        with torch.no_grad():
            # Starts as shaped noise with quiet tones and a quieter rest, already at the right level everywhere.
            self.leave.weight.mul_(0.1)
            self.leave.bias.zero_()
            self.leave.bias[:num_mels] = -1.0
            self.leave.bias[2 * num_mels + self.spec.bins : 2 * num_mels + 2 * self.spec.bins] = -2.0

    def parts(self, mel_BMT: Tensor) -> VocoderParts:
        """The network alone. mel_BMT: normalised log-mel picture."""
        spec, half = self.spec, self.config.kernel_size // 2
        # Repeating the edge, not zeros: zero is a loud value of the normalised picture.
        padded_BMT = F.pad(mel_BMT.to(self.embed.weight.dtype), (half, half), mode="replicate")
        hidden_BTD = self.norm_in(self.embed(padded_BMT).transpose(1, 2))
        for block in self.blocks:
            hidden_BTD = block(hidden_BTD)
        out_BTX = self.leave(self.norm_out(hidden_BTD)).float()
        sizes = [spec.bands, spec.bands, spec.bins, spec.bins, spec.bins, 2 * _STEPS]
        tone, bend, noise, rest, phase, loudness = out_BTX.split(sizes, dim=2)

        envelope_BTK = mel_to_envelope(mel_BMT, spec)
        edges = band_edges(spec).float().to(mel_BMT.device)
        level_BTM = (torch.exp(mel_BMT.float().clamp(max=3.0) * spec.scale + spec.shift) - spec.floor).clamp(min=1e-8)
        # An oscillator may bend over its own triangle: two neighbours reach every frequency between them.
        frequency_BTM = edges[1:-1] + torch.tanh(bend) * (edges[2:] - edges[:-2]) / 2
        return VocoderParts(
            tone_BTM=level_BTM.transpose(1, 2) * torch.exp(tone.clamp(max=3.0)),
            frequency_BTM=frequency_BTM.clamp(min=20.0, max=spec.sample_rate / 2 - 20.0),
            noise_BTK=envelope_BTK * torch.exp(noise.clamp(max=3.0)),
            rest_BTK=torch.polar(envelope_BTK * torch.exp(rest.clamp(max=3.0)), phase),
            loudness_2BTG=torch.stack(loudness.clamp(*_LOUDNESS).chunk(2, dim=2)),
        )

    def tones(self, tone_BTM: Tensor, frequency_BTM: Tensor) -> Tensor:
        """Spectrum (B, T, K) of the oscillators, centred frames; differentiable in the amplitudes only.

        A gradient through accumulated phase is chaotic, so frequencies learn from their own, direct target.
        """
        spec = self.spec
        with torch.no_grad():
            # Trapezoidal sum between frame centres, in double precision and whole cycles removed: phase stays exact.
            exact = torch.float32 if frequency_BTM.device.type == "mps" else torch.float64  # which MPS does not have
            cycles = frequency_BTM.to(exact) * (spec.hop / spec.sample_rate)
            step = torch.cat([cycles[:, :1] * 0, (cycles[:, 1:] + cycles[:, :-1]) / 2], dim=1)
            # The golden ratio spreads the starting phases, so that no clip begins with a spike.
            start = torch.arange(spec.bands, device=cycles.device, dtype=cycles.dtype) * 0.61803398875
            phase_BTM = (2 * math.pi * torch.frac(torch.cumsum(torch.frac(step), dim=1) + start)).float()
            peak_BTM = frequency_BTM.detach() * (spec.n_fft / spec.sample_rate)
            near_BTM = peak_BTM.round().long()
            bins_BTMJ = near_BTM[..., None] + torch.arange(-_LOBE, _LOBE + 1, device=near_BTM.device)
            offset_BTMJ = bins_BTMJ - peak_BTM[..., None]
            # Spectrum of a Hann window, 1 at its peak; the removable poles at +-1 are stepped around.
            denominator = 1 - offset_BTMJ.square()
            denominator = torch.where(denominator.abs() < 1e-4, torch.full_like(denominator, 1e-4), denominator)
            lobe_BTMJ = torch.where(
                (offset_BTMJ.abs() - 1).abs() < 1e-4, offset_BTMJ.new_tensor(0.5), torch.sinc(offset_BTMJ) / denominator
            )
            inside = (bins_BTMJ >= 0) & (bins_BTMJ < spec.bins)
            # Bin k of a frame whose time starts half a window before its centre: a sign of (-1)^k.
            lobe_BTMJ = lobe_BTMJ * inside * (1 - 2 * (bins_BTMJ % 2))
            index = bins_BTMJ.clamp(0, spec.bins - 1).flatten(2)
            direction_BTM = torch.stack([torch.cos(phase_BTM), torch.sin(phase_BTM)])
        swing_PBTM = tone_BTM * direction_BTM
        spread_PBTMJ = (swing_PBTM[..., None] * lobe_BTMJ).flatten(3)
        total_PBTK = spread_PBTMJ.new_zeros(2, *tone_BTM.shape[:2], spec.bins)
        total_PBTK = total_PBTK.scatter_add(3, index.expand(2, *index.shape), spread_PBTMJ)
        return torch.complex(total_PBTK[0], total_PBTK[1])

    def synthesise(self, parts: VocoderParts, noise_start: int = 0) -> Tensor:
        """Waveform (B, S) in (-1, 1) of predicted parts. noise_start: where in the endless noise the clip begins."""
        spec = self.spec
        frames, device = parts.tone_BTM.shape[1], parts.tone_BTM.device
        window = hann_window(spec.n_fft, device)
        samples = (frames - 1) * spec.hop + spec.n_fft
        noise_TW = white_noise(samples, noise_start, device).unfold(0, spec.n_fft, spec.hop) * window
        # sqrt(sum(window^2) / 3) is the root mean square of a bin of uniform noise: the hiss has unit power.
        noise_TK = torch.fft.rfft(noise_TW) * (3 / float(window.square().sum())) ** 0.5
        tone_BTK = self.tones(parts.tone_BTM, parts.frequency_BTM)
        spectra_3BTK = torch.stack([tone_BTK, parts.noise_BTK * noise_TK, parts.rest_BTK])
        frames_3BTW = torch.fft.irfft(spectra_3BTK * spec.full_scale, n=spec.n_fft) * window
        edge = (spec.n_fft - spec.hop) // 2
        weight = overlap_add(window.square().expand(1, frames, -1), spec.hop)
        audio_QS = overlap_add(frames_3BTW.flatten(0, 1), spec.hop) / weight.clamp(min=1e-4)
        audio_3BS = audio_QS[:, edge : edge + frames * spec.hop].unflatten(0, (3, -1))
        gain_2BS = torch.exp(
            F.interpolate(parts.loudness_2BTG.flatten(2), scale_factor=spec.hop // _STEPS, mode="linear")
        )
        return soft_limit((audio_3BS[:2] * gain_2BS).sum(0) + audio_3BS[2])

    def forward(self, mel: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """mel: (B, M, T) normalised log-mel. Returns `sample`: (B, 1, T * hop) float32 waveform in (-1, 1)."""
        audio_BS = self.synthesise(self.parts(mel))
        if not return_dict:
            return (audio_BS[:, None],)
        return DecoderOutput(sample=audio_BS[:, None])
