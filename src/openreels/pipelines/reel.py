"""`Reel`: a loaded model behind the one surface every entrance uses. Request in, clip out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from openreels.codecs.video import PocketVideoVAE
from openreels.encoders.multimodal import MultimodalEncoder
from openreels.flow.sampling import Progress
from openreels.media import Clip
from openreels.media.recipe import Recipe
from openreels.media.timing import samples_for
from openreels.models.adapters import load_lora, merge_lora
from openreels.nn.precision import fastest_dtype
from openreels.pipelines.components import loading_dtypes
from openreels.pipelines.long_form import resumable
from openreels.pipelines.placement import apply_placement, placement_by_size
from openreels.pipelines.registry import offered
from openreels.pipelines.v4 import SkyReelsV4Pipeline
from openreels.request import Capabilities, Request, check
from openreels.shots.cues import asked
from openreels.shots.transition import decide
from openreels.tasks.making import making
from openreels.tasks.window import Made, Model, Window
from openreels.tasks.wording import perceived

__all__ = ["Reel"]

# Side by side at most: so many requests, and so many video tokens. Enough to fill two cores with small clips; a clip of
# a large model fills its device alone.
BATCH, TOKENS = 16, 16_384


def hash_folder(folder: Path, within: Collection[str] | None = None) -> str:
    """16 hex digits over all weights and configs: two folders with the same hash make the same clips.

    within: of the folder, these parts alone.
    """
    digest = hashlib.sha256()
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json"))
    for path in files:
        if within is not None and path.relative_to(folder).parts[0] not in within:
            continue
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
    def from_pretrained(
        cls, folder: Path, name: str | None = None, device: str = "cpu", adapter: Path | None = None
    ) -> Reel:
        """From a folder in diffusers' layout. name: what recipes call it, by default the folder. adapter: folder of a
        LoRA that is merged into the transformer.

        On a GPU the components are placed as its memory allows (`placement_by_size`).
        """
        dtypes = loading_dtypes(folder, fastest_dtype(device))
        pipeline = SkyReelsV4Pipeline.from_pretrained(folder, dtype=dtypes, local_files_only=True)
        weight_hash = hash_folder(folder)
        if adapter is not None:
            load_lora(pipeline.transformer, adapter)
            merge_lora(pipeline.transformer)
            weight_hash = f"{weight_hash}+{hash_folder(adapter)}"
        if torch.device(device).type == "cuda":
            memory = torch.cuda.mem_get_info(device)[0]  # what others left
            apply_placement(pipeline, placement_by_size(pipeline, memory), device)
        else:
            pipeline.to(device)
        if isinstance(pipeline.video_vae, PocketVideoVAE):  # all of its convolutions are flat
            pipeline.video_vae.to(memory_format=torch.channels_last)
        return cls(pipeline, name or str(folder), weight_hash)

    def __call__(
        self,
        request: Request,
        progress: Progress | None = None,
        work: Path | None = None,
        media: Mapping[str, Clip] | None = None,
    ) -> Clip:
        """Make a clip. Raises RequestError where the model cannot, MediaError where a file is not what it should be,
        both before anything is sampled. The same request and seed give the same bits.

        media: clips that stand for files, by the paths that the request names; all others are opened.
        work: a folder that keeps finished parts of films and long extensions; the same request again goes on from
        there.
        """
        return self._made([request], media, progress, work)[0]

    def generate_batch(self, requests: Sequence[Request], media: Mapping[str, Clip] | None = None) -> list[Clip]:
        """Many clips, faster than one by one. A clip may differ from its single run in the last bits of rounding.

        media: as in a single call, for all of them.
        """
        return self._made(requests, media)

    def _made(
        self,
        requests: Sequence[Request],
        media: Mapping[str, Clip] | None,
        progress: Progress | None = None,
        work: Path | None = None,
    ) -> list[Clip]:
        """Round after round the next window of every request that is not finished, alike ones side by side."""
        read = reader(media or {})
        for request in requests:
            check(request, self.capabilities, self.name)
        requests = [decided(request, read) for request in requests]
        filled = [request.filled(self.capabilities) for request in requests]
        codec = self.pipeline.video_codec
        model = Model(
            self.capabilities, codec.spatial_factor, codec.temporal_factor, self.pipeline.audio_codec.channels
        )
        makings = [
            resumable(making(told_once(request), model, read), work, self._identity(request)) for request in filled
        ]
        clips: dict[int, Clip] = {}

        def following(made: Mapping[int, Made | None]) -> dict[int, Window]:
            """The next windows of requests whose last ones are made; a request that has none is a finished clip."""
            found = {}
            for index, last in made.items():
                try:
                    found[index] = makings[index].send(last)
                except StopIteration as finished:
                    clips[index] = replace(finished.value, metadata=self.recipe(requests[index]).to_metadata())
            return found

        windows = following(dict.fromkeys(range(len(requests))))
        while windows:
            groups: dict[tuple, list[int]] = {}
            for index, window in windows.items():
                groups.setdefault((alike(filled[index]), window.signature), []).append(index)
            made: dict[int, Made] = {}
            for indices in groups.values():
                batch = self._batch(windows[indices[0]])
                for start in range(0, len(indices), batch):
                    part = indices[start : start + batch]
                    made |= zip(part, self._run(filled, windows, part, progress), strict=True)
            windows = following(made)
        return [clips[index] for index in range(len(requests))]

    def _identity(self, request: Request) -> str:
        """All that decides what becomes of a window, besides the window."""
        choices = ("seed", "steps", "guidance", "cache", "negative")
        return repr([self.weight_hash, *(getattr(request, name) for name in choices)])

    def _batch(self, window: Window) -> int:
        """How many such windows run side by side."""
        canvas, given = window.canvas, window.given
        shape = lambda frames: self.pipeline.video_codec.shape(frames, *canvas.size, canvas.fps)  # noqa: E731
        tokens = shape(canvas.whole(window.frames)).tokens + sum(shape(len(each)).tokens for each in given.pictures)
        return max(1, min(BATCH, TOKENS // tokens))

    def _run(
        self, filled: Sequence[Request], windows: Mapping[int, Window], part: Sequence[int], progress: Progress | None
    ) -> list[Made]:
        """The windows of the requests `part`, which are alike."""
        first, request = windows[part[0]], filled[part[0]]
        canvas, fps, sample_rate = first.canvas, self.capabilities.fps, self.capabilities.sample_rate

        def counted(step: int, steps: int) -> None:
            progress(first.part * steps + step, first.parts * steps)

        told = [self._told(windows[index]) for index in part]
        made = self.pipeline(
            [prompt for prompt, _ in told],
            negative_prompt=[filled[index].negative for index in part],
            media=[media for _, media in told],
            given=[windows[index].given for index in part],
            num_frames=canvas.whole(first.frames),
            height=canvas.size[0],
            width=canvas.size[1],
            video=first.video,
            audio=first.audio,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            cache_interval=request.cache or 1,
            seed=[(filled[index].seed + windows[index].part) % 2**63 for index in part],
            progress=counted if progress is not None else None,
        )
        results = []
        for row, index in enumerate(part):
            frames = sound = None
            if made.frames is not None:
                frames = canvas.cut(made.frames[row], windows[index].frames)
            if made.audio is not None:
                samples = samples_for(windows[index].frames, fps, sample_rate)
                sound = torch.atleast_2d(made.audio[row])[:, :samples].cpu().numpy()
            results.append(Made(frames, sound))
        return results

    def _told(self, window: Window) -> tuple[str, dict[str, Clip]]:
        """The prompt and the media that go to the text encoder."""
        encoder = self.pipeline.encoder
        if not isinstance(encoder, MultimodalEncoder):
            return window.prompt, {}
        return perceived(encoder, window.prompt, window.media)

    def recipe(self, request: Request) -> Recipe:
        """What its clip will carry: enough to make it again."""
        wishes = request.filled(self.capabilities).wishes()
        where = f"{self.pipeline._execution_device.type} {str(self.pipeline.transformer.dtype).removeprefix('torch.')}"
        return Recipe.here(wishes, self.name, self.weight_hash, where, request.files.values())


def alike(request: Request) -> tuple:
    """What requests must share to run as one batch, besides the shapes of their windows."""
    return tuple(getattr(request, name) for name in ("steps", "guidance", "cache"))


def reader(media: Mapping[str, Clip]) -> Callable[[str], Clip]:
    """Gives the clip of a path, each file opened once."""
    opened = dict(media)

    def read(path: str) -> Clip:
        if path not in opened:
            opened[path] = Clip.open(path)
        return opened[path]

    return read


def decided(request: Request, read: Callable[[str], Clip]) -> Request:
    """With the kind of cut that "auto" stands for."""
    return decide(request, read(request.video))[0] if request.transition == "auto" else request


def told_once(request: Request) -> Request:
    """Without the kind of cut, where the prompt itself asks for it: a sentence on it would say it again."""
    asks = request.transition is not None and asked(request.prompt)[0] == request.transition
    return request.model_copy(update={"transition": "none"}) if asks else request
