"""Training of the pocket video codec on clips of the world. Legend: see codecs/video.py."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import torch
from einops import rearrange
from torch import Tensor

from openreels.codecs.video import PocketVideoVAE
from openreels.media.folders import replaced_folder
from openreels.nn.precision import autocast
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw
from openreels.world import Camera, dressed, masks, render_frames, sample_scene

__all__ = ["VideoCodecTask", "train_video_codec"]

FPS = 16


def edges(x_BCTHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Differences along time, rows and columns: where shapes, mouths and motion are."""
    return x_BCTHW.diff(dim=2), x_BCTHW.diff(dim=3), x_BCTHW.diff(dim=4)


def pixels(frames_BTHWC: Tensor) -> Tensor:
    """Frames uint8 as a VAE sees them, float32 (B, 3, T, H, W) in [-1, 1]."""
    return rearrange(frames_BTHWC, "b t h w c -> b c t h w").float() / 127.5 - 1


class ClipPool:
    """Rendered clips kept in memory; a slice of them is replaced by fresh ones every so often.

    Every second portion is plain; in the others there are clothes, weather, styles and overlays, and some are seen
    through another camera. Contents depend on (seed, number of refills) alone, so a resumed run sees the clips
    a whole run would have seen.
    """

    PORTION = 32  # clips drawn together, seen by one camera
    DRESSED, MOVED = 0.3, 0.35  # share of each attribute; of portions with a camera of their own

    def __init__(self, size: int, frames: int, seed: int, refill: int, every: int):
        self.size, self.frames, self.seed, self.refill, self.every = size, frames, seed, refill, every
        self.clips_BTHWC, self.subjects_BTHW, self.plain_B = self._render(range(size))
        self.refills = 0

    def _render(self, numbers: range) -> tuple[Tensor, Tensor, Tensor]:
        """Frames uint8, where any subject is, and which clips are plain."""
        parts = []
        for start in range(0, len(numbers), self.PORTION):
            portion = numbers[start : start + self.PORTION]
            scenes = [sample_scene(self.seed * 10_000_019 + n, duration=self.frames / FPS) for n in portion]
            camera = Camera()
            rng = Random(f"openreels codec 1 {self.seed} {portion[0]}")
            plain = portion[0] // self.PORTION % 2 == 0
            if not plain:
                scenes = [dressed(scene, scene.seed, self.DRESSED) for scene in scenes]
                if rng.random() < self.MOVED:
                    camera = Camera(rng.uniform(-0.25, 0.25), rng.uniform(-0.05, 0.2), rng.uniform(0.6, 2.2))
            size = {"fps": FPS, "frames": self.frames, "height": 64, "width": 64, "camera": camera}
            subjects = masks(scenes, **size).any(1)
            parts.append((render_frames(scenes, **size), subjects, torch.full((len(scenes),), plain)))
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def clips(self, index: Tensor, subject_weight: float) -> tuple[Tensor, Tensor]:
        """Clips `index` for a codec, (B, 3, T, H, W) in [-1, 1], and what every pixel of them weighs, 1 on average."""
        x_BCTHW = pixels(self.clips_BTHWC[index])
        weight_B1THW = 1 + (subject_weight - 1) * self.subjects_BTHW[index][:, None].float()
        return x_BCTHW, weight_B1THW / weight_B1THW.mean()

    def advance(self, step: int) -> None:
        """Bring the pool to its contents at `step`."""
        while self.refills < step // self.every:
            start = self.size + self.refills * self.refill
            at = self.refills * self.refill % self.size
            fresh = self._render(range(start, start + self.refill))
            for pool, part in zip((self.clips_BTHWC, self.subjects_BTHW, self.plain_B), fresh, strict=True):
                pool[at : at + self.refill] = part
            self.refills += 1


