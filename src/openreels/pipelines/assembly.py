"""A whole pipeline's folder from parts that lie in several: codecs here, a text encoder there, our transformer.

No weights are read. The pipeline is built on the meta device from the parts' configs, so what fits is for the pipeline
itself to say and model_index.json is the library's; then files are hard-linked, or copied where they cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import diffusers
import torch
from accelerate import init_empty_weights
from diffusers import ModelMixin
from diffusers.pipelines.pipeline_loading_utils import simple_get_class_obj
from transformers import PreTrainedModel

from openreels.media.folders import check_new, link_tree, new_folder, size_to_copy
from openreels.models.checkpoint import open_tensors, read_json
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.components import accepted_classes
from openreels.pipelines.v4 import SkyReelsV4Pipeline

__all__ = ["Assembly", "Part", "Parts", "assemble", "parts_in"]

NEEDED = ("video_vae", "audio_vae", "vocoder", "text_encoder", "tokenizer")
NAMES = (*NEEDED, "image_processor", "feature_extractor")
OURS = {"vae": "video_vae"}  # what other pipelines call otherwise


@dataclass(frozen=True)
class Part:
    """Where a component lies, and its class as model_index.json names it."""

    folder: Path
    library: str
    class_name: str

    def on_meta(self) -> Any:
        """A network without weights; tokenizers and processors as they are. Raises OSError, ValueError."""
        kind = simple_get_class_obj(self.library, self.class_name)
        if issubclass(kind, ModelMixin):
            config = kind.load_config(self.folder, local_files_only=True)
            # Not the meta device: MMAudio's parts compute filters while they are built, and keep them in a cache.
            with init_empty_weights():
                return kind.from_config(config)
        if issubclass(kind, PreTrainedModel):
            config = kind.config_class.from_pretrained(self.folder, local_files_only=True)
            with torch.device("meta"):
                return kind(config)
        return kind.from_pretrained(self.folder, local_files_only=True)


@dataclass(frozen=True)
class Parts:
    """What is at hand for a pipeline besides its transformer.

    found: by our names. unfit: of others -> their class, which no adapter drives. settings: arguments of
    `SkyReelsV4Pipeline` that the folder decides.
    """

    found: Mapping[str, Part] = field(default_factory=dict)
    unfit: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def only(self, *names: str) -> Self:
        """Those of the names, without settings."""
        some = lambda parts: {name: parts[name] for name in names if name in parts}  # noqa: E731
        return type(self)(some(self.found), some(self.unfit))

    def __or__(self, other: Self) -> Self:
        """Both; where both have a part, the other's."""
        found = {**self.found, **other.found}
        unfit = {name: kind for name, kind in {**self.unfit, **other.unfit}.items() if name not in found}
        return type(self)(found, unfit, {**self.settings, **other.settings})

    @property
    def missing(self) -> list[str]:
        """What a whole pipeline lacks, in words; empty where nothing is."""
        return [self.lack(name) for name in NEEDED if name not in self.found]

    def lack(self, name: str) -> str:
        """Of a part that is not found: its name, and why the one that is there does not do."""
        if name not in self.unfit:
            return name
        return f"{name} (its {self.unfit[name]} is none of {', '.join(accepted_classes(name))})"


def parts_in(folder: Path) -> Parts:
    """The parts in a pipeline's folder, of any kind of pipeline, or in one with diffusers' audio_vae/ and vocoder/.

    A tokenizer and the processors of pictures and sounds belong to their text encoder: they are taken with it alone.
    Raises ValueError where a file that should say what a part is cannot be read.
    """
    if (folder / "model_index.json").is_file():
        index = read_json(folder / "model_index.json")
        classes = {name: value for name, value in index.items() if isinstance(value, list) and all(value)}
    else:
        index, classes = {}, _of_diffusers(folder)
    found, unfit = {}, {}
    for theirs, (library, class_name) in classes.items():
        name = OURS.get(theirs, theirs)
        if name not in NAMES:
            continue
        accepted = accepted_classes(name)
        if accepted is None or class_name in accepted:
            found[name] = Part(folder / theirs, library, class_name)
        else:
            unfit[name] = class_name
    if "text_encoder" not in found:
        found = {name: part for name, part in found.items() if name in ("video_vae", "audio_vae", "vocoder")}
    if index.get("_class_name") == SkyReelsV4Pipeline.__name__:
        settings = {name: value for name, value in index.items() if name not in NAMES and not name.startswith("_")}
        # The one is new, the others were made for the one before.
        for own in ("transformer", "brief", "reader", "planner"):
            settings.pop(own, None)
    else:
        settings = _sampling(folder)
    return Parts(found, unfit, settings)


def _of_diffusers(folder: Path) -> dict[str, tuple[str, str]]:
    """Subfolders with a config.json of a class that diffusers has."""
    classes = {path.parent.name: read_json(path).get("_class_name", "") for path in folder.glob("*/config.json")}
    return {name: ("diffusers", kind) for name, kind in classes.items() if kind and hasattr(diffusers, kind)}


def _sampling(folder: Path) -> dict[str, float]:
    """How another library's pipeline is sampled, where its folder says so."""
    said = {"shift": ("scheduler", "scheduler_config.json", "shift")}
    said["guidance"] = ("guider", "guider_config.json", "guidance_scale")
    files = {ours: (folder / part / file, theirs) for ours, (part, file, theirs) in said.items()}
    values = {ours: read_json(path).get(theirs) for ours, (path, theirs) in files.items() if path.is_file()}
    return {ours: value for ours, value in values.items() if value is not None}


@dataclass(frozen=True)
class Assembly:
    """A pipeline whose parts fit, to be written. pipeline: its networks are on the meta device."""

    pipeline: SkyReelsV4Pipeline
    parts: Mapping[str, Part]

    def write(self, folder: Path, write_transformer: Callable[[Path], object]) -> None:
        """The whole folder, or nothing. write_transformer: makes the folder it is given.

        Raises ValueError where `folder` holds something or the disk is full, OSError.
        """
        size = sum(size_to_copy(part.folder, folder) for part in self.parts.values())
        with new_folder(folder, size) as whole:
            for name, part in self.parts.items():
                link_tree(part.folder, whole / name)
            write_transformer(whole / "transformer")
            self.pipeline.save_config(whole)


def assemble(transformer: SkyReelsV4Transformer, parts: Parts, folder: Path, **settings: Any) -> Assembly:
    """What `folder` is going to hold.

    transformer: may be on the meta device. settings: arguments of `SkyReelsV4Pipeline`; those of `parts` go before.
    Raises ValueError where parts are missing, incomplete or do not fit together, or where `folder` holds something.
    """
    if parts.missing:
        raise ValueError(f"a whole pipeline lacks {', '.join(parts.missing)}")
    check_new(folder)
    made = {}
    for name, part in parts.found.items():
        try:
            made[name] = part.on_meta()
        except (OSError, ValueError, AttributeError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise ValueError(f"{name} in {part.folder} is not a {part.class_name}: {reason}") from error
        if isinstance(made[name], torch.nn.Module):
            open_tensors(part.folder)
    return Assembly(SkyReelsV4Pipeline(transformer, **made, **{**settings, **parts.settings}), parts.found)
