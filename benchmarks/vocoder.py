"""How good and how fast the pocket audio codec is, on scenes of the world that training never saw.

    python benchmarks/vocoder.py runs/audio_codec [--clips 64] [--split train] [--json] [--pictures FOLDER]

Compares with the true sound: the vocoder on true mel pictures, the whole codec (VAE round trip, then vocoder), and
Griffin-Lim on the same pictures. Shape legend: see codecs/mel.py; E envelope frames.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from openreels.codecs.audio import PocketAudioCodec
from openreels.codecs.mel import MelSpec, hann_window, log_mel, magnitude, mel_filters
from openreels.codecs.vocoder import overlap_add

ENVELOPE_HOP = 40  # samples, 2.5 ms
HELD_OUT_SEED = 900_000_000  # far from every seed that training draws


def griffin_lim(mel_BMT: Tensor, spec: MelSpec, iterations: int = 32, momentum: float = 0.99) -> Tensor:
    """Waveform (B, S) of a mel picture by fast Griffin-Lim (Perraudin et al. 2013), the usual baseline."""
    level_BTM = (torch.exp(mel_BMT * spec.scale + spec.shift) - spec.floor).clamp(min=0).transpose(1, 2)
    wanted_BTK = (level_BTM @ torch.linalg.pinv(mel_filters(spec, mel_BMT.device))).clamp(min=0) * spec.full_scale
    frames, edge = mel_BMT.shape[2], (spec.n_fft - spec.hop) // 2
    window = hann_window(spec.n_fft, mel_BMT.device)
    weight = overlap_add(window.square().expand(1, frames, -1), spec.hop).clamp(min=1e-4)
    generator = torch.Generator().manual_seed(0)
    angle_BTK = torch.polar(
        torch.ones_like(wanted_BTK), 2 * math.pi * torch.rand(wanted_BTK.shape, generator=generator)
    )
    before_BTK = torch.zeros_like(angle_BTK)
    for _ in range(iterations):
        audio_BS = overlap_add(torch.fft.irfft(wanted_BTK * angle_BTK, n=spec.n_fft) * window, spec.hop) / weight
        rebuilt_BTK = torch.fft.rfft(audio_BS.unfold(1, spec.n_fft, spec.hop) * window)
        angle_BTK = rebuilt_BTK - before_BTK * (momentum / (1 + momentum))
        angle_BTK = angle_BTK / angle_BTK.abs().clamp(min=1e-9)
        before_BTK = rebuilt_BTK
    audio_BS = overlap_add(torch.fft.irfft(wanted_BTK * angle_BTK, n=spec.n_fft) * window, spec.hop) / weight
    return audio_BS[:, edge : edge + frames * spec.hop]


def log_spectral_distance(out_BS: Tensor, true_BS: Tensor) -> float:
    """Decibels: root mean square over bins (1,024 samples, floor at -80 dB of full scale), mean over frames."""
    out_BKT, true_BKT = (20 * torch.log10(magnitude(x, 1024, 256) + 1e-4) for x in (out_BS, true_BS))
    return float((out_BKT - true_BKT).square().mean(1).sqrt().mean())


def mel_error(out_BS: Tensor, true_BS: Tensor, spec: MelSpec) -> float:
    """Decibels: mean absolute difference of the mel pictures."""
    return float((log_mel(out_BS, spec) - log_mel(true_BS, spec)).abs().mean()) * spec.scale * 20 / math.log(10)


def attacks(audio_BS: Tensor) -> Tensor:
    """How steeply the level rises, (B, E) in dB per 10 ms, one value each 2.5 ms; below -40 dB all is silence."""
    power_BE = F.avg_pool1d(audio_BS[:, None].square(), 2 * ENVELOPE_HOP, ENVELOPE_HOP)[:, 0]
    level_BE = 10 * torch.log10(power_BE + 1e-4)
    return F.pad(level_BE[:, 4:] - level_BE[:, :-4], (2, 2)).clamp(min=0)


def onset_shifts(out_BS: Tensor, true_BS: Tensor, least: float = 9.0, reach: float = 0.06) -> Tensor:
    """Milliseconds by which each clear attack (a rise of `least` dB) is moved, infinite where it is gone; (attacks,).

    An attack is where the level rises most steeply within `reach` seconds either side.
    """
    true_BE, out_BE = attacks(true_BS), attacks(out_BS)
    reach_E = round(reach * 16_000 / ENVELOPE_HOP)
    peak_BE = (F.max_pool1d(true_BE[:, None], 2 * reach_E + 1, 1, reach_E)[:, 0] == true_BE) & (true_BE > least)
    shifts = []
    for row, at in peak_BE.nonzero().tolist():
        first = max(at - reach_E, 0)
        nearby_E = out_BE[row, first : at + reach_E + 1]
        gone = float(nearby_E.max()) < least / 3
        shifts.append(math.inf if gone else (first + int(nearby_E.argmax()) - at) * ENVELOPE_HOP / 16)
    return torch.tensor(shifts)


def judge(out_BS: Tensor, true_BS: Tensor, spec: MelSpec) -> dict[str, float]:
    shifts = onset_shifts(out_BS, true_BS)
    found = shifts[shifts.isfinite()].abs()
    return {
        "log_spectral_distance_db": log_spectral_distance(out_BS, true_BS),
        "mel_error_db": mel_error(out_BS, true_BS, spec),
        "peak": float(out_BS.abs().max()),
        "attacks": len(shifts),
        "attacks_lost": int((~shifts.isfinite()).sum()),
        "attack_shift_median_ms": float(found.median()) if len(found) else math.nan,
        "attack_within_20ms": float((shifts.abs() <= 20).float().mean()) if len(shifts) else math.nan,
    }


def timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    work()
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


@torch.no_grad()
def measure(codec: PocketAudioCodec, true_BS: Tensor) -> tuple[dict[str, dict[str, float]], dict[str, Tensor]]:
    """Figures and sounds of each way from picture to waveform. true_BS: (B, S), S a multiple of 1,000."""
    spec = codec.vocoder.spec
    mel_BMT = log_mel(true_BS, spec)
    latents_BNC = codec.encode(true_BS)
    trip_BMT = codec.vae.decode(codec.vae.encode(true_BS).latent_dist.mode()).sample
    ways = {
        "vocoder": lambda: codec.vocoder(mel_BMT).sample[:, 0],
        "codec": lambda: codec.decode(latents_BNC),
        "griffin_lim": lambda: griffin_lim(mel_BMT, spec),
        "griffin_lim_after_vae": lambda: griffin_lim(trip_BMT, spec),
    }
    figures, sounds = {}, {"true": true_BS}
    seconds_of_sound = true_BS.numel() / spec.sample_rate
    for name, way in ways.items():
        sounds[name], seconds = timed(way)
        figures[name] = judge(sounds[name], true_BS, spec) | {"times_real_time": seconds_of_sound / seconds}
    decibels = spec.scale * 20 / math.log(10)
    figures["vae"] = {
        "mel_error_db": float((trip_BMT - mel_BMT).abs().mean()) * decibels,
        "latent_std": float(latents_BNC.std()),
    }
    return figures, sounds


def draw(sounds: dict[str, Tensor], folder: Path, clips: int = 6) -> None:
    """One PNG a clip: log spectrograms of every way, below one another."""
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    for clip in range(min(clips, len(sounds["true"]))):
        figure, axes = plt.subplots(len(sounds), 1, figsize=(12, 3 * len(sounds)), constrained_layout=True)
        for axis, (name, audio_BS) in zip(axes, sounds.items(), strict=True):
            picture_KT = 20 * torch.log10(magnitude(audio_BS[clip : clip + 1], 512, 64)[0] + 1e-5)
            axis.imshow(picture_KT, origin="lower", aspect="auto", vmin=-100, vmax=-10, extent=(0, 2, 0, 8))
            axis.set_ylabel(f"{name} (kHz)")
        figure.savefig(folder / f"clip{clip}.png", dpi=70)
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codec", type=Path, help="folder with audio_vae/ and vocoder/")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--split", choices=("held_out", "train"), default="held_out", help="which scenes to draw from")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()

    from openreels.training.audio_codec import render_world

    true_BS = render_world([HELD_OUT_SEED + index for index in range(options.clips)], options.split)
    figures, sounds = measure(PocketAudioCodec.from_pretrained(options.codec), true_BS)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, row in figures.items():
            print(f"{name:>22}  " + "  ".join(f"{key} {value:.3g}" for key, value in row.items()))
    if options.pictures:
        draw(sounds, options.pictures)


if __name__ == "__main__":
    main()
