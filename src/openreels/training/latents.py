"""Latents of world clips, encoded once and used many times.

A shard is a function of (seed, bucket, number, codec weights) alone and lives in one safetensors file, so several
processes can build different shards and any run can be repeated. Captions are not stored: they are written anew, in
another wording, whenever a clip is drawn.

Legend: B batch, N video tokens, A audio tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from zlib import crc32

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from openreels.codecs.audio import AudioCodec
from openreels.codecs.video import VideoCodec
from openreels.media.aspect import frame_size
from openreels.media.timing import samples_for
from openreels.types import AudioShape, VideoShape
from openreels.world import Scene, render, render_frames, sample_scene

__all__ = ["Bucket", "Codecs", "LatentSet", "build_shard"]

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
        return f"{self.frames}x{self.height}x{self.width}"

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of what the user will see of the canvas."""
        return frame_size(self.aspect, min(self.height, self.width))


@dataclass(frozen=True)
class Codecs:
    """The frozen codecs whose latents are learned. audio None: for still images."""

    video: VideoCodec
    audio: AudioCodec | None
    fps: Fraction = Fraction(16)

    def video_shape(self, bucket: Bucket) -> VideoShape:
        return self.video.shape(bucket.frames, bucket.height, bucket.width, self.fps)

    def audio_shape(self, bucket: Bucket) -> AudioShape:
        return self.audio.shape(samples_for(bucket.frames, self.fps, self.audio.sample_rate))

    @property
    def fingerprint(self) -> str:
        """Changes whenever a weight that shapes the latents does."""
        models = [self.video.vae] + ([self.audio.vae] if self.audio else [])
        total = 0
        for model in models:
            for parameter in model.parameters():
                total = crc32(parameter.detach().float().numpy().tobytes(), total)
        return f"{total:08x}"


def scene_of(bucket: Bucket, seed: int) -> Scene:
    height, width = bucket.window
    # A still is a moment of a two-second scene, so that things are met in the middle of their motion.
    duration = 2.0 if bucket.frames == 1 else bucket.frames / 16
    return sample_scene(seed, duration=duration, aspect=width / height)


def clip_seed(seed: int, bucket: Bucket, number: int) -> int:
    return (crc32(f"{seed}/{bucket.name}".encode()) << 24) + number


def build_shard(folder: Path, bucket: Bucket, number: int, codecs: Codecs, seed: int) -> Path:
    """Render and encode shard `number` of a bucket, unless it is there already. Returns its file."""
    path = folder / f"{bucket.name}-{codecs.fingerprint}-{seed}-{number:03d}.safetensors"
    if path.exists():
        return path
    height, width = bucket.window
    window = {"height": bucket.height, "width": bucket.width, "safe_height": height, "safe_width": width}
    video, audio = [], []
    # Small portions: on a CPU the pictures and features of a portion should stay in the cache.
    portion = max(1, min(64, 17 * 32 // bucket.frames))
    for start in range(0, SHARD, portion):
        numbers = range(number * SHARD + start, number * SHARD + min(start + portion, SHARD))
        scenes = [scene_of(bucket, clip_seed(seed, bucket, n)) for n in numbers]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            if bucket.frames == 1:
                moments = [(n * 0.61803) % 1 * 1.9 for n in numbers]
                frames = torch.cat(
                    [
                        render_frames([scene], fps=16, frames=1, start=moment, **window)
                        for scene, moment in zip(scenes, moments, strict=True)
                    ]
                )
                video.append(codecs.video.encode(frames).to(torch.bfloat16))
                continue
            clip = render(scenes, fps=16, frames=bucket.frames, **window)
            video.append(codecs.video.encode(clip.frames).to(torch.bfloat16))
        audio.append(codecs.audio.encode(clip.audio).to(torch.bfloat16))
    tensors = {"video": torch.cat(video)} | ({"audio": torch.cat(audio)} if audio else {})
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary)
    temporary.replace(path)
    return path


class LatentSet:
    """All shards of one bucket in memory.

    video_BNC, audio_BAC: bfloat16 latents (audio None for stills). `scene(i)`: the script of clip i.
    """

    def __init__(
        self,
        folder: Path,
        bucket: Bucket,
        shards: int,
        codecs: Codecs,
        seed: int,
        on_shard: Callable[[str], None] = lambda line: None,
    ):
        self.bucket, self.seed = bucket, seed
        parts = []
        for number in range(shards):
            parts.append(load_file(build_shard(folder, bucket, number, codecs, seed)))
            on_shard(f"latents {bucket.name}: {(number + 1) * SHARD} clips")
        self.video_BNC = torch.cat([part["video"] for part in parts])
        self.audio_BAC: Tensor | None = torch.cat([part["audio"] for part in parts]) if bucket.frames > 1 else None
        self.video_shape = codecs.video_shape(bucket)
        self.audio_shape = codecs.audio_shape(bucket) if bucket.frames > 1 else None

    def __len__(self) -> int:
        return len(self.video_BNC)

    def scene(self, index: int) -> Scene:
        return scene_of(self.bucket, clip_seed(self.seed, self.bucket, index))
