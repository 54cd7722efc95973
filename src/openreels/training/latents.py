"""Latents of world clips, encoded once and used many times.

A shard is a function of (seed, stream, bucket, number, codec weights) alone and lives in one safetensors file, so
several processes can build different shards and any run can be repeated. Captions are not stored: they are written
anew, in another wording, whenever a clip is drawn.

Legend: B batch, N video tokens, A audio tokens, C channels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from zlib import crc32

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from openreels.codecs.audio import AudioCodec
from openreels.codecs.video import VideoCodec
from openreels.media.aspect import frame_size
from openreels.media.timing import samples_for
from openreels.nn.precision import autocast
from openreels.tasks.states import audio_state, video_state
from openreels.tasks.wording import cut_sentence
from openreels.training.cases import encoded, with_conditions
from openreels.training.layouts import SUBJECTS, layout_of, shown_layouts
from openreels.training.token_truth import TokenTruth, heard, seen
from openreels.types import AudioShape, StreamState, VideoShape
from openreels.world import CUTS, Camera, Film, Scene, Shot, random_caption, render_frames, render_sound, sample_scene
from openreels.world.examples import ROWS, Example, sample_example, show_many

__all__ = ["Bucket", "Codecs", "LatentSet", "build_shard", "shard_path"]

SHARD = 512  # clips
STILLS = 32  # rendered together at one moment of their scenes
FEWER = 3  # times as many clips as cases of a row, of which each holds several clips


@dataclass(frozen=True)
class Bucket:
    """Clips of one shape. height, width: canvas in pixels (multiples of 16). aspect: of the window inside it.

    row: of the task table, whose cases they are; None: clips that are made from a caption alone.
    """

    frames: int
    height: int = 64
    width: int = 64
    aspect: str = "1:1"
    row: str | None = None

    @property
    def name(self) -> str:
        shape = f"{self.frames}x{self.height}x{self.width}-{self.aspect.replace(':', 'to')}"
        return shape if self.row is None else f"{shape}-{self.row}"

    @property
    def streams(self) -> tuple[str, ...]:
        """What its clips have of "video" and "audio"."""
        if self.frames == 1:
            return ("video",)
        if self.row is None:
            return ("video", "audio")
        row = ROWS[self.row]
        return ("video",) * row.has_picture + ("audio",) * row.has_sound

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of what the user will see of the canvas."""
        return frame_size(self.aspect, min(self.height, self.width))


@dataclass(frozen=True, eq=False)
class Codecs:
    """The frozen codecs whose latents are learned."""

    video: VideoCodec
    audio: AudioCodec
    fps: Fraction = Fraction(16)

    def video_shape(self, bucket: Bucket) -> VideoShape:
        return self.video.shape(bucket.frames, bucket.height, bucket.width, self.fps)

    def audio_shape(self, bucket: Bucket) -> AudioShape:
        return self.audio.shape(samples_for(bucket.frames, self.fps, self.audio.sample_rate))

    @cache  # noqa: B019 - codecs live as long as their training
    def fingerprint(self, stream: str) -> str:
        """Changes whenever what shapes the latents of "video", "audio" or "cases" does; a better decoder leaves it as
        it is."""
        if stream == "cases":
            return f"{self.fingerprint('video')}{self.fingerprint('audio')}"
        vae = self.video.vae if stream == "video" else self.audio.vae
        total = crc32(f"{vae.config.latents_mean} {vae.config.latents_std}".encode())
        for name, parameter in vae.named_parameters():
            if not name.startswith("decoder"):
                total = crc32(parameter.detach().float().numpy().tobytes(), total)
        return f"{total:08x}"


def story_seconds(bucket: Bucket) -> float:
    """A still is a moment of a two-second scene, so that things are met in the middle of their motion."""
    return 2.0 if bucket.frames == 1 else bucket.frames / 16


def scene_of(bucket: Bucket, seed: int) -> Scene:
    height, width = bucket.window
    return sample_scene(seed, duration=story_seconds(bucket), aspect=width / height)


