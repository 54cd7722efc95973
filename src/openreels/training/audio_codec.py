"""Training of the pocket audio codec: sound of the world -> VAE of log-mel pictures -> vocoder.

Three stages, each resumable at any moment: the VAE; the vocoder on spectral losses (half true, half decoded pictures);
the vocoder against discriminators, mostly on decoded pictures with a little noise, which is what it will be given. A
codec that is finished can go on learning how its latents sound, which themselves stay what they are.
Shape legend: see codecs/mel.py. Y X rows and columns of a critic's maps, J bins of one mel band.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openreels.codecs.audio import PocketAudioCodec, PocketAudioVAE
from openreels.codecs.mel import MelSpec, band_edges, hann_window, log_mel, magnitude
from openreels.codecs.vocoder import PocketVocoder
from openreels.media.folders import replaced_folder
from openreels.nn.precision import autocast
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw

__all__ = ["AudioCodecRecipe", "SoundPool", "build_pool", "train_audio_codec", "train_vae", "train_vocoder"]

SAMPLE_RATE = 16_000
# Seconds of a pooled clip; long enough for any crop, short enough that many scenes fit into memory.
CLIP_SECONDS = 2.0
# Sounds that no plain scene has: every fourth of the pool is of one of these rows of the task table.
OTHER_SOUNDS = ("t2a-singing", "t2a-music")
Render = Callable[[list[int]], Tensor]


@dataclass(frozen=True)
class AudioCodecRecipe:
    """Sizes and rates of a run; decoder_*: of one that goes on. vae, vocoder: config overrides of the models.

    clips: scenes in the pool. vae_crop, vocoder_crop: samples. kl: weight of the mean divergence per latent number.
    latent_noise: largest standard deviation, in units of the latents' own, of noise added before decoding.
    texture: see `spectral_loss`; in the adversarial stage.
    shares: parts of the minutes for the VAE, the spectral stage and the adversarial stage.
    """

    vae: dict = field(default_factory=dict)
    vocoder: dict = field(default_factory=dict)
    clips: int = 3_000
    vae_batch: int = 32
    vae_crop: int = 16_000
    vae_lr: float = 2e-3
    kl: float = 1e-2
    latent_noise: float = 0.3
    vocoder_batch: int = 8
    vocoder_crop: int = 8_000
    vocoder_muon_lr: float = 0.01
    vocoder_lr: float = 1.5e-3
    adversarial_batch: int = 8
    adversarial_lr: float = 4e-4
    decoder_muon_lr: float = 0.004
    decoder_lr: float = 6e-4
    texture: float = 0.6
    critic_lr: float = 4e-4
    critic_width: int = 16
    shares: tuple[float, float, float] = (0.25, 0.35, 0.40)


def render_world(seeds: list[int], split: str = "train") -> Tensor:
    """Sound of the world's scenes, (B, S) float32 in [-1, 1]."""
    from openreels.world.examples import sample_example
    from openreels.world.sampling import sample_scene
    from openreels.world.sound import render_sound

    def scene(seed: int):
        if seed % 4:
            return sample_scene(seed, duration=CLIP_SECONDS, split=split)
        row = OTHER_SOUNDS[seed // 4 % len(OTHER_SOUNDS)]
        return sample_example(row, seed, duration=CLIP_SECONDS, split=split).target.shots[0].scene

    return render_sound([scene(seed) for seed in seeds], samples=round(CLIP_SECONDS * SAMPLE_RATE))


def build_pool(path: Path, clips: int, seed: int, render: Render = render_world, chunk: int = 50) -> Path:
    """Renders `clips` scenes once into `path`, int16 (clips, samples); does nothing where the file is there."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial.npy")
    pool = None
    for start in range(0, clips, chunk):
        seeds = [seed * 1_000_003 + index for index in range(start, min(start + chunk, clips))]
        audio_BS = render(seeds)
        if pool is None:
            shape = (clips, audio_BS.shape[1])
            pool = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.int16, shape=shape)
        pool[start : start + len(seeds)] = (audio_BS.clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
    pool.flush()
    temporary.replace(path)
    return path


class SoundPool:
    """Random crops of pooled clips, a pure function of the generator."""

    def __init__(self, path: Path) -> None:
        self.clips = np.load(path, mmap_mode="r")

    def crops(self, batch: int, samples: int, generator: torch.Generator) -> Tensor:
        """(batch, samples) float32, from anywhere in the clips, at -6 to +3 dB of their level."""
        clip_B = torch.randint(self.clips.shape[0], (batch,), generator=generator).tolist()
        start_B = torch.randint(self.clips.shape[1] - samples + 1, (batch,), generator=generator).tolist()
        parts = [self.clips[clip, start : start + samples] for clip, start in zip(clip_B, start_B, strict=True)]
        audio_BS = torch.from_numpy(np.stack(parts)).float() / 32767
        gain_B1 = 10 ** ((torch.rand(batch, 1, generator=generator) * 9 - 6) / 20)
        # A louder copy must not clip: clipping is not a sound of the world.
        return audio_BS * torch.minimum(gain_B1, 0.98 / audio_BS.abs().amax(1, keepdim=True).clamp(min=1e-3))


def _randn(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like)


def noisy_latents(z_BCN: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Latents with Gaussian noise of a random level up to `most` of each channel's spread, as a sampler leaves them."""
    level_B11 = torch.rand(len(z_BCN), 1, 1, generator=generator, device=generator.device).to(z_BCN) * most
    spread_1C1 = z_BCN.detach().std(dim=(0, 2), keepdim=True)
    return z_BCN + level_B11 * spread_1C1 * _randn(z_BCN, generator)


class AudioVAETask(Task):
    """L1 + MSE + differences over time (attacks) on the picture, and a light KL; noise on the latents when decoding."""

    name = "audio_vae"

    def __init__(self, vae: PocketAudioVAE, pool: SoundPool, recipe: AudioCodecRecipe) -> None:
        self.vae, self.pool, self.recipe = vae, pool, recipe
        self.modules = {"vae": vae}
        self.optimizers = [torch.optim.AdamW(vae.parameters(), recipe.vae_lr, betas=(0.9, 0.98), weight_decay=0.01)]

    @property
    def samples_per_step(self) -> int:
        return self.recipe.vae_batch

    def loss(self, drawn: tuple[int, torch.Generator]) -> tuple[Tensor, dict[str, float | Tensor]]:
        _, generator = drawn
        device = next(self.vae.parameters()).device
        crop_generator = torch.Generator().manual_seed(generator.initial_seed())
        audio_BS = self.pool.crops(self.recipe.vae_batch, self.recipe.vae_crop, crop_generator).to(device)
        mel_BMT = log_mel(audio_BS, self.vae.spec)
        posterior = self.vae.encode_mel(mel_BMT)
        z_BCN = posterior.mean + posterior.std * _randn(posterior.mean, generator)
        out_BMT = self.vae.decode(noisy_latents(z_BCN, self.recipe.latent_noise, generator)).sample
        error_BMT = out_BMT - mel_BMT
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        l1, mse, attack = error_BMT.abs().mean(), error_BMT.square().mean(), error_BMT.diff(dim=2).abs().mean()
        total = l1 + mse + 0.5 * attack + self.recipe.kl * kl
        decibels = self.vae.spec.scale * 20 / math.log(10)
        return total, {"mel_dB": float(l1.detach()) * decibels, "kl": float(kl.detach())}


@torch.no_grad()
def measure_latents(vae: PocketAudioVAE, pool: SoundPool, clips: int = 512) -> None:
    """Writes mean and standard deviation of the latents, per channel over `clips` whole clips, into the config."""
    samples = pool.clips.shape[1] // vae.latent_hop_length * vae.latent_hop_length
    parts = []
    for start in range(0, min(clips, len(pool.clips)), 64):
        chunk = np.array(pool.clips[start : min(start + 64, clips), :samples])
        audio_BS = torch.from_numpy(chunk).float().to(vae.device) / 32767
        parts.append(vae.encode(audio_BS).latent_dist.mode().float().transpose(1, 2).flatten(0, 1).double())
    latents_XC = torch.cat(parts)
    # Six digits: written as JSON, read back as the same float32.
    mean, std = latents_XC.mean(0).tolist(), latents_XC.std(0).clamp(min=1e-3).tolist()
    vae.register_to_config(latents_mean=[round(x, 6) for x in mean], latents_std=[round(x, 6) for x in std])


class SpectralCritic(nn.Module):
    """Small convolutional judge of one log-magnitude spectrogram (after UnivNet, arXiv 2106.07889)."""

    def __init__(self, n_fft: int, width: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        norm = nn.utils.parametrizations.weight_norm
        self.layers = nn.ModuleList(
            [
                norm(nn.Conv2d(1, width, (7, 5), (2, 2), (3, 2))),
                norm(nn.Conv2d(width, width * 3 // 2, (5, 3), (2, 1), (2, 1))),
                norm(nn.Conv2d(width * 3 // 2, width * 2, (5, 3), (2, 1), (2, 1))),
                norm(nn.Conv2d(width * 2, width * 2, 3, 1, 1)),
            ]
        )
        self.verdict = norm(nn.Conv2d(width * 2, 1, 3, 1, 1))

    def forward(self, audio_BS: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Verdicts (B, 1, Y, X), high for real sound, and the features of each layer."""
        picture_BKT = torch.log(magnitude(audio_BS, self.n_fft, self.n_fft // 4) + MelSpec.floor) / 5 + 1.2
        hidden, features = picture_BKT[:, None].contiguous(memory_format=torch.channels_last), []
        with autocast(hidden.device):
            for layer in self.layers:
                hidden = F.leaky_relu(layer(hidden), 0.1)
                features.append(hidden)
            return self.verdict(hidden).float(), features


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Parameters are constants for graphs built inside, so one backward pass serves both players."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in module.parameters():
            parameter.requires_grad_(True)


def _texture(log_BKT: Tensor) -> tuple[Tensor, Tensor]:
    """Local mean and local spread of a log spectrogram, over seven bins by seven frames."""
    mean = F.avg_pool2d(log_BKT[:, None], 7, 3)
    return mean, (F.avg_pool2d(log_BKT[:, None].square(), 7, 3) - mean.square()).clamp(min=1e-3).sqrt()


def spectral_loss(out_BS: Tensor, true_BS: Tensor, texture: float = 0.0) -> Tensor:
    """Distance of magnitudes at five resolutions, in log amplitude (what is quiet) and root amplitude (what is loud).

    texture: share of the log distance that compares local mean and spread instead of each point. Point by point, the
    best answer to noise is its median: a smooth buzz. Noise of the right level and roughness has the right texture.
    """
    total = out_BS.new_zeros(())
    sizes = (2048, 1024, 512, 256, 128)
    for n_fft in sizes:
        out_BKT, true_BKT = (magnitude(audio_BS, n_fft, n_fft // 4) for audio_BS in (out_BS, true_BS))
        out_log, true_log = torch.log(out_BKT + MelSpec.floor), torch.log(true_BKT + MelSpec.floor)
        total = total + 0.5 * (1 - texture) * (out_log - true_log).abs().mean()
        total = total + 4 * ((out_BKT + 1e-6).sqrt() - (true_BKT + 1e-6).sqrt()).abs().mean()
        if texture:
            pairs = zip(_texture(out_log), _texture(true_log), strict=True)
            total = total + texture * sum((ours - theirs).abs().mean() for ours, theirs in pairs)
    return total / len(sizes)


@lru_cache(maxsize=8)
def _bins_of_bands(spec: MelSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices (M, J) of the bins inside each band, the last one repeated, and their weights in the band's triangle."""
    edges = band_edges(spec)
    bins = torch.linspace(0, spec.sample_rate / 2, spec.bins, dtype=torch.float64)
    inside = [((bins >= low) & (bins <= high)).nonzero()[:, 0] for low, high in zip(edges[:-2], edges[2:], strict=True)]
    index_MJ = torch.full((spec.bands, max(len(part) for part in inside)), 0)
    for row, part in zip(index_MJ, inside, strict=True):
        row[:] = part[-1]
        row[: len(part)] = part
    chosen = bins[index_MJ]
    rising = (chosen - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - chosen) / (edges[2:] - edges[1:-1])[:, None]
    return index_MJ.to(device), torch.minimum(rising, falling).clamp(min=0).float().to(device)


@torch.no_grad()
def tone_frequencies(audio_BS: Tensor, spec: MelSpec) -> Tensor:
    """Frequency in Hz, (B, T, M), of the strongest partial in each mel band, by spectral reassignment.

    A window's derivative tells by how much a partial lies beside its bin, from a single frame: no phase to unwrap.
    """
    edge = (spec.n_fft - spec.hop) // 2
    padded_BS = F.pad(audio_BS[:, None], (edge, edge), mode="reflect")[:, 0]
    index = torch.arange(spec.n_fft, device=audio_BS.device)
    slope = (math.pi / spec.n_fft) * torch.sin(2 * math.pi * index / spec.n_fft)
    window = hann_window(spec.n_fft, audio_BS.device)
    frames_BTW = padded_BS.unfold(1, spec.n_fft, spec.hop)
    spectrum_BTK, slanted_BTK = torch.fft.rfft(frames_BTW * window), torch.fft.rfft(frames_BTW * slope)
    power_BTK = spectrum_BTK.real.square() + spectrum_BTK.imag.square()
    shift_BTK = -(slanted_BTK * spectrum_BTK.conj()).imag / power_BTK.clamp(min=1e-9)
    bin_hz = spec.sample_rate / spec.n_fft
    hz_BTK = torch.arange(spec.bins, device=audio_BS.device) * bin_hz
    hz_BTK = hz_BTK + (shift_BTK * spec.sample_rate / (2 * math.pi)).clamp(-2 * bin_hz, 2 * bin_hz)
    index_MJ, weight_MJ = _bins_of_bands(spec, audio_BS.device)
    strongest_BTM = (power_BTK[:, :, index_MJ] * weight_MJ.square()).argmax(dim=3)
    bin_BTM = index_MJ.expand(*strongest_BTM.shape[:2], -1, -1).gather(3, strongest_BTM[..., None])[..., 0]
    return hz_BTK.gather(2, bin_BTM)


class VocoderTask(Task):
    """Generator against spectral losses and, where critics are given, against them (hinge, feature matching)."""

    def __init__(
        self,
        name: str,
        vocoder: PocketVocoder,
        vae: PocketAudioVAE,
        pool: SoundPool,
        recipe: AudioCodecRecipe,
        decoded: float,
        critics: nn.ModuleList | None = None,
    ) -> None:
        self.name, self.vocoder, self.vae, self.pool, self.recipe = name, vocoder, vae.eval(), pool, recipe
        self.decoded, self.critics = decoded, critics
        self.batch = recipe.adversarial_batch if critics else recipe.vocoder_batch
        self.modules: dict[str, nn.Module] = {"vocoder": vocoder}
        if critics:
            self.modules["critics"] = critics
            # A game of two needs small, short-sighted steps: no Muon, little momentum.
            self.optimizers = [
                torch.optim.AdamW(vocoder.parameters(), recipe.adversarial_lr, betas=(0.8, 0.99)),
                torch.optim.AdamW(critics.parameters(), recipe.critic_lr, betas=(0.8, 0.99)),
            ]
        else:
            self.optimizers = muon_and_adamw([vocoder], muon_lr=recipe.vocoder_muon_lr, adamw_lr=recipe.vocoder_lr)

    @property
    def samples_per_step(self) -> int:
        return self.batch

    def pictures(self, mel_BMT: Tensor, generator: torch.Generator) -> Tensor:
        """Mel pictures, a share of them after the VAE's round trip with a little noise."""
        with torch.no_grad():
            trip_BMT = self.round_trip(mel_BMT, generator)
        chosen_B11 = torch.rand(len(mel_BMT), 1, 1, generator=generator, device=generator.device) < self.decoded
        return torch.where(chosen_B11.to(mel_BMT.device), trip_BMT, mel_BMT)

    def round_trip(self, mel_BMT: Tensor, generator: torch.Generator) -> Tensor:
        """Pictures (B, M, T) through the VAE, with a little noise on their latents; gradients pass its way back."""
        with torch.no_grad():
            mode_BCN = self.vae.encode_mel(mel_BMT).mode()
        return self.vae.decode(noisy_latents(mode_BCN, self.recipe.latent_noise / 2, generator)).sample

    def loss(self, drawn: tuple[int, torch.Generator]) -> tuple[Tensor, dict[str, float | Tensor]]:
        step, generator = drawn
        device, spec = next(self.vocoder.parameters()).device, self.vocoder.spec
        crop_generator = torch.Generator().manual_seed(generator.initial_seed())
        true_BS = self.pool.crops(self.batch, self.recipe.vocoder_crop, crop_generator).to(device)
        true_mel_BMT = log_mel(true_BS, spec)
        mel_BMT = self.pictures(true_mel_BMT, generator)
        with autocast(device):
            parts = self.vocoder.parts(mel_BMT)
        # Any stretch of the noise, so that the network cannot learn one by heart.
        out_BS = self.vocoder.synthesise(parts, int(torch.randint(1 << 20, (), generator=crop_generator)))

        spectral = spectral_loss(out_BS, true_BS, self.recipe.texture if self.critics else 0.0)
        mel = (log_mel(out_BS, spec) - true_mel_BMT).abs().mean()
        edges = band_edges(spec).float().to(device)
        off_BTM = (parts.frequency_BTM - tone_frequencies(true_BS, spec)).abs() / (edges[2:] - edges[:-2])
        loud_BTM = (true_mel_BMT.transpose(1, 2) - spec.silence).square()
        tone = (off_BTM * loud_BTM).sum() / loud_BTM.sum().clamp(min=1)
        total = spectral + mel + tone
        logged = {"spectral": spectral, "mel": mel, "tone": tone}
        if mel_BMT.requires_grad:
            logged["picture"] = (mel_BMT - true_mel_BMT).abs().mean()
            total = total + logged["picture"]
        if self.critics:
            rivalry, judged = self._rivalry(out_BS, true_BS, step)
            total, logged = total + rivalry, logged | judged
        return total, {key: float(value.detach()) for key, value in logged.items()}

    def _rivalry(self, out_BS: Tensor, true_BS: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses of both players; the graphs share nothing, see `frozen`."""
        total, logged = out_BS.new_zeros(()), {}
        fool, match = out_BS.new_zeros(()), out_BS.new_zeros(())
        with frozen(self.critics):
            for critic in self.critics:
                with torch.no_grad():
                    _, wanted = critic(true_BS)
                verdict, features = critic(out_BS)
                fool = fool + F.relu(1 - verdict).mean() / len(self.critics)
                gaps = [
                    (ours.float() - theirs.float()).abs().mean() for ours, theirs in zip(features, wanted, strict=True)
                ]
                scale = [theirs.float().abs().mean().clamp(min=1e-3) for theirs in wanted]
                match = match + sum(g / s for g, s in zip(gaps, scale, strict=True)) / len(gaps) / len(self.critics)
        total = total + 0.1 * fool + 0.5 * match
        logged |= {"fool": fool, "match": match}
        if step % 2 == 0:  # the critics learn every other step: they are the dearer half
            judge = out_BS.new_zeros(())
            for critic in self.critics:
                real, _ = critic(true_BS)
                fake, _ = critic(out_BS.detach())
                judge = judge + (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / len(self.critics)
            total = total + judge
            logged["judge"] = judge
        return total, logged


class AudioDecoderTask(VocoderTask):
    """The VAE's decoder and the vocoder together, on the same losses; the encoder stays, and so do all latents."""

    def __init__(self, vocoder: PocketVocoder, vae: PocketAudioVAE, pool: SoundPool, recipe: AudioCodecRecipe) -> None:
        super().__init__("audio_decoder", vocoder, vae, pool, recipe, decoded=1.0)
        vae.encoder.requires_grad_(False)
        self.modules["vae"] = vae
        rates = {"muon_lr": recipe.decoder_muon_lr, "adamw_lr": recipe.decoder_lr}
        self.optimizers = muon_and_adamw([vocoder, vae.decoder], **rates)

    def pictures(self, mel_BMT: Tensor, generator: torch.Generator) -> Tensor:
        """All after the round trip, from whose way back something is learnt."""
        return self.round_trip(mel_BMT, generator)


def _minutes(config: LoopConfig, share: float) -> LoopConfig:
    return replace(config, minutes=None if config.minutes is None else config.minutes * share)


def train_vae(pool: SoundPool, config: LoopConfig, recipe: AudioCodecRecipe) -> PocketAudioVAE:
    """Trains the VAE, measures its latents, saves it to `<workdir>/audio_vae`; reads that folder where it is there."""
    folder = config.workdir / "audio_vae"
    if (folder / "config.json").exists():
        return PocketAudioVAE.from_pretrained(folder).to(config.device)
    torch.manual_seed(config.seed)
    vae = PocketAudioVAE(**recipe.vae).to(config.device)
    run(AudioVAETask(vae, pool, recipe), config)
    vae.eval()
    measure_latents(vae, pool)
    with replaced_folder(folder) as part:
        vae.save_pretrained(part)
    return vae


def train_vocoder(
    vae: PocketAudioVAE, pool: SoundPool, config: LoopConfig, recipe: AudioCodecRecipe, shares: tuple[float, float]
) -> PocketVocoder:
    """Trains the vocoder for a VAE in both stages and saves it to `<workdir>/vocoder`; reads that folder if there."""
    folder = config.workdir / "vocoder"
    if (folder / "config.json").exists():
        return PocketVocoder.from_pretrained(folder).to(config.device)
    torch.manual_seed(config.seed + 1)
    spec = vae.spec
    vocoder = PocketVocoder(
        spec.bands, spec.sample_rate, spec.n_fft, spec.hop, spec.floor, spec.shift, spec.scale, **recipe.vocoder
    ).to(config.device)
    run(VocoderTask("vocoder", vocoder, vae, pool, recipe, decoded=0.5), _minutes(config, shares[0]))
    critics = nn.ModuleList([SpectralCritic(n_fft, recipe.critic_width) for n_fft in (1024, 512, 256)])
    critics.to(config.device, memory_format=torch.channels_last)
    task = VocoderTask("vocoder_adversarial", vocoder, vae, pool, recipe, decoded=0.85, critics=critics)
    # The critics' gradients would share the clip with the generator's: left to Adam's own scaling.
    run(task, replace(_minutes(config, shares[1]), clip=None))
    vocoder.eval()
    with replaced_folder(folder) as part:
        vocoder.save_pretrained(part)
    return vocoder


def train_audio_codec(
    workdir: str | Path,
    minutes: float = 32.0,
    seed: int = 0,
    device: str = "cpu",
    recipe: AudioCodecRecipe | None = None,
    render: Render = render_world,
    go_on: bool = False,
    steps: int | None = None,
) -> PocketAudioCodec:
    """Trains the whole codec in about `minutes` of wall-clock time (rendering the pool not counted).

    go_on: one that is finished learns to decode better, for these minutes, or so many steps; its latents stay as they
    are. workdir receives `pool.npy`, checkpoints and logs of each stage, and at the end the folders `audio_vae` and
    `vocoder`, from which `PocketAudioCodec.from_pretrained(workdir)` reads. Called again, it goes on where it stopped.
    """
    recipe = recipe or AudioCodecRecipe()
    config = LoopConfig(Path(workdir), seed=seed, minutes=minutes, device=device)
    pool = SoundPool(build_pool(config.workdir / "pool.npy", recipe.clips, seed, render))
    is_finished = (config.workdir / "vocoder" / "config.json").exists()
    vae = train_vae(pool, _minutes(config, recipe.shares[0]), recipe)
    vocoder = train_vocoder(vae, pool, config, recipe, recipe.shares[1:])
    if go_on and is_finished:
        run(
            AudioDecoderTask(vocoder, vae, pool, recipe),
            replace(config, steps=steps, minutes=None if steps else minutes),
        )
        for name, model in (("audio_vae", vae.eval()), ("vocoder", vocoder.eval())):
            with replaced_folder(config.workdir / name) as part:
                model.save_pretrained(part)
    return PocketAudioCodec(vae, vocoder)
