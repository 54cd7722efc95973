"""`V3Reel`: a SkyReels-V3 checkpoint behind the surface that every model has. Request in, clip out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from openreels.hardware import GPUS, Placement, choose
from openreels.media import Clip
from openreels.media.recipe import Recipe
from openreels.nn.precision import fastest_dtype
from openreels.pipelines.placement import apply_placement, transformers_of
from openreels.pipelines.registry import NEW_SHOT, V3
from openreels.pipelines.v3.base import V3Pipeline
from openreels.pipelines.v3.loading import detect, load_components, pipeline_class, planned
from openreels.pipelines.v3.planning import Model, estimates, job_of
from openreels.pipelines.v3.precheck import check_duration
from openreels.pipelines.v3.speakers import speakers_in
from openreels.prompts import PromptError, check_tags, parse
from openreels.request import Capabilities, Request, RequestError, check
from openreels.shots.transition import decide

__all__ = ["V3Reel"]

SAMPLED = 2**20  # bytes at either end of a weight file that its hash reads: whole ones are tens of gigabytes


def hash_weights(folder: Path, parts: Iterable[Path]) -> str:
    """16 hex digits over names, sizes and ends of the weight files of some parts (files or folders inside `folder`),
    and over their configs; what else is in the folder, or is fetched into it later, has no say."""
    digest = hashlib.sha256()
    files = {file for part in parts for file in (part.rglob("*") if part.is_dir() else (part,))}
    for path in sorted(p for p in files if p.suffix in (".safetensors", ".pth", ".bin", ".gguf", ".json")):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()} {size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(SAMPLED))
            if size > SAMPLED:
                file.seek(max(SAMPLED, size - SAMPLED))
                digest.update(file.read())
    return digest.hexdigest()[:16]


def placement_for(model: Model, memory: float) -> Placement:
    """The fastest placement in which five seconds at 720P fit into `memory` bytes; the thriftiest where none does.

    Weights stay as they are stored: what changes results is for the user to choose.
    """
    gpu = replace(GPUS["H100"], name="this GPU", memory=memory)  # how fast it is does not change the order
    found = [each for each in estimates(job_of(model), gpu) if each.placement.weights != "fp8"]
    chosen = choose(found, gpu) or min(found, key=lambda each: each.peak_vram)
    return chosen.placement


class V3Reel:
    """A SkyReels-V3 model ready for requests.

    name: what recipes call it. weight_hash: of its weights and configs. capabilities: what it can do.
    """

    def __init__(self, pipeline: V3Pipeline, variant: str, name: str, weight_hash: str):
        self.pipeline, self.variant, self.name, self.weight_hash = pipeline, variant, name, weight_hash

    @classmethod
    def from_pretrained(
        cls,
        folder: Path,
        name: str | None = None,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        tasks: Collection[str] | None = None,
    ) -> V3Reel:
        """From a local folder in any layout that `loading.detect` knows.

        dtype: of the transformer, by default the one that the device multiplies fastest. tasks: what it will be asked
        for; a network for others stays on the disk. On a GPU the components are placed as its memory allows
        (`placement_for`). Raises ValueError where the folder holds no complete model.
        """
        layout = detect(folder)
        variant = layout.variant
        pipeline = pipeline_class(variant)(**load_components(folder, dtype or fastest_dtype(device), tasks=tasks))
        if torch.device(device).type == "cuda":
            memory = torch.cuda.get_device_properties(device).total_memory
            model = replace(planned(layout), transformers=len(transformers_of(pipeline)))
            apply_placement(pipeline, placement_for(model, memory), device)
        else:
            pipeline.to(device)
        used = [path for name, path in layout.components.items() if getattr(pipeline, name, None) is not None]
        return cls(pipeline, variant, name or str(folder), hash_weights(layout.folder, used))

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, with the networks that are there."""
        able = V3[self.variant]
        if self.variant != "v2v":
            return able
        networks = {"v2v": self.pipeline.transformer, "v2v-shot": self.pipeline.shot_transformer}
        return replace(able, tasks=tuple(task for task in able.tasks if networks[task] is not None))

    def __call__(
        self,
        request: Request,
        progress: Callable[[int, int], None] | None = None,
        work: Path | None = None,
    ) -> Clip:
        """Make a clip. Raises RequestError where the model cannot, before anything is computed.

        work: a folder that keeps finished parts of extensions and avatars; the same request again goes on from there.
        """
        check(request, self.capabilities, self.name)
        if request.transition == "auto":
            request, _ = decide(request, Clip.open(request.video), NEW_SHOT)
        request = request.filled(self.capabilities)
        arguments = self._arguments(request)
        if self.variant != "r2v":  # which is one pass
            arguments["work"] = work
        made = self.pipeline(**arguments, progress=progress).clip
        if not request.with_audio:
            made = replace(made, audio=None, sample_rate=0)
        return replace(made, metadata=self.recipe(request).to_metadata())

    def generate_batch(self, requests: Sequence[Request]) -> list[Clip]:
        """One after another."""
        return [self(request) for request in requests]

    def recipe(self, request: Request) -> Recipe:
        """What its clip will carry: enough to make it again, as long as the files it names stay the same."""
        wishes = request.filled(self.capabilities).wishes()
        dtype = str(transformers_of(self.pipeline)[0].dtype).removeprefix("torch.")
        where = f"{self.pipeline._execution_device.type} {dtype}"
        return Recipe.here(wishes, self.name, self.weight_hash, where, request.files.values())

    def _arguments(self, request: Request) -> dict[str, Any]:
        """What the pipeline is called with."""
        chosen = {
            "prompt": plain_prompt(request),
            "negative_prompt": request.negative or None,
            "num_inference_steps": request.steps,
            "guidance_scale": request.guidance,
            "shift": request.shift,
            "fps": request.fps,
            "resolution": request.resolution.upper(),
            "aspect": request.aspect,
            "seed": request.seed,
            "duration": request.duration,
        }
        chosen |= {
            "r2v": lambda: {"references": [Path(reference.path) for reference in request.references]},
            "v2v": lambda: {"video": request.video, "transition": request.transition},
            "a2v": lambda: {"image": Path(request.image), "audio": speakers_in(request)},
        }[self.variant]()
        if self.variant == "a2v":
            check_duration(request)
        return {name: value for name, value in chosen.items() if value is not None}


def plain_prompt(request: Request) -> str:
    """The prompt in the words of these models, which know no tags: "@cat" becomes "cat".

    Raises RequestError for a tag that no reference has.
    """
    tags = request.tagged
    if not tags:
        return request.prompt
    caption = parse(request.prompt, tags)
    try:
        check_tags(caption, tags)
    except PromptError as error:
        raise RequestError(f"prompt, {error.sentence}") from error
    words = request.prompt
    for mention in reversed(caption.mentions):
        words = words[: mention.span.start] + mention.name + words[mention.span.end :]
    return words
