"""`Reel`: a loaded model behind the one surface every entrance uses. Request in, clip out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from openreels.codecs.video import PocketVideoVAE
from openreels.media import Clip
from openreels.media.aspect import canvas_size, centre_crop, frame_size, short_side
from openreels.media.recipe import Recipe
from openreels.media.timing import frames_for, padded_frames, samples_for
from openreels.nn.precision import fastest_dtype
from openreels.pipelines.components import loading_dtypes
from openreels.pipelines.placement import apply_placement, placement_by_size
from openreels.pipelines.registry import offered
from openreels.pipelines.v4 import SkyReelsV4Pipeline
from openreels.request import Capabilities, Request, check

__all__ = ["Reel"]

# Side by side at most: so many requests, and so many video tokens. Enough to fill two cores with small clips; a clip of
# a large model fills its device alone.
BATCH, TOKENS = 16, 16_384


def hash_folder(folder: Path) -> str:
    """16 hex digits over all weights and configs: two folders with the same hash make the same clips."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 24):  # shards of a large model are larger than memory likes
                digest.update(chunk)
    return digest.hexdigest()[:16]


class Reel:
    """A model ready for requests.

    name: what recipes call it. weight_hash: of its weights and configs. capabilities: what it can do, by its config.
    """

    def __init__(self, pipeline: SkyReelsV4Pipeline, name: str, weight_hash: str):
        self.pipeline, self.name, self.weight_hash = pipeline, name, weight_hash
        self.capabilities: Capabilities = offered(pipeline.config, pipeline.audio_codec.sample_rate)

    @classmethod
    def from_pretrained(cls, folder: Path, name: str | None = None, device: str = "cpu") -> Reel:
        """From a folder in diffusers' layout. name: what recipes call it, by default the folder.

        On a GPU the components are placed as its memory allows (`placement_by_size`).
        """
        dtypes = loading_dtypes(folder, fastest_dtype(device))
        pipeline = SkyReelsV4Pipeline.from_pretrained(folder, dtype=dtypes, local_files_only=True)
        if torch.device(device).type == "cuda":
            memory = torch.cuda.get_device_properties(device).total_memory
            apply_placement(pipeline, placement_by_size(pipeline, memory), device)
        else:
            pipeline.to(device)
        if isinstance(pipeline.video_vae, PocketVideoVAE):  # all of its convolutions are flat
            pipeline.video_vae.to(memory_format=torch.channels_last)
        return cls(pipeline, name or str(folder), hash_folder(folder))

    def __call__(
        self,
        request: Request,
        progress: Callable[[int, int], None] | None = None,
        work: Path | None = None,
    ) -> Clip:
        """Make a clip. Raises RequestError where the model cannot. The same request and seed give the same bits.

        work: where a model that draws a video in parts keeps finished ones; this one draws it in one piece.
        """
        return self._generate([self._checked(request)], progress)[0]

    def _checked(self, request: Request) -> Request:
        """With the model's own choices where the user left them open. Raises RequestError."""
        check(request, self.capabilities, self.name)
        return request.filled(self.capabilities)

    def generate_batch(self, requests: Sequence[Request]) -> list[Clip]:
        """Many clips, faster than one by one. A clip may differ from its single run in the last bits of rounding."""
        requests = [self._checked(request) for request in requests]
        clips: dict[int, Clip] = {}
        groups: dict[tuple, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(alike(request), []).append(index)
        for indices in groups.values():
            batch = self._batch(requests[indices[0]])
            for start in range(0, len(indices), batch):
                part = indices[start : start + batch]
                clips |= zip(part, self._generate([requests[i] for i in part]), strict=True)
        return [clips[index] for index in range(len(requests))]

    def _sizes(self, request: Request) -> tuple[int, int, int]:
        """(frames, height, width) of what is generated: what was asked for, and up to the codec's next whole token."""
        codec = self.pipeline.video_codec
        height, width = frame_size(request.aspect, short_side(request.resolution))
        frames = padded_frames(frames_for(request.duration, self.capabilities.fps), codec.temporal_factor)
        return frames, *canvas_size(height, width, codec.spatial_factor)

    def _batch(self, request: Request) -> int:
        """How many such requests run side by side."""
        tokens = self.pipeline.video_codec.shape(*self._sizes(request), self.capabilities.fps).tokens
        return max(1, min(BATCH, TOKENS // tokens))

    def _generate(self, requests: list[Request], progress: Callable[[int, int], None] | None = None) -> list[Clip]:
        first = requests[0]
        fps, sample_rate = self.capabilities.fps, self.capabilities.sample_rate
        height, width = frame_size(first.aspect, short_side(first.resolution))
        canvas_frames, canvas_height, canvas_width = self._sizes(first)
        frames = frames_for(first.duration, fps)
        made = self.pipeline(
            [request.prompt for request in requests],
            negative_prompt=[request.negative for request in requests],
            num_frames=canvas_frames,
            height=canvas_height,
            width=canvas_width,
            video=first.with_video,
            audio=first.with_audio,
            num_inference_steps=first.steps,
            guidance_scale=first.guidance,
            cache_interval=first.cache or 1,
            seed=[request.seed for request in requests],
            progress=progress,
        )
        samples = samples_for(frames, fps, sample_rate)
        clips = []
        for index in range(len(requests)):
            parts = {}
            if made.frames is not None:
                picture = centre_crop(made.frames[index, :frames], height, width).cpu().contiguous().numpy()
                parts |= {"frames": picture, "fps": fps}
            if made.audio is not None:
                sound = torch.atleast_2d(made.audio[index])[:, :samples]
                parts |= {"audio": sound.cpu().numpy(), "sample_rate": sample_rate}
            clips.append(Clip(**parts, metadata=self.recipe(requests[index]).to_metadata()))
        return clips

    def recipe(self, request: Request) -> Recipe:
        """What its clip will carry: enough to make it again."""
        return Recipe.here(request.filled(self.capabilities).wishes(), self.name, self.weight_hash)


def alike(request: Request) -> tuple:
    """What requests must share to run as one batch."""
    names = ("duration", "aspect", "resolution", "modality", "steps", "guidance", "cache")
    return tuple(getattr(request, name) for name in names)
