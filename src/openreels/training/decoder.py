"""Last of all, the video decoder learns to set right what the transformer draws.

An outline goes through several tokens, and what is drawn of it in each is a little wrong in its own way: a star's
points do not meet. The decoder sees all of these tokens at once and no noise, so the last step of denoising is its own
(as in LTX-Video, arXiv 2501.00103, section 2.3). It learns from what the transformer takes a noisy clip for, whose
layout it is told: around the subjects it shall show what the world shows there; everywhere else, where a prompt leaves
much open, what it showed before. True latents of clips of all sorts remain what it must decode.

The encoder, and so every latent, stays as it is.

Legend: B batch, T frames, H W pixels, N video tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openreels.codecs.video import VideoCodec
from openreels.encoders.text import TextEncoder
from openreels.media.folders import replaced_folder
from openreels.models.layout import seen_layout
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.nn.precision import autocast
from openreels.training.latents import STILLS, Bucket, LatentSet, moment_of
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw
from openreels.training.stages import OnPath, on_path
from openreels.training.video_codec import ClipPool, pixels, reconstruction_error
from openreels.types import VideoShape
from openreels.world import masks, render_frames

__all__ = ["DecoderTask", "train_decoder"]

PREDICTED_TOKENS = 1_152  # of the clips of a step that the transformer takes for something
TRUE = 8  # clips of a step whose latents are true
AROUND = 9  # pixels: side of the square about each pixel of a subject in which the world's picture counts
SUBJECT_WEIGHT = 3.0
FINISHED = 0.9  # times up to this one: behind it there is little left to be wrong about
POOL = 1_000  # clips with true latents
EMA_DECAY = 0.99  # a shorter memory than elsewhere: hundreds of steps, not thousands


class Drawn(NamedTuple):
    """A batch on its path with the layouts told, its captions, the world's frames uint8 (B, T, H, W, 3), and where
    subjects are, bool (B, T, H, W). step, index: which true clips go with it."""

    video: OnPath
    shape: VideoShape
    texts: list[str]
    frames_BTHWC: Tensor
    subjects_BTHW: Tensor
    step: int
    index: Tensor


class DecoderTask(Task):
    """The error of a codec (`training/video_codec.py`), of predicted latents beside true ones.

    transformer: what predicts, as it is when sampling. latents: plain square clips. weights: how often each kind is
    drawn. pool: clips whose true latents are decoded.
    """

    name = "decoder"

    def __init__(
        self,
        codec: VideoCodec,
        transformer: SkyReelsV4Transformer,
        encoder: TextEncoder,
        latents: Mapping[Bucket, LatentSet],
        weights: Mapping[Bucket, float],
        pool: ClipPool,
        muon_lr: float = 0.005,
        adamw_lr: float = 5e-4,
    ):
        self.codec, self.transformer, self.encoder, self.latents, self.pool = codec, transformer, encoder, latents, pool
        transformer.eval().requires_grad_(False)
        encoder.model.requires_grad_(False)
        vae = codec.vae
        self.before = deepcopy(vae).eval().requires_grad_(False)
        vae.encoder.requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"vae": vae}
        self.optimizers = muon_and_adamw([vae], muon_lr=muon_lr, adamw_lr=adamw_lr)
        self.kinds, self.weights = list(weights), torch.tensor(list(weights.values()))

    @property
    def samples_per_step(self) -> int:
        sizes = torch.tensor([self._batch(self.latents[kind]) for kind in self.kinds])
        return TRUE + round(float((sizes * self.weights).sum() / self.weights.sum()))

    @staticmethod
    def _batch(data: LatentSet) -> int:
        return min(STILLS, len(data), max(1, PREDICTED_TOKENS // data.video_shape.tokens))

    def draw(self, step: int, generator: torch.Generator) -> Drawn:
        data = self.latents[self.kinds[int(torch.multinomial(self.weights, 1, generator=generator))]]
        shape, batch = data.video_shape, self._batch(data)
        # Side by side in a set are stills of one moment, which are rendered together.
        first = int(torch.randint(len(data) // batch, (), generator=generator)) * batch
        index = torch.arange(first, first + batch)
        seeds = torch.randint(2**31, (len(index),), generator=generator).tolist()
        time_B = torch.rand(len(index), generator=generator) * FINISHED
        video = on_path(data.blank("video", index), data.latents["video"][index].float(), time_B, generator)
        layout_BSFK = torch.stack([data.layout(i) for i in index.tolist()])
        video = video._replace(state=replace(video.state, layout_BNK=seen_layout(layout_BSFK, shape)))
        scenes = [data.scene(i) for i in index.tolist()]
        size = {"fps": float(shape.fps), "frames": shape.frames, "height": shape.height, "width": shape.width}
        size["start"] = moment_of(data.bucket, first)
        return Drawn(
            video,
            shape,
            [data.caption(i, seed) for i, seed in zip(index.tolist(), seeds, strict=True)],
            render_frames(scenes, **size),
            masks(scenes, **size).any(1),
            step,
            torch.randint(self.pool.size, (TRUE,), generator=generator),
        )

    def loss(self, drawn: Drawn) -> tuple[Tensor, dict[str, float | Tensor]]:
        device = self.codec.vae.device
        self.pool.advance(drawn.step)
        taken_for_BNC = self._taken_for(drawn, device)
        z_BCFYX = self.codec.for_vae(taken_for_BNC, drawn.shape)
        x_BCTHW = pixels(drawn.frames_BTHWC).to(device)
        near_B1THW = _widened(drawn.subjects_BTHW.to(device))
        with autocast(device):
            with torch.no_grad():
                before_BCTHW = self.before.decode(z_BCFYX).sample.float().clamp(-1, 1)
            y_BCTHW = self.codec.vae.decode(z_BCFYX).sample
        weight_B1THW = 1 + (SUBJECT_WEIGHT - 1) * near_B1THW
        wanted_BCTHW = torch.where(near_B1THW > 0, x_BCTHW, before_BCTHW)
        error, _ = reconstruction_error(y_BCTHW.float(), wanted_BCTHW, weight_B1THW / weight_B1THW.mean())
        with torch.no_grad():
            share = near_B1THW.mean()
            was, now = (((y - x_BCTHW).abs() * near_B1THW).mean() / share for y in (before_BCTHW, y_BCTHW.float()))
        true_BCTHW, weight_B1THW = (part.to(device) for part in self.pool.clips(drawn.index, SUBJECT_WEIGHT))
        with autocast(device):
            with torch.no_grad():
                z_BCFYX = self.codec.vae.encode(true_BCTHW).latent_dist.mode()
            y_BCTHW = self.codec.vae.decode(z_BCFYX).sample
        true_error, true_shown = reconstruction_error(y_BCTHW.float(), true_BCTHW, weight_B1THW)
        numbers = {"was": was, "predicted": now, "psnr": true_shown["psnr"], "true l1": true_shown["l1"]}
        return error + true_error, numbers

    @torch.no_grad()
    def _taken_for(self, drawn: Drawn, device: torch.device) -> Tensor:
        """The latents (B, N, C) that the transformer takes the noisy ones for."""
        state = drawn.video.state.to(device)
        with autocast(device):
            velocity_BNC, _ = self.transformer(state, None, self.encoder.encode(drawn.texts, device))
        return state.noisy_BNC + (1 - state.time_B)[:, None, None] * velocity_BNC


def _widened(subjects_BTHW: Tensor) -> Tensor:
    """1 around subjects, (B, 1, T, H, W) float."""
    near_BTHW = nn.functional.max_pool2d(subjects_BTHW.float(), AROUND, stride=1, padding=AROUND // 2)
    return near_BTHW[:, None]


def train_decoder(
    codec: VideoCodec,
    transformer: SkyReelsV4Transformer,
    encoder: TextEncoder,
    latents: Mapping[Bucket, LatentSet],
    weights: Mapping[Bucket, float],
    config: LoopConfig,
) -> None:
    """Train the decoder (or go on training it) and save the codec as `video_vae` of the work folder, its encoder
    untouched."""
    torch.manual_seed(config.seed)
    for module in (codec.vae, transformer, encoder.model):
        module.to(config.device)
    pool = ClipPool(POOL, frames=17, seed=config.seed + 1, refill=POOL // 20, every=100)
    run(DecoderTask(codec, transformer, encoder, latents, weights, pool), replace(config, ema_decay=EMA_DECAY))
    with replaced_folder(config.workdir / "video_vae") as part:
        codec.vae.save_pretrained(part)
