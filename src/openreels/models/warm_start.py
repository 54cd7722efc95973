"""A V4 model that starts as the video model it came from.

The video branch's weights are those of the source (`models/hunyuan_keys.py`); all that V4 adds leaves its output alone,
because what feeds it in starts at zero. So a warm-started model *equals* its source until it is trained.

Tensors are read, changed and written one by one and shards leave memory as they are written: it takes the memory of
one shard, however large the model. What does not fit is known from names and shapes alone, before any is read.
"""

from __future__ import annotations

import copy
import fnmatch
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zlib import crc32

import torch
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor, nn

from openreels.media.folders import new_folder
from openreels.models.checkpoint import TensorSource, open_tensors, read_json
from openreels.models.hunyuan_keys import CHANGES, SOURCES, Source, transformer_config
from openreels.models.key_map import some_of
from openreels.models.v4 import SkyReelsV4Transformer

__all__ = ["Audio", "WarmStart", "find_source", "plan_warm_start", "write_warm_start"]

Audio = Literal["fresh", "copy"]
ADDED = (  # what V4 has besides its source: the audio branch, and three cross-attentions whose output starts at zero
    "audio.*",
    "layers.*.audio.*",
    "layers.*.video.text_cross.*",
    "layers.*.audio_from_video.*",
    "layers.*.video_from_audio.*",
)

ENDS = ("audio.embed.", "audio.to_velocity.")  # these meet latents of another codec: never copied


@dataclass(frozen=True)
class WarmStart:
    """A plan that fits: everything is known but the numbers.

    config: of the model to make. model: it, on the meta device. theirs: our name -> their names; what is missing there
    starts fresh. dropped: their names -> why. copied: our names in the audio branch that hold the video branch's.
    """

    source: Source
    tensors: TensorSource
    config: Mapping[str, object]
    model: SkyReelsV4Transformer
    theirs: Mapping[str, Sequence[str]]
    dropped: Mapping[str, str]
    copied: Mapping[str, str]

    def numbers(self, names: Sequence[str] | None = None) -> int:
        """How many parameters the names have (None: the whole model)."""
        state = self.model.state_dict()
        return sum(state[name].numel() for name in (state if names is None else names))


def find_source(path: Path) -> Path:
    """The transformer's folder in a diffusers folder, or the folder itself. Raises ValueError where there is none."""
    for folder in (path / "transformer", path):
        if (folder / "config.json").is_file():
            return folder
    raise ValueError(f"{path} is not a diffusers folder: neither it nor its transformer/ has a config.json")


