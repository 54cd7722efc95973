"""Latents of any data set, encoded beforehand: a folder of safetensors shards with an index.

    index.json                what each clip is: shard, grid, tokens, references, source; what made them
    00000.safetensors ...     "7.video" (N, C), "7.audio" (A, C), "7.context" (L, D), "7.references" (R, C) of clip 7
    empty.safetensors         the context of the empty prompt, "context" (L, D): what a dropped prompt becomes

Which clips a step takes is a function of (seed, step) alone: they are drawn with replacement among those that serve
its task.
Legend: N video tokens, A audio tokens, R reference tokens, C channels, L text tokens, D width.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from openreels.tasks.states import audio_state
from openreels.training.loop import step_generator
from openreels.training.sharded.conditions import TASKS, video_task, with_references
from openreels.training.sharded.mixture import draw_task
from openreels.training.sharded.phases import Phase
from openreels.training.sharded.samples import Sample, Target
from openreels.types import AudioShape, Context, VideoShape

__all__ = ["CachedData", "CachedSource", "LatentWriter"]

FORMAT = 1
Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Entry:
    """One clip. shard, number: the file, and what its tensors are called there.

    grid: latent frames, rows, columns; None: sound alone. audio_tokens: 0: no sound. latent_frames: of a video as long
    as the sound, which sets the sound's positions. references: their grids, stored in this order. source: what it was
    made of, for whoever goes on writing.
    """

    shard: int
    number: int
    grid: Grid | None
    audio_tokens: int
    latent_frames: float
    references: tuple[Grid, ...] = ()
    source: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Entry:
        """Of what JSON has made of it."""
        grid = None if fields["grid"] is None else tuple(fields["grid"])
        return cls(**{**fields, "grid": grid, "references": tuple(map(tuple, fields["references"]))})

    def serves(self, task: str) -> bool:
        """Whether the clip has what the task needs."""
        wanted = TASKS[task]
        has = {"video": self.grid is not None, "audio": self.audio_tokens > 0}
        still = self.grid is not None and self.grid[0] == 1
        length = 1 if wanted.reference == "image" else 2
        refers = wanted.reference is None or any((grid[0] >= length) for grid in self.references)
        return all(has[stream] for stream in wanted.streams) and still == wanted.still and refers


def _read_index(folder: Path) -> dict:
    index = json.loads((folder / "index.json").read_text())
    if index.get("format") != FORMAT:
        raise ValueError(f"{folder / 'index.json'} has format {index.get('format')}, and this reads {FORMAT}")
    return index


class LatentWriter:
    """Writes a folder of cached latents, whose index grows with every shard; a clip counts when its shard is written.

    made_by: what decides the latents besides their clips. With it, a folder of the same is written on, behind what it
    holds (`entries`); without, it is begun anew. Raises ValueError where the folder was made by something else.
    """

    def __init__(self, folder: Path, empty_context_LD: Tensor, clips_per_shard: int = 256, made_by: str = ""):
        self.folder, self.clips_per_shard, self.made_by = folder, clips_per_shard, made_by
        self.entries: list[Entry] = []
        self.tensors: dict[str, Tensor] = {}
        self.shard = 0
        self.widths: dict[str, int] = {"context": empty_context_LD.shape[-1]}
        if made_by and (folder / "index.json").is_file():
            index = _read_index(folder)
            if index["made_by"] != made_by:
                raise ValueError(f"{folder} holds latents of {index['made_by'] or 'another make'}, not of {made_by}")
            self.entries, self.widths = [Entry.of(clip) for clip in index["clips"]], index["widths"]
            # Names are not used again, whatever `keep` has forgotten: a training may still be reading those files.
            self.shard = 1 + max((int(path.stem) for path in folder.glob("[0-9]*.safetensors")), default=-1)
        self.number = 1 + max((entry.number for entry in self.entries), default=-1)
        self.pending = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._save({"context": empty_context_LD}, "empty")

    def keep(self, sources: Collection[str]) -> None:
        """Forgets the clips of any other source; the files with their latents stay."""
        self.entries = [entry for entry in self.entries if entry.source in sources]

    def add(
        self,
        context_LD: Tensor,
        video_NC: Tensor | None = None,
        grid: Grid | None = None,
        audio_AC: Tensor | None = None,
        latent_frames: float | None = None,
        references_NC: Sequence[Tensor] = (),
        reference_grids: Sequence[Grid] = (),
        source: str = "",
    ) -> None:
        """One clip; latents are stored as bfloat16.

        grid: latent frames, rows, columns of the video. latent_frames: of a video as long as the sound, needed where
        there is only sound (21 for 218 tokens, the paper's example). source: kept in the index.
        Raises ValueError where one contradicts another.
        """
        latent_frames = grid[0] if latent_frames is None and grid is not None else latent_frames
        if latent_frames is None:
            raise ValueError("sound alone needs latent_frames: how many a video as long as the sound would have")
        parts = {"video": video_NC, "audio": audio_AC, "context": context_LD}
        if references_NC:
            parts["references"] = torch.cat(list(references_NC))
        tokens = {"video": 0 if grid is None else grid[0] * grid[1] * grid[2]}
        tokens["references"] = sum(frames * rows * columns for frames, rows, columns in reference_grids)
        for name, expected in tokens.items():
            found = 0 if parts.get(name) is None else len(parts[name])
            if found != expected:
                raise ValueError(f"{name}: the grid has {expected} tokens and the latents {found}")
        for name, part in parts.items():
            if part is None:
                continue
            kind = "video" if name == "references" else name
            if self.widths.setdefault(kind, part.shape[-1]) != part.shape[-1]:
                raise ValueError(f"{name}: {part.shape[-1]} channels, where clips before had {self.widths[kind]}")
            # Clips wait here for their shard: not in the memory of the GPU that has encoded them.
            self.tensors[f"{self.number}.{name}"] = part.to("cpu", torch.bfloat16).contiguous()
        audio_tokens = 0 if audio_AC is None else len(audio_AC)
        grids = tuple(reference_grids)
        self.entries.append(Entry(self.shard, self.number, grid, audio_tokens, latent_frames, grids, source))
        self.number, self.pending = self.number + 1, self.pending + 1
        if self.pending == self.clips_per_shard:
            self.close()

    def close(self) -> None:
        """Writes what is not written yet, then the index."""
        if self.tensors:
            self._save(self.tensors, f"{self.shard:05d}")
            self.tensors, self.pending, self.shard = {}, 0, self.shard + 1
        clips = [asdict(entry) for entry in self.entries]
        index = {"format": FORMAT, "made_by": self.made_by, "widths": self.widths, "clips": clips}
        temporary = self.folder / ".index.json.tmp"
        temporary.write_text(json.dumps(index))
        temporary.replace(self.folder / "index.json")

    def _save(self, tensors: dict[str, Tensor], name: str) -> None:
        temporary = self.folder / f".{name}.tmp"
        save_file(tensors, temporary)
        temporary.replace(self.folder / f"{name}.safetensors")


@dataclass(frozen=True)
class CachedData:
    """folder: what a `LatentWriter` has written. Raises ValueError where there is no such index."""

    folder: Path

    def __post_init__(self):
        if not (self.folder / "index.json").is_file():
            raise ValueError(f"data must be a folder of cached latents with an index.json, not {str(self.folder)!r}")

    @cached_property
    def index(self) -> dict:
        return _read_index(self.folder)

    @cached_property
    def entries(self) -> list[Entry]:
        return [Entry.of(clip) for clip in self.index["clips"]]

    def lacks(self, phase: Phase) -> list[str]:
        """Tasks of the phase that no clip serves."""
        return [task for task in phase.shares if not any(entry.serves(task) for entry in self.entries)]

    def sizes(self) -> tuple[int, int, int]:
        """Channels of video and audio latents (1 where there are none), width of the context."""
        return tuple(self.index["widths"].get(name, 1) for name in ("video", "audio", "context"))

    def source(self, phase: Phase, workdir: Path, micro_batch: int, seed: int) -> CachedSource:
        """Tasks that no clip serves are left out; the others take their share. Raises ValueError where none is left."""
        return CachedSource(self, phase, micro_batch, seed)


class CachedSource:
    """Micro-batches for a phase; see `samples.Source`."""

    def __init__(self, data: CachedData, phase: Phase, micro_batch: int, seed: int):
        self.folder, self.phase, self.size, self.seed = data.folder, phase, micro_batch, seed
        self.video_channels, self.audio_channels, _ = data.sizes()
        self.entries = data.entries
        lacking = data.lacks(phase)
        self.shares = {task: share for task, share in phase.shares.items() if task not in lacking}
        if not self.shares:
            raise ValueError(f"{data.folder} has no clips for {', '.join(lacking)} of phase {phase.name}")
        # Clips of one shape, for each task: a micro-batch takes them from one of these lists.
        self.buckets = {task: self._buckets_of(task) for task in self.shares}

    def _buckets_of(self, task: str) -> list[list[int]]:
        buckets: dict[tuple, list[int]] = {}
        for index, entry in enumerate(self.entries):
            if entry.serves(task):
                references = entry.references if TASKS[task].reference else ()
                shape = entry.grid, entry.audio_tokens, entry.latent_frames, references
                buckets.setdefault(shape, []).append(index)
        return list(buckets.values())

    def micro_batch(self, step: int, number: int) -> list[Sample]:
        task = draw_task(self.shares, self.seed, self.phase.name, step, number)
        buckets = self.buckets[task]
        draw = step_generator(self.seed, f"{self.phase.name}/cached/{number}", step)
        clips = buckets[int(torch.multinomial(torch.tensor([float(len(b)) for b in buckets]), 1, generator=draw))]
        chosen = torch.randint(len(clips), (self.size,), generator=draw).tolist()
        dropped = (torch.rand(self.size, generator=draw) < self.phase.chosen.text_dropout).tolist()
        return [self._sample(task, clips[i], drop, draw) for i, drop in zip(chosen, dropped, strict=True)]

    def _sample(self, task_name: str, index: int, dropped: bool, draw: torch.Generator) -> Sample:
        entry, task = self.entries[index], TASKS[task_name]
        shard = _opened(self.folder / f"{entry.shard:05d}.safetensors")
        prompt = _opened(self.folder / "empty.safetensors").get_tensor("context") if dropped else None
        context_1LD = (shard.get_tensor(f"{entry.number}.context") if prompt is None else prompt)[None].float()
        context = Context(context_1LD, torch.ones(context_1LD.shape[:2], dtype=torch.bool))
        video = audio = None
        if "video" in task.streams:
            data_NC = shard.get_tensor(f"{entry.number}.video").float()
            blank = video_task(task, data_NC, _video_shape(entry.grid, self.video_channels), draw)
            if task.reference:
                sizes = [frames * rows * columns for frames, rows, columns in entry.references]
                references = shard.get_tensor(f"{entry.number}.references").float().split(sizes)
                blank = with_references(blank, references, entry.references)
            video = Target(blank, data_NC[None])
        if "audio" in task.streams:
            shape = AudioShape(0, 0, entry.audio_tokens, self.audio_channels)
            blank = audio_state(shape, entry.latent_frames, 1)
            audio = Target(blank, shard.get_tensor(f"{entry.number}.audio")[None].float())
        return Sample(context, video, audio)


@lru_cache(maxsize=64)
def _opened(path: Path):
    return safe_open(path, "pt")


def _video_shape(grid: Grid, channels: int) -> VideoShape:
    """Only the latents' side of a shape: nothing is decoded here."""
    return VideoShape(0, 0, 0, 0, *grid, channels)