def moment_of(bucket: Bucket, number: int) -> float:
    """When clip `number` begins, seconds: a still is some moment of its scene, one for all `STILLS` of a portion."""
    return number // STILLS * STILLS * 0.618034 % 1.9 if bucket.frames == 1 else 0.0


def plain_film(scene: Scene, start: float) -> Film:
    """A scene as a film of one shot, from `start` on, seconds."""
    return Film(0, (Shot(scene, Camera(), start, scene.duration),), ())


def clip_seed(seed: int, bucket: Bucket, number: int) -> int:
    return (crc32(f"{seed}/{bucket.name}".encode()) << 24) + number


def shard_path(folder: Path, stream: str, bucket: Bucket, number: int, codecs: Codecs, seed: int) -> Path:
    made_by = codecs.fingerprint(stream)
    if stream == "cases":
        # Prompts are not stored but drawn again: they must be of the same cases, whatever becomes of the world's code.
        made_by += f"{crc32(repr(example_of(bucket, clip_seed(seed, bucket, 0))).encode()):08x}"
    return folder / f"{stream}-{bucket.name}-{made_by}-{seed}-{number:03d}.safetensors"


def build_shard(folder: Path, stream: str, bucket: Bucket, number: int, codecs: Codecs, seed: int) -> Path:
    """Render and encode shard `number` of one stream ("video" or "audio"; "cases": all that a row's have), unless it is
    there. Returns its file."""
    path = shard_path(folder, stream, bucket, number, codecs, seed)
    if path.exists():
        return path
    parts: list[dict[str, Tensor]] = []
    # Small portions: on a CPU the pictures and features of a portion should stay in the cache.
    portion = max(1, min(STILLS, 17 * STILLS // bucket.frames))
    size = SHARD if bucket.row is None else SHARD // FEWER
    for start in range(0, size, portion):
        numbers = range(number * size + start, number * size + min(start + portion, size))
        seeds = [clip_seed(seed, bucket, n) for n in numbers]
        with torch.no_grad(), autocast("cpu"):
            if stream == "cases":
                parts.append(_encode_cases(bucket, seeds, codecs))
            else:
                scenes = [scene_of(bucket, each) for each in seeds]
                parts.append({"latents": _encode(stream, bucket, scenes, codecs, numbers[0])})
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file(_joined(parts), temporary)
    temporary.replace(path)
    return path


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Latents along the batch in bfloat16; positions, the same for all, as they are."""
    return {
        name: parts[0][name] if name.endswith("_RP") else torch.cat([part[name] for part in parts]).to(torch.bfloat16)
        for name in parts[0]
    }


def example_of(bucket: Bucket, seed: int) -> Example:
    height, width = bucket.window
    seconds = bucket.frames / 16 if bucket.frames / 16 >= 1 else 2.0  # few frames are the beginning of a story
    return sample_example(bucket.row, seed, duration=seconds, aspect=width / height)


def _encode_cases(bucket: Bucket, seeds: Sequence[int], codecs: Codecs) -> dict[str, Tensor]:
    height, width = bucket.window
    examples = [example_of(bucket, seed) for seed in seeds]
    shown = show_many(
        examples,
        frames=bucket.frames,
        height=bucket.height,
        width=bucket.width,
        safe_height=height,
        safe_width=width,
        fps=float(codecs.fps),
        sample_rate=codecs.audio.sample_rate,
    )
    return encoded(examples, shown, codecs.video, codecs.audio, codecs.video_shape(bucket), codecs.audio_shape(bucket))


def _encode(stream: str, bucket: Bucket, scenes: list[Scene], codecs: Codecs, number: int) -> Tensor:
    if stream == "audio":
        return codecs.audio.encode(render_sound(scenes, samples=codecs.audio_shape(bucket).samples))
    height, width = bucket.window
    moment = moment_of(bucket, number)
    frames = render_frames(
        scenes,
        fps=float(codecs.fps),
        frames=bucket.frames,
        height=bucket.height,
        width=bucket.width,
        safe_height=height,
        safe_width=width,
        start=moment,
    )
    return codecs.video.encode(frames)


class LatentSet:
    """All shards of one bucket in memory.

    latents: bfloat16 (clips, tokens, channels) by stream, of the streams asked for; of a row's cases also what is given
    in them (`cases.encoded`).
    """

    def __init__(
        self,
        folder: Path,
        streams: Sequence[str],
        bucket: Bucket,
        shards: int,
        codecs: Codecs,
        seed: int,
    ):
        self.bucket, self.seed = bucket, seed
        self.video_shape, self.audio_shape = codecs.video_shape(bucket), codecs.audio_shape(bucket)
        self.latents: dict[str, Tensor] = {}
        for stream in streams:
            paths = [build_shard(folder, stream, bucket, number, codecs, seed) for number in range(shards)]
            found = _joined([load_file(path) for path in paths])
            self.latents |= found if stream == "cases" else {stream: found["latents"]}
        # Drawn once each, and forgotten with the set.
        self.scene, self.example = cache(self._scene), cache(self._example)
        self.truth, self.layout, self.shown = cache(self._truth), cache(self._layout), cache(self._shown)

    def __len__(self) -> int:
        return next(len(self.latents[stream]) for stream in ("video", "audio") if stream in self.latents)

    def blank(self, stream: str, index: Tensor, references: bool = True) -> StreamState:
        """The state of "video" or "audio" of the clips `index`, at time 0, without noise, with what is given in them.

        references: False leaves those out.
        """
        if stream == "video":
            state = video_state(self.video_shape, len(index))
        else:
            state = audio_state(self.audio_shape, self.video_shape.latent_frames, len(index))
        return with_conditions(state, stream, self.latents, index, references)

    def caption(self, index: int, seed: int) -> str:
        """What the user would write for clip `index`; of plain clips in a wording of its own for each seed."""
        if self.bucket.row is None:
            return random_caption(self.scene(index), seed)
        prompt, cut = self.example(index).prompt, self.bucket.row.removeprefix("extension-")
        # A cut may also be asked for by name: then sampling puts a sentence in front of what the user says.
        told = cut in CUTS and seed % 2 == 1
        return f"{cut_sentence(prompt, cut)} {prompt}" if told else prompt

    @property
    def whole(self) -> str | None:
        """The stream that is given whole in a row's cases: "video", "audio" or none."""
        given = self.example(0).given if self.bucket.row is not None else None
        return {"picture": "video", "sound": "audio", None: None}[given]

    def _scene(self, index: int) -> Scene:
        return scene_of(self.bucket, clip_seed(self.seed, self.bucket, index))

    def film(self, index: int) -> Film:
        """What clip `index` shows, from its first frame on."""
        if self.bucket.row is not None:
            return self.example(index).target
        return plain_film(self.scene(index), moment_of(self.bucket, index))

    def _truth(self, stream: str, index: int) -> TokenTruth:
        """What the tokens of clip `index` hold in "video" or "audio", as the world knows it."""
        film = self.film(index)
        return seen(film, self.video_shape, self.bucket.window) if stream == "video" else heard(film, self.audio_shape)

    @property
    def is_unseen(self) -> bool:
        """Whether nothing decides what is to be seen in such clips but the prompt."""
        return self.bucket.row is None or self.example(0).is_unseen

    def _layout(self, index: int) -> Tensor:
        """The layout of clip `index`, (S, F, K)."""
        return layout_of(self.film(index), self.video_shape, SUBJECTS)

    def _shown(self, index: int) -> list[Tensor]:
        """Layouts of what case `index` hands over to look at, see `shown_layouts`."""
        return [] if self.bucket.row is None else shown_layouts(self.example(index), self.video_shape)

    def _example(self, index: int) -> Example:
        return example_of(self.bucket, clip_seed(self.seed, self.bucket, index))