def plan_warm_start(kind: str, path: Path, choices: Mapping[str, object], audio: Audio = "fresh") -> WarmStart:
    """What goes where.

    Args:
        kind: one of `SOURCES`. path: a diffusers folder, or that of its transformer.
        choices: arguments of `SkyReelsV4Transformer` that the source does not decide (audio_channels ...).
        audio: "copy" takes the video branch's weights for the audio branch wherever the shapes are equal.

    Raises ValueError listing every source tensor that is missing, unexpected or of the wrong shape.
    """
    if kind not in SOURCES:
        raise ValueError(f"a warm start is from one of {', '.join(SOURCES)}, not {kind!r}")
    source, folder = SOURCES[kind], find_source(path)
    config = dict(choices) | transformer_config(source, read_json(folder / "config.json"))
    tensors = open_tensors(folder)
    with torch.device("meta"):
        model = SkyReelsV4Transformer(**config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    key_map = source.key_map(config)
    theirs = {name: names for name in expected if (names := key_map.ours(name)) and not _is_added(name)}
    dropped = {
        key: reason
        for key in tensors.shapes
        for pattern, reason in source.dropped.items()
        if fnmatch.fnmatchcase(key, pattern)
    }
    _check(source, tensors, expected, theirs, dropped)
    twins = {name: re.sub(r"(^|\.)audio\.", r"\1video.", name) for name in expected if audio == "copy"}
    copied = {
        name: twin
        for name, twin in twins.items()
        if twin != name and twin in theirs and expected[twin] == expected[name] and not name.startswith(ENDS)
    }
    return WarmStart(source, tensors, config, model, theirs, dropped, copied)


def _is_added(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ADDED)


def _check(
    source: Source,
    tensors: TensorSource,
    expected: Mapping[str, tuple[int, ...]],
    theirs: Mapping[str, Sequence[str]],
    dropped: Mapping[str, str],
) -> None:
    uses = Counter(key for keys in theirs.values() for key in keys)
    # A part of our video branch without a rule is missing too: it is neither the source's nor declared as added.
    missing = [name for name in expected if name not in theirs and not _is_added(name)]
    missing += [key for key in uses if key not in tensors.shapes]
    unexpected = [key for key in tensors.shapes if not uses[key] and key not in dropped]
    twice = [key for key, count in uses.items() if count > 1 or key in dropped]
    wrong = []
    for name, keys in theirs.items():
        if all(key in tensors.shapes for key in keys):
            parts = [torch.empty(tensors.shapes[key], device="meta") for key in keys]
            try:
                made = tuple(_ours(name, parts, expected[name]).shape)
            except RuntimeError:  # parts that do not join, kernels that do not split
                made = None
            if made != expected[name]:
                shapes = ", ".join(f"{key} {tuple(tensors.shapes[key])}" for key in keys)
                wrong.append(f"{shapes} for {name} {expected[name]}")
    kinds = {"missing": missing, "unexpected": unexpected, "used twice": twice, "wrong shape": wrong}
    found = [f"{what}: {some_of(names)}" for what, names in kinds.items() if names]
    if found:
        raise ValueError(f"the weights in {tensors.where} are not those of {source.title}; {'; '.join(found)}.")


def _ours(name: str, parts: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    tensor = parts[0] if len(parts) == 1 else torch.cat(list(parts))
    return CHANGES[name](tensor, shape) if name in CHANGES else tensor


def write_warm_start(
    plan: WarmStart,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    seed: int = 0,
    max_shard_size: str = "5GB",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the model as a diffusers folder (config.json, shards, index; warm_start.json), whole or not at all.

    dtype: of all weights (None: the source's). seed: of the fresh ones, the same for any shard size. progress: called
    with (tensors written, tensors) now and then. Raises ValueError where `folder` holds something, or the disk is full.
    """
    device = torch.device("cpu")
    state = plan.model.state_dict()
    if dtype is None:
        dtype = plan.tensors.tensor(plan.theirs["video.to_velocity.bias"][0], device).dtype
    fresh = _Fresh(plan.model, seed)
    split = split_torch_state_dict_into_shards(
        {name: tensor.to(dtype) for name, tensor in state.items()},
        filename_pattern=SAFETENSORS_WEIGHTS_NAME.replace(".safetensors", "{suffix}.safetensors"),
        max_shard_size=max_shard_size,
    )

    def tensor_of(name: str) -> Tensor:
        mapped = plan.copied.get(name, name)
        if mapped not in plan.theirs:
            return fresh(name)
        return _ours(mapped, [plan.tensors.tensor(key, device) for key in plan.theirs[mapped]], state[name].shape)

    done = 0
    with new_folder(folder, split.metadata["total_size"]) as part:
        plan.model.save_config(part)
        for file, names in split.filename_to_tensors.items():
            shard = {}
            for name in names:
                # Copied: what is read of a file is the file itself, and a file's tensor may be wanted twice.
                shard[name] = tensor_of(name).to(dtype, copy=True, memory_format=torch.contiguous_format)
                done += 1
                if progress is not None:
                    progress(done, len(state))
            save_file(shard, part / file, metadata={"format": "pt"})
        origin = {"source": plan.source.title, "seed": seed, "dropped": dict(plan.dropped), "copied": dict(plan.copied)}
        (part / "warm_start.json").write_text(json.dumps(origin, indent=2) + "\n")
        if split.is_sharded:
            index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
            (part / f"{SAFETENSORS_WEIGHTS_NAME}.index.json").write_text(json.dumps(index, indent=2) + "\n")


class _Fresh:
    """Values of parameters that no source has, as their module itself would start them."""

    def __init__(self, model: nn.Module, seed: int):
        self.model, self.seed = model, seed
        self.latest: tuple[str, nn.Module] | None = None

    def __call__(self, name: str) -> Tensor:
        owner, _, leaf = name.rpartition(".")
        if self.latest is None or self.latest[0] != owner:
            module = copy.deepcopy(self.model.get_submodule(owner)).to_empty(device="cpu")
            with torch.random.fork_rng(devices=()):
                # Seeded by name: the same weights wherever shards begin.
                torch.manual_seed(crc32(f"{self.seed}/{owner}".encode()))
                module.reset_parameters()
            self.latest = owner, module
        return self.latest[1].state_dict()[leaf]
