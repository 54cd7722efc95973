"""Training of the pocket video codec on clips of the world. Legend: see codecs/video.py."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from openreels.codecs.video import PocketVideoVAE
from openreels.nn.precision import autocast
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw
from openreels.world.rendering import render_frames
from openreels.world.sampling import sample_scene

__all__ = ["VideoCodecTask", "train_video_codec"]

FPS = 16


def edges(x_BCTHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Differences along time, rows and columns: where shapes, mouths and motion are."""
    return x_BCTHW.diff(dim=2), x_BCTHW.diff(dim=3), x_BCTHW.diff(dim=4)


class ClipPool:
    """Rendered clips kept in memory; a slice of them is replaced by fresh ones every so often.

    Contents depend on (seed, number of refills) alone, so a resumed run sees the clips a whole run would have seen.
    """

    def __init__(self, size: int, frames: int, seed: int, refill: int, every: int):
        self.size, self.frames, self.seed, self.refill, self.every = size, frames, seed, refill, every
        self.clips_BTHWC = self._render(range(size))
        self.refills = 0

    def _render(self, numbers: range) -> Tensor:
        parts = []
        for start in range(0, len(numbers), 64):
            seeds = [self.seed * 10_000_019 + n for n in numbers[start : start + 64]]
            scenes = [sample_scene(s, duration=self.frames / FPS) for s in seeds]
            parts.append(render_frames(scenes, fps=FPS, frames=self.frames, height=64, width=64))
        return torch.cat(parts)

    def advance(self, step: int) -> None:
        """Bring the pool to its contents at `step`."""
        while self.refills < step // self.every:
            start = self.size + self.refills * self.refill
            at = self.refills * self.refill % self.size
            self.clips_BTHWC[at : at + self.refill] = self._render(range(start, start + self.refill))
            self.refills += 1


class VideoCodecTask(Task):
    """L1 + MSE + edges + a light KL; latents get noise before decoding, as the generator's latents will have."""

    name = "video_codec"

    def __init__(self, vae: PocketVideoVAE, pool: ClipPool, batch: int = 16, kl: float = 3e-4):
        self.vae, self.pool, self.batch, self.kl = vae, pool, batch, kl
        self.modules = {"vae": vae}
        self.optimizers = muon_and_adamw([vae], muon_lr=0.01, adamw_lr=1e-3)

    @property
    def samples_per_step(self) -> int:
        return self.batch

    def loss(self, drawn: tuple[int, torch.Generator]) -> tuple[Tensor, dict[str, float | Tensor]]:
        step, generator = drawn
        self.pool.advance(step)
        index = torch.randint(self.pool.size, (self.batch,), generator=generator)
        x = rearrange(self.pool.clips_BTHWC[index], "b t h w c -> b c t h w").float() / 127.5 - 1
        x = x.to(self.vae.device)
        with autocast(x.device):
            posterior = self.vae.encode(x).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator).to(x.device)
            y = self.vae.decode(posterior.mean + posterior.std * noise).sample
        y = y.float()
        l1 = (y - x).abs().mean()
        mse = (y - x).square().mean()
        edge = sum((a - b).abs().mean() for a, b in zip(edges(y), edges(x), strict=True)) / 3
        kl = 0.5 * (posterior.mean.float().square() + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        loss = l1 + 2 * mse + 2 * edge + self.kl * kl
        return loss, {"l1": l1.item(), "psnr": -10 * math.log10(mse.item() / 4), "edge": edge.item(), "kl": kl.item()}


@torch.no_grad()
def set_latent_statistics(vae: PocketVideoVAE, clips_BTHWC: Tensor) -> None:
    """Per-channel mean and deviation of the latents of `clips`, kept in the config as diffusers does."""
    latents = []
    for part in clips_BTHWC.split(32):
        x = rearrange(part, "b t h w c -> b c t h w").float().to(vae.device) / 127.5 - 1
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
    """Train (or go on training) and save to `<workdir>/video_vae`."""
    torch.manual_seed(seed)
    vae = PocketVideoVAE().to(device)
    clips = ClipPool(pool, frames=17, seed=seed, refill=max(1, pool // 20), every=100)
    task = VideoCodecTask(vae, clips)
    run(task, LoopConfig(workdir=workdir, seed=seed, minutes=minutes, steps=steps, ema_decay=0.998, device=device))
    vae.eval()
    set_latent_statistics(vae, clips.clips_BTHWC[:512])
    vae.save_pretrained(workdir / "video_vae")
    return vae