class VideoCodecTask(Task):
    """L1 + MSE + edges + a light KL; latents get noise before decoding, as the generator's latents will have.

    Subjects weigh three times as much as what is behind them. anchor: a codec whose latents of plain clips are kept to,
    so that a transformer that was trained on them goes on with little to learn again.
    """

    name = "video_codec"
    subject_weight, noise, anchor_weight = 3.0, 0.3, 0.15

    def __init__(
        self,
        vae: PocketVideoVAE,
        pool: ClipPool,
        batch: int = 16,
        kl: float = 3e-4,
        anchor: PocketVideoVAE | None = None,
    ):
        self.vae, self.pool, self.batch, self.kl, self.anchor = vae, pool, batch, kl, anchor
        self.modules = {"vae": vae}
        self.optimizers = muon_and_adamw([vae], muon_lr=0.01, adamw_lr=1e-3)

    @property
    def samples_per_step(self) -> int:
        return self.batch

    def loss(self, drawn: tuple[int, torch.Generator]) -> tuple[Tensor, dict[str, float | Tensor]]:
        step, generator = drawn
        self.pool.advance(step)
        index = torch.randint(self.pool.size, (self.batch,), generator=generator)
        x, weight = (part.to(self.vae.device) for part in self.pool.clips(index, self.subject_weight))
        with autocast(x.device):
            posterior = self.vae.encode(x).latent_dist
            # As far from the mean as the posterior says, and half of the clips further still, as predictions are.
            strength_B = self.noise * torch.rand(self.batch, generator=generator)
            strength_B *= torch.rand(self.batch, generator=generator) < 0.5
            spread = posterior.std + strength_B.view(-1, 1, 1, 1, 1).to(x.device) * channel_std(posterior.mean)
            noise = torch.randn(posterior.mean.shape, generator=generator).to(x.device)
            y = self.vae.decode(posterior.mean + spread * noise).sample
        error, shown = reconstruction_error(y.float(), x, weight)
        kl = 0.5 * (posterior.mean.float().square() + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        loss = error + self.kl * kl
        shown["kl"] = kl.item()
        plain_B = self.pool.plain_B[index].to(x.device)
        if self.anchor is not None and plain_B.any():
            with torch.no_grad(), autocast(x.device):
                before = self.anchor.encode(x[plain_B]).latent_dist.mean.float()
            drift = ((posterior.mean.float()[plain_B] - before) / channel_std(before)).square().mean()
            loss = loss + self.anchor_weight * drift
            shown["drift"] = drift.item()
        return loss, shown


def reconstruction_error(y_BCTHW: Tensor, x_BCTHW: Tensor, weight_B1THW: Tensor) -> tuple[Tensor, dict[str, float]]:
    """L1, twice the squared error and twice the L1 of the edges; and numbers to log. y: decoded for the pixels x, both
    in [-1, 1]. weight: of every pixel, 1 on average."""
    l1 = ((y_BCTHW - x_BCTHW).abs() * weight_B1THW).mean()
    mse = ((y_BCTHW - x_BCTHW).square() * weight_B1THW).mean()
    pairs = zip(edges(y_BCTHW), edges(x_BCTHW), strict=True)  # stills have none along time
    edge = sum(_weighted((a - b).abs(), weight_B1THW).mean() for a, b in pairs if a.numel()) / 3
    return l1 + 2 * mse + 2 * edge, {"l1": l1.item(), "psnr": psnr(y_BCTHW, x_BCTHW), "edge": edge.item()}


def _weighted(difference_BCTHW: Tensor, weight_B1THW: Tensor) -> Tensor:
    frames, rows, columns = difference_BCTHW.shape[2:]
    return difference_BCTHW * weight_B1THW[..., :frames, :rows, :columns]


def channel_std(z_BCFYX: Tensor) -> Tensor:
    """Standard deviation of each channel over all else, (1, C, 1, 1, 1)."""
    return z_BCFYX.std(dim=(0, 2, 3, 4), keepdim=True)


def psnr(y: Tensor, x: Tensor) -> float:
    """dB, for pixels in [-1, 1]; 100 where they are the same."""
    return -10 * math.log10(max((y - x).square().mean().item() / 4, 1e-10))


@torch.no_grad()
def set_latent_statistics(vae: PocketVideoVAE, clips_BTHWC: Tensor) -> None:
    """Per-channel mean and deviation of the latents of `clips`, kept in the config as diffusers does."""
    latents = []
    for part in clips_BTHWC.split(32):
        x = pixels(part).to(vae.device)
        latents.append(rearrange(vae.encode(x).latent_dist.mode().float(), "b c f y x -> (b f y x) c"))
    z_NC = torch.cat(latents)
    vae.register_to_config(
        latents_mean=[round(v, 5) for v in z_NC.mean(0).tolist()],
        latents_std=[round(v, 5) for v in z_NC.std(0).tolist()],
    )


def train_video_codec(
    workdir: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    pool: int = 2500,
    device: str = "cpu",
) -> PocketVideoVAE:
    """Train (or go on training) and save to `<workdir>/video_vae`.

    Where a codec stands there already (`plan.begin_from`) its latents are kept to, and so are their statistics.
    """
    torch.manual_seed(seed)
    folder, anchor = workdir / "video_vae", None
    if folder.is_dir():
        vae, anchor = (PocketVideoVAE.from_pretrained(folder).float().to(device) for _ in range(2))
        anchor.eval().requires_grad_(False)
    else:
        vae = PocketVideoVAE().to(device)
    clips = ClipPool(pool, frames=17, seed=seed, refill=max(1, pool // 20), every=100)
    task = VideoCodecTask(vae, clips, anchor=anchor)
    run(task, LoopConfig(workdir=workdir, seed=seed, minutes=minutes, steps=steps, ema_decay=0.998, device=device))
    vae.eval()
    if anchor is None:
        set_latent_statistics(vae, clips.clips_BTHWC[:512])
    with replaced_folder(folder) as part:
        vae.save_pretrained(part)
    return vae
