"""`Reel`: a loaded model behind the one surface every entrance uses. Request in, clip out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from openreels.media import Clip
from openreels.media.aspect import canvas_size, centre_crop, frame_size, short_side
from openreels.media.recipe import Recipe
from openreels.media.timing import frames_for, padded_frames, samples_for
from openreels.nn.precision import fastest_dtype
from openreels.pipelines.registry import POCKET
from openreels.pipelines.v4 import SkyReelsV4Pipeline
from openreels.request import Capabilities, Request, check

__all__ = ["Reel"]

BATCH = 16  # requests generated side by side: enough to fill two cores, little enough for any memory


def hash_folder(folder: Path) -> str:
    """16 hex digits over all weights and configs: two folders with the same hash make the same clips."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Reel:
    """A model ready for requests.

    name: what recipes call it. weight_hash: of its weights and configs. capabilities: what it can do.
    """

    def __init__(self, pipeline: SkyReelsV4Pipeline, name: str, weight_hash: str, capabilities: Capabilities = POCKET):
        self.pipeline, self.name, self.weight_hash, self.capabilities = pipeline, name, weight_hash, capabilities

    @classmethod
    def from_pretrained(cls, folder: Path, name: str | None = None, device: str = "cpu") -> Reel:
        """From a folder in diffusers' layout. name: what recipes call it, by default the folder."""
        # The text encoder and the sound's codec are small and stay exact; the rest takes the fast type.
        fast = fastest_dtype(device)
        dtypes = {"transformer": fast, "video_vae": fast, "default": torch.float32}
        pipeline = SkyReelsV4Pipeline.from_pretrained(folder, dtype=dtypes, local_files_only=True)
        pipeline.to(device)
        pipeline.video_vae.to(memory_format=torch.channels_last)
        return cls(pipeline, name or str(folder), hash_folder(folder))

    def __call__(self, request: Request, progress: Callable[[int, int], None] | None = None) -> Clip:
        """Make a clip. Raises RequestError where the model cannot. The same request and seed give the same bits."""
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
            for start in range(0, len(indices), BATCH):
                part = indices[start : start + BATCH]
                clips |= zip(part, self._generate([requests[i] for i in part]), strict=True)
        return [clips[index] for index in range(len(requests))]

    def _generate(self, requests: list[Request], progress: Callable[[int, int], None] | None = None) -> list[Clip]:
        first = requests[0]
        fps, sample_rate = self.capabilities.fps, self.capabilities.sample_rate
        height, width = frame_size(first.aspect, short_side(first.resolution))
        canvas_height, canvas_width = canvas_size(height, width)
        frames = frames_for(first.duration, fps)
        made = self.pipeline(
            [request.prompt for request in requests],
            negative_prompt=[request.negative for request in requests],
            num_frames=padded_frames(frames),
            height=canvas_height,
            width=canvas_width,
            video=first.with_video,
            audio=first.with_audio,
            num_inference_steps=first.steps,
            guidance_scale=first.guidance,
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
                parts |= {"audio": made.audio[index : index + 1, :samples].cpu().numpy(), "sample_rate": sample_rate}
            clips.append(Clip(**parts, metadata=self.recipe(requests[index]).to_metadata()))
        return clips

    def recipe(self, request: Request) -> Recipe:
        """What its clip will carry: enough to make it again."""
        return Recipe.here(request.filled(self.capabilities).wishes(), self.name, self.weight_hash)


def alike(request: Request) -> tuple:
    """What requests must share to run as one batch."""
    return (request.duration, request.aspect, request.resolution, request.modality, request.steps, request.guidance)
