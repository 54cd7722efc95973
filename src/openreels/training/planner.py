"""Training of the layout planner: read a prompt, look at what is given, say where everything will be.

It learns from the transformer's cases and renders nothing. It reads what the text encoder says when all stages are
over, and is therefore trained last.

Legend: B batch, S subjects, F latent frames, K numbers of a layout, N tokens, C latent channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from openreels.encoders.text import TextEncoder
from openreels.flow.path import interpolate
from openreels.media.folders import replaced_folder
from openreels.models.layout import LayoutPlanner
from openreels.nn.precision import autocast
from openreels.training.latents import Bucket, LatentSet
from openreels.training.layouts import LAYOUT_CLASSES, SUBJECTS
from openreels.training.loop import LoopConfig, Task, run
from openreels.training.optimizers import muon_and_adamw
from openreels.training.stages import Share
from openreels.types import StreamState

__all__ = ["PlannerTask", "new_planner", "train_planner"]

SHARPEST = 0.3  # 1 - t, from which on the error counts no more
BATCH, COPIES = 48, 8  # cases of a step, and how often each is noised: reading them is most of the work
MOST_TOKENS = 6_000  # of what is given, in a step
# Of plain clips nothing is given in most steps; in the others some of their own latents are, and the prompt is often
# left out: what is there must be seen.
PLAIN_GIVEN, UNTOLD, UNTOLD_GIVEN = 0.15, 0.05, 0.3


def new_planner(text_dim: int, video_channels: int, audio_channels: int) -> LayoutPlanner:
    return LayoutPlanner(text_dim, video_channels, audio_channels, LAYOUT_CLASSES, SUBJECTS)


class Case(NamedTuple):
    """What a step works on: cases, and `COPIES` noised layouts of each, one after the other."""

    aspect: float
    prompts: list[str]
    video: StreamState
    audio: StreamState | None
    layout_BSFK: Tensor
    noise_BSFK: Tensor
    time_B: Tensor


class PlannerTask(Task):
    """Flow matching over layouts: the squared error of where they are seen to end, which weighs more near the end.

    shares: of which cases are drawn, as in a stage; their batches are the task's own.
    """

    name = "planner"

    def __init__(
        self,
        planner: LayoutPlanner,
        encoder: TextEncoder,
        shares: Sequence[Share],
        latents: Mapping[Bucket, LatentSet],
        muon_lr: float = 0.01,
        adamw_lr: float = 1e-3,
    ):
        self.planner, self.encoder, self.latents = planner, encoder, latents
        self.shares = [share for share in shares if "video" in share.bucket.streams]
        self.weights = torch.tensor([share.weight for share in self.shares])
        self.modules = {"planner": planner}
        encoder.model.requires_grad_(False)
        self.optimizers = muon_and_adamw(self.modules.values(), muon_lr=muon_lr, adamw_lr=adamw_lr)

    @property
    def samples_per_step(self) -> int:
        return BATCH * COPIES

    def draw(self, step: int, generator: torch.Generator) -> Case:
        data = self.latents[self.shares[int(torch.multinomial(self.weights, 1, generator=generator))].bucket]
        given = float(torch.rand((), generator=generator)) < PLAIN_GIVEN if data.bucket.row is None else None
        batch = BATCH
        if given is not False:
            example = data.blank("video", torch.zeros(1, dtype=torch.long))
            batch = max(1, min(BATCH, MOST_TOKENS // (example.tokens + example.references)))
        index = torch.randint(len(data), (batch,), generator=generator)
        seeds = torch.randint(2**31, (batch,), generator=generator).tolist()
        untold = (torch.rand(batch, generator=generator) < (UNTOLD_GIVEN if given else UNTOLD)).tolist()
        prompts = [
            "" if dropped else data.caption(i, seed)
            for i, seed, dropped in zip(index.tolist(), seeds, untold, strict=True)
        ]
        video = data.blank("video", index)
        audio = data.blank("audio", index) if "audio" in data.latents else None
        if data.whole is not None or given:
            whole = data.whole or ("video", "audio", None)[int(torch.randint(3, (), generator=generator))]
            if whole == "video":
                video = _whole(video, data.latents["video"][index])
            elif whole == "audio" and audio is not None:
                audio = _whole(audio, data.latents["audio"][index])
            else:
                video = _kept(video, data, index, generator)
        layout_BSFK = torch.stack([data.layout(i) for i in index.tolist()]).repeat_interleave(COPIES, 0)
        # A batch covers all times, the noisy ones more densely: there it is decided what happens.
        count = len(layout_BSFK)
        even_B = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
        time_B = even_B**1.5
        noise_BSFK = torch.randn(layout_BSFK.shape, generator=generator)
        aspect = data.video_shape.width / data.video_shape.height
        return Case(aspect, prompts, video, audio, layout_BSFK, noise_BSFK, time_B)

    def loss(self, drawn: Case) -> tuple[Tensor, dict[str, float | Tensor]]:
        device = self.planner.device
        layout_BSFK, noise_BSFK, time_B = (each.to(device) for each in drawn[-3:])
        video, audio = (None if state is None else state.to(device) for state in (drawn.video, drawn.audio))
        context = self.encoder.encode(drawn.prompts, device)
        data_BSFK = self.planner.normalised(layout_BSFK)
        with autocast(device):
            noisy_BNK = interpolate(data_BSFK.flatten(1, 2), noise_BSFK.flatten(1, 2), time_B)
            evidence = self.planner.evidence(context, video, audio)
            found_BSFK = self.planner(noisy_BNK.view_as(data_BSFK), time_B, drawn.aspect, evidence)
        error_B = (found_BSFK.float() - data_BSFK).square().mean((1, 2, 3))
        loss = (error_B / (1 - time_B).clamp(min=SHARPEST) ** 2).mean()
        parts = {"early": error_B[time_B < 0.2].detach(), "late": error_B[time_B > 0.8].detach()}
        return loss, {name: part.mean() for name, part in parts.items() if len(part)}


def _whole(state: StreamState, latents_BNC: Tensor) -> StreamState:
    return replace(state, noisy_BNC=latents_BNC.float(), time_B=torch.ones_like(state.time_B))


def _kept(state: StreamState, data: LatentSet, index: Tensor, generator: torch.Generator) -> StreamState:
    """With some latent frames of the clips kept: the first ones, or any."""
    frames = data.video_shape.latent_frames
    kept_F = torch.zeros(frames)
    if float(torch.rand((), generator=generator)) < 0.5:
        kept_F[: 1 + int(torch.randint(min(frames, 4), (), generator=generator))] = 1.0
    else:
        kept_F[torch.randint(frames, (2,), generator=generator)] = 1.0
    mask_BN1 = kept_F.repeat_interleave(state.tokens // frames)[None, :, None].expand(len(index), -1, 1)
    return replace(state, given_BNC=data.latents["video"][index].float() * mask_BN1, mask_BN1=mask_BN1)


def train_planner(
    workdir: Path,
    encoder: TextEncoder,
    shares: Sequence[Share],
    latents: Mapping[Bucket, LatentSet],
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 0,
) -> LayoutPlanner:
    """Train (or go on training, with what was brought there) and save `planner` to `workdir`."""
    torch.manual_seed(seed)
    brought, some = workdir / "planner", next(iter(latents.values()))
    channels = some.video_shape.latent_channels, some.audio_shape.latent_channels
    planner = LayoutPlanner.from_pretrained(brought) if brought.is_dir() else new_planner(encoder.width, *channels)
    planner.to(device)
    encoder.model.to(device)
    task = PlannerTask(planner, encoder, shares, latents)
    run(task, LoopConfig(workdir, seed, steps, minutes, device=device, workers=workers))
    planner.register_to_config(reads=encoder.fingerprint)
    with replaced_folder(workdir / "planner") as part:
        planner.save_pretrained(part)
    return planner
