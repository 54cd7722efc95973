"""Samples of the pocket world, so that every phase runs here: its latents are rendered, encoded and kept on disk.

References are stand-ins: the first picture, or the first half, of the very clip that is to be generated. A data set
with true pairs comes as cached latents (`cached.py`).
Legend: N tokens, C channels, L text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from openreels.encoders.text import TextEncoder
from openreels.tasks.states import audio_state
from openreels.training.latents import Bucket, LatentSet
from openreels.training.loop import step_generator
from openreels.training.plan import load_components, load_latents
from openreels.training.sharded.conditions import TASKS, Task, video_task, with_references
from openreels.training.sharded.mixture import draw_task
from openreels.training.sharded.phases import Phase
from openreels.training.sharded.samples import Sample, Target
from openreels.training.stages import Share, Stage
from openreels.types import Context
from openreels.world import random_caption

__all__ = ["WorldData", "WorldSource"]

STILLS, CLIPS = Bucket(1), (Bucket(17), Bucket(33))


@dataclass(frozen=True)
class WorldData:
    """components: folder with the frozen codecs and the text encoder (exported pocket weights).

    stills, clips: what stands for the phases' images and videos, a clip bucket drawn uniformly. shards: of each.
    """

    components: Path
    stills: Bucket = STILLS
    clips: tuple[Bucket, ...] = CLIPS
    shards: int = 4

    def sizes(self) -> tuple[int, int, int]:
        """Channels of video and audio latents, width of the context."""
        codecs, encoder = load_components(self.components)
        return codecs.video.vae.config.latent_channels, codecs.audio.latent_channels, encoder.width

    def lacks(self, phase: Phase) -> list[str]:
        """The world has clips for every task."""
        return []

    def source(self, phase: Phase, workdir: Path, micro_batch: int, seed: int) -> WorldSource:
        """Builds what latents are missing under `workdir`, all processes together."""
        codecs, encoder = load_components(self.components)
        tasks = [TASKS[name] for name in phase.shares]
        streams = tuple(sorted({stream for task in tasks for stream in task.streams}))
        buckets = [self.stills] if any(task.still for task in tasks) else []
        buckets += self.clips if any(not task.still for task in tasks) else ()
        shares = [Share(bucket, 1.0, 1, self.shards) for bucket in buckets]
        stage = Stage(phase.name, streams, (), {}, shares, 0, 0, 0)
        latents = load_latents([stage], workdir, codecs, seed)
        return WorldSource(self, phase, latents, encoder, micro_batch, seed)


class WorldSource:
    """Micro-batches for a phase; see `samples.Source`."""

    def __init__(
        self,
        data: WorldData,
        phase: Phase,
        latents: Mapping[Bucket, LatentSet],
        encoder: TextEncoder,
        micro_batch: int,
        seed: int,
    ):
        self.data, self.phase, self.latents = data, phase, latents
        self.encoder, self.size, self.seed = encoder, micro_batch, seed

    def micro_batch(self, step: int, number: int) -> list[Sample]:
        task = TASKS[draw_task(self.phase.shares, self.seed, self.phase.name, step, number)]
        draw = step_generator(self.seed, f"{self.phase.name}/world/{number}", step)
        clips = self.data.clips
        bucket = self.data.stills if task.still else clips[int(torch.randint(len(clips), (), generator=draw))]
        indices = torch.randint(len(self.latents[bucket]), (self.size,), generator=draw).tolist()
        seeds = torch.randint(2**31, (self.size,), generator=draw).tolist()
        dropped = torch.rand(self.size, generator=draw) < self.phase.chosen.text_dropout
        scenes = [self.latents[bucket].scene(index) for index in indices]
        texts = [random_caption(scene, seed) for scene, seed in zip(scenes, seeds, strict=True)]
        contexts = self._contexts(["" if drop else text for drop, text in zip(dropped.tolist(), texts, strict=True)])
        return [
            self._sample(task, bucket, index, context, draw) for index, context in zip(indices, contexts, strict=True)
        ]

    @torch.no_grad()
    def _contexts(self, texts: list[str]) -> list[Context]:
        whole = self.encoder.encode(texts)
        return [Context(whole.hidden_BLD[i : i + 1], whole.mask_BL[i : i + 1]) for i in range(len(texts))]

    def _sample(self, task: Task, bucket: Bucket, index: int, context: Context, draw: torch.Generator) -> Sample:
        latents = self.latents[bucket]
        video = audio = None
        if "video" in task.streams:
            data_NC = latents.latents["video"][index].float()
            blank = video_task(task, data_NC, latents.video_shape, draw)
            video = Target(self._referring(task, blank, data_NC, latents), data_NC[None])
        if "audio" in task.streams:
            blank = audio_state(latents.audio_shape, latents.video_shape.latent_frames, 1)
            audio = Target(blank, latents.latents["audio"][index][None].float())
        return Sample(context, video, audio)

    def _referring(self, task: Task, blank, data_NC: Tensor, latents: LatentSet):
        shape = latents.video_shape
        if task.reference is None:
            return blank
        frames = 1 if task.reference == "image" else (shape.latent_frames + 1) // 2
        grid = frames, shape.latent_height, shape.latent_width
        return with_references(blank, [data_NC[: frames * grid[1] * grid[2]]], [grid])
