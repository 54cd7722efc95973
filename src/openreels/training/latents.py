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
from openreels.types import AudioShape, VideoShape
from openreels.world import Scene, render_frames, render_sound, sample_scene

__all__ = ["Bucket", "Codecs", "LatentSet", "build_shard", "shard_path"]

SHARD = 512


@dataclass(frozen=True)
class Bucket:
    """Clips of one shape. height, width: canvas in pixels (multiples of 16). aspect: of the window inside it."""

    frames: int
    height: int = 64
    width: int = 64
    aspect: str = "1:1"

    @property
    def name(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}-{self.aspect.replace(':', 'to')}"

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
        """Changes whenever what shapes the latents of "video" or "audio" does; a better decoder leaves it as it is."""
        vae = self.video.vae if stream == "video" else self.audio.vae
        total = crc32(f"{vae.config.latents_mean} {vae.config.latents_std}".encode())
        for name, parameter in vae.named_parameters():
            if not name.startswith("decoder"):
                total = crc32(parameter.detach().float().numpy().tobytes(), total)
        return f"{total:08x}"


def scene_of(bucket: Bucket, seed: int) -> Scene:
    height, width = bucket.window
    # A still is a moment of a two-second scene, so that things are met in the middle of their motion.
    duration = 2.0 if bucket.frames == 1 else bucket.frames / 16
    return sample_scene(seed, duration=duration, aspect=width / height)


def clip_seed(seed: int, bucket: Bucket, number: int) -> int:
    return (crc32(f"{seed}/{bucket.name}".encode()) << 24) + number


def shard_path(folder: Path, stream: str, bucket: Bucket, number: int, codecs: Codecs, seed: int) -> Path:
    return folder / f"{stream}-{bucket.name}-{codecs.fingerprint(stream)}-{seed}-{number:03d}.safetensors"


def build_shard(folder: Path, stream: str, bucket: Bucket, number: int, codecs: Codecs, seed: int) -> Path:
    """Render and encode shard `number` of one stream ("video" or "audio"), unless it is there. Returns its file."""
    path = shard_path(folder, stream, bucket, number, codecs, seed)
    if path.exists():
        return path
    parts = []
    # Small portions: on a CPU the pictures and features of a portion should stay in the cache.
    portion = max(1, min(32, 17 * 32 // bucket.frames))
    for start in range(0, SHARD, portion):
        numbers = range(number * SHARD + start, number * SHARD + min(start + portion, SHARD))
        scenes = [scene_of(bucket, clip_seed(seed, bucket, n)) for n in numbers]
        with torch.no_grad(), autocast("cpu"):
            parts.append(_encode(stream, bucket, scenes, codecs, numbers[0]).to(torch.bfloat16))
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({"latents": torch.cat(parts)}, temporary)
    temporary.replace(path)
    return path


def _encode(stream: str, bucket: Bucket, scenes: list[Scene], codecs: Codecs, number: int) -> Tensor:
    if stream == "audio":
        return codecs.audio.encode(render_sound(scenes, samples=codecs.audio_shape(bucket).samples))
    height, width = bucket.window
    # A still is some moment of its scene.
    moment = number * 0.618034 % 1.9 if bucket.frames == 1 else 0.0
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

    latents: stream -> bfloat16 (clips, tokens, channels), of the streams asked for. `scene(i)`: the script of clip i.
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
            self.latents[stream] = torch.cat([load_file(path)["latents"] for path in paths])

    def __len__(self) -> int:
        return len(next(iter(self.latents.values())))

    @cache  # noqa: B019 - a set lives as long as its training
    def scene(self, index: int) -> Scene:
        return scene_of(self.bucket, clip_seed(self.seed, self.bucket, index))
