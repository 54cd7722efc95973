"""Training of the layout planner: read a prompt, say where everything will be.

Nothing is rendered for it, so it sees more scenes in a minute than the transformer in an hour. It reads what the text
encoder says at the end of all stages, and is therefore trained last.

Legend: B batch, S subjects, F latent frames, K numbers of a layout.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from openreels.codecs.video import VideoCodec
from openreels.encoders.text import TextEncoder
from openreels.flow.path import interpolate
from openreels.media.folders import replaced_folder
from openreels.models.layout import LayoutPlanner
from openreels.nn.precision import autocast
from openreels.training.latents import FPS, Bucket, clip_seed, example_of, moment_of, plain_film, scene_of
from openreels.training.layouts import LAYOUT_CLASSES, SUBJECTS, layout_of
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw
from openreels.world import Film, random_caption
from openreels.world.examples import ROWS, sample_example

__all__ = ["PlannerTask", "new_planner", "train_planner"]

SCENES = 32_000  # of every kind of clip; each is told in other words whenever it is drawn
SHARPEST = 0.15  # 1 - t, from which on the error counts no more
ROW_SHARE = 0.25  # of steps on prompts of the task table
EMPTY_SHARE = 0.05  # of prompts that say nothing


def unseen_rows() -> tuple[str, ...]:
    """Rows of the task table whose picture is a matter of the prompt alone."""
    return tuple(row.name for row in ROWS.values() if row.has_picture and sample_example(row.name, 0).is_unseen)


def new_planner(text_dim: int) -> LayoutPlanner:
    return LayoutPlanner(text_dim, LAYOUT_CLASSES, SUBJECTS)


class PlannerTask(Task):
    """Flow matching over layouts: the squared error of where they are seen to end, which weighs more near the end.

    buckets: kinds of clips and how often each is drawn.
    """

    name = "planner"

    def __init__(
        self,
        planner: LayoutPlanner,
        encoder: TextEncoder,
        codec: VideoCodec,
        buckets: dict[Bucket, float],
        batch: int = 128,
        muon_lr: float = 0.02,
        adamw_lr: float = 2e-3,
    ):
        self.planner, self.encoder, self.codec, self.batch = planner, encoder, codec, batch
        self.modules = {"planner": planner}
        encoder.model.requires_grad_(False)
        self.optimizers = muon_and_adamw(self.modules.values(), muon_lr=muon_lr, adamw_lr=adamw_lr)
        rows = unseen_rows()  # of clips as long as all of them can be
        self.plain = list(buckets)
        self.rows = [replace(bucket, row=row) for bucket in buckets for row in rows if bucket.frames == 33]
        self.weights = torch.tensor(list(buckets.values()))
        self.case = cache(self._case)

    @property
    def samples_per_step(self) -> int:
        return self.batch

    def _case(self, bucket: Bucket, number: int) -> tuple[Film, str | None, Tensor]:
        """A film, its prompt where that is a matter of the row, and its layout."""
        seed = clip_seed(7, bucket, number)
        if bucket.row is None:
            film, prompt = plain_film(scene_of(bucket, seed), moment_of(bucket, number)), None
        else:
            example = example_of(bucket, seed)
            film, prompt = example.target, example.prompt
        shape = self.codec.shape(bucket.frames, bucket.height, bucket.width, FPS)
        return film, prompt, layout_of(film, shape)

    def draw(self, step: int, generator: torch.Generator) -> tuple[float, list[str], Tensor, Tensor, Tensor]:
        if self.rows and float(torch.rand((), generator=generator)) < ROW_SHARE:
            bucket = self.rows[int(torch.randint(len(self.rows), (), generator=generator))]
        else:
            bucket = self.plain[int(torch.multinomial(self.weights, 1, generator=generator))]
        numbers = torch.randint(SCENES, (self.batch,), generator=generator).tolist()
        seeds = torch.randint(2**31, (self.batch,), generator=generator).tolist()
        empty = (torch.rand(self.batch, generator=generator) < EMPTY_SHARE).tolist()
        prompts, layouts = [], []
        for number, seed, drop in zip(numbers, seeds, empty, strict=True):
            film, prompt, layout_SFK = self.case(bucket, number)
            told = random_caption(film.shots[0].scene, seed) if prompt is None else prompt
            prompts.append("" if drop else told)
            layouts.append(layout_SFK)
        layout_BSFK = torch.stack(layouts)
        # A batch covers all times evenly.
        order_B = torch.randperm(self.batch, generator=generator)
        time_B = (order_B + torch.rand(self.batch, generator=generator)) / self.batch
        noise_BSFK = torch.randn(layout_BSFK.shape, generator=generator)
        return bucket.width / bucket.height, prompts, layout_BSFK, noise_BSFK, time_B

    def loss(self, drawn: tuple[float, list[str], Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, float | Tensor]]:
        aspect, prompts, *tensors = drawn
        device = self.planner.device
        layout_BSFK, noise_BSFK, time_B = (tensor.to(device) for tensor in tensors)
        context = self.encoder.encode(prompts, device)
        data_BSFK = self.planner.normalised(layout_BSFK)
        with autocast(device):
            noisy_BNK = interpolate(data_BSFK.flatten(1, 2), noise_BSFK.flatten(1, 2), time_B)
            found_BSFK = self.planner(noisy_BNK.view_as(data_BSFK), time_B, aspect, context)
        error_B = (found_BSFK.float() - data_BSFK).square().mean((1, 2, 3))
        loss = (error_B / (1 - time_B).clamp(min=SHARPEST) ** 2).mean()
        shown_B = error_B.detach()
        return loss, {"early": shown_B[time_B < 0.2].mean(), "late": shown_B[time_B > 0.8].mean()}


def train_planner(
    workdir: Path,
    codec: VideoCodec,
    encoder: TextEncoder,
    buckets: dict[Bucket, float],
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> LayoutPlanner:
    """Train (or go on training, with what was brought there) and save `planner` to `workdir`."""
    torch.manual_seed(seed)
    brought = workdir / "planner"
    planner = LayoutPlanner.from_pretrained(brought) if brought.is_dir() else new_planner(encoder.width)
    planner.to(device)
    encoder.model.to(device)
    task = PlannerTask(planner, encoder, codec, buckets)
    run(task, LoopConfig(workdir, seed, steps, minutes, device=device))
    with replaced_folder(workdir / "planner") as part:
        planner.save_pretrained(part)
    return planner
