"""Checkpoint files -> a model, strictly: every key accounted for, one tensor in memory at a time.

A model is built without memory (on the meta device), then its parameters are put in place one by one as they are read,
each in its final dtype and on its final device. What does not fit is known from names and shapes alone, before a single
tensor is read.

Files: safetensors (one, several, or by index), `.pth` (read as tensors only, never as code), GGUF.
"""

from __future__ import annotations

import fnmatch
import json
import pickle
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from openreels.models.key_map import some_of

__all__ = ["GGUFFile", "PthFile", "SafetensorsFiles", "TensorSource", "load_strictly", "open_tensors", "read_json"]

Shape = tuple[int, ...]


class TensorSource(Protocol):
    """Tensors by name, read when asked for. where: for error messages. shapes: of all of them."""

    where: str
    shapes: Mapping[str, Shape]

    def tensor(self, name: str, device: torch.device) -> Tensor: ...


def open_tensors(path: Path) -> TensorSource:
    """The weights in a file or, for a folder, in its safetensors files (else its one GGUF file, pytorch_model.bin).

    Raises ValueError where there are none or they cannot be read.
    """
    if path.is_dir():
        if list(path.glob("*.safetensors")) or list(path.glob("*.safetensors.index.json")):
            return SafetensorsFiles(path)
        others = sorted(path.glob("*.gguf")) or sorted(path.glob("pytorch_model.bin"))
        if len(others) != 1:
            raise ValueError(f"{path} must hold safetensors files or one GGUF file; it has {len(others)} of those.")
        path = others[0]
    if not path.is_file():
        raise ValueError(f"there is no file {path}.")
    kinds = {".safetensors": SafetensorsFiles, ".gguf": GGUFFile, ".pth": PthFile, ".pt": PthFile, ".bin": PthFile}
    if path.suffix not in kinds:
        raise ValueError(f"{path} is none of {', '.join(kinds)}.")
    return kinds[path.suffix](path)


class SafetensorsFiles:
    """One file, or all files of a folder merged: those of its index first, if it has one.

    The releases merge every file (spec/v3.md, section 2). Beside an index a file counts where all its names are new: a
    further part of the network; one that repeats names is the same weights in another form, and is left out.
    """

    def __init__(self, path: Path):
        self.where = str(path)
        self._handles, self._file_of, self.shapes = {}, {}, {}
        files = self._files(path)
        for file in files:
            handle = self._opened(file)
            for name in handle.keys():  # noqa: SIM118 (not a mapping)
                if name in self._file_of:
                    raise ValueError(f"{name} is in two files: {self._file_of[name]} and {file}.")
            self._add(file, handle)
        for file in sorted(set(path.glob("*.safetensors")) - set(files)):
            handle = self._opened(file)
            if not self._file_of.keys() & handle.keys():
                self._add(file, handle)

    @staticmethod
    def _opened(file: Path):
        try:
            return safe_open(file, framework="pt")
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{file} cannot be read: {_sentence(error)}.") from error

    def _add(self, file: Path, handle) -> None:
        self._handles[file] = handle  # kept: tensors are read from it later
        for name in handle.keys():  # noqa: SIM118 (not a mapping)
            self._file_of[name] = file
            self.shapes[name] = tuple(handle.get_slice(name).get_shape())

    @staticmethod
    def _files(path: Path) -> list[Path]:
        if path.is_file():
            return [path]
        indices = sorted(path.glob("*.safetensors.index.json"))
        if not indices:
            return sorted(path.glob("*.safetensors"))
        if len(indices) > 1:
            raise ValueError(f"{path} has several indices: {', '.join(index.name for index in indices)}.")
        names = sorted(set(read_json(indices[0]).get("weight_map", {}).values()))
        missing = [name for name in names if not (path / name).is_file()]
        if missing or not names:
            raise ValueError(f"{indices[0]} names files that are missing: {', '.join(missing) or 'none at all'}.")
        return [path / name for name in names]

    def tensor(self, name: str, device: torch.device) -> Tensor:
        return self._handles[self._file_of[name]].get_tensor(name).to(device)


class PthFile:
    """A state dict as torch saves it, mapped into memory; anything in it but tensors is refused."""

    def __init__(self, path: Path):
        self.where = str(path)
        try:
            # Only files of torch's newer, zipped format can be mapped.
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"{path} cannot be read as plain tensors: {_sentence(error)}.") from error
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError(f"{path} is not a state dict of tensors.")
        self._state = state
        self.shapes = {name: tuple(value.shape) for name, value in state.items()}

    def tensor(self, name: str, device: torch.device) -> Tensor:
        return self._state[name].to(device)


class GGUFFile:
    """Quantised weights through diffusers' reader; the matrices stay quantised (`GGUFParameter`)."""

    def __init__(self, path: Path):
        self.where = str(path)
        try:
            from gguf import GGUFReader
        except ImportError as error:
            raise ValueError(f"reading {path} needs the package gguf: pip install gguf.") from error
        try:
            tensors = GGUFReader(path).tensors
        except (OSError, ValueError, IndexError) as error:
            raise ValueError(f"{path} cannot be read: {_sentence(error)}.") from error
        self.shapes = {tensor.name: tuple(int(size) for size in reversed(tensor.shape)) for tensor in tensors}

    @cached_property
    def state(self) -> dict[str, Tensor]:
        from diffusers.models.model_loading_utils import load_gguf_checkpoint

        return load_gguf_checkpoint(self.where)

    def tensor(self, name: str, device: torch.device) -> Tensor:
        return self.state[name].to(device)


def read_json(path: Path) -> dict:
    """Raises ValueError for what is no JSON object."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {_sentence(error)}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object.")
    return content


def load_strictly(
    model: nn.Module,
    source: TensorSource,
    names: Callable[[str], Sequence[str] | None],
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    keep_in_fp32: Iterable[str] = (),
    ignore: Iterable[str] = (),
    tied: Mapping[str, str] | None = None,
) -> nn.Module:
    """Fill a model that was built on the meta device; it comes back in eval mode.

    Args:
        names: our names of a key of the source (several: the tensor is cut into as many equal parts along axis 0);
            None = unknown. Tensors may differ from ours by axes of length 1.
        dtype: of floating-point parameters, except those with one of `keep_in_fp32` among the parts of their name.
        ignore: patterns of the source's keys that the model has no use for.
        tied: our names of parameters that are others under a second name; either may be in the file.

    Raises ValueError listing every missing, unexpected and wrongly shaped tensor, before any is read.
    """
    device, tied, keep = torch.device(device), dict(tied or {}), set(keep_in_fp32)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items() if name not in tied}
    plan, unexpected, wrong = {}, [], []
    for key, shape in source.shapes.items():
        if any(fnmatch.fnmatchcase(key, pattern) for pattern in ignore):
            continue
        ours = [tied.get(name, name) for name in names(key) or ()]
        if not ours or any(name not in expected for name in ours):
            unexpected.append(key)
            continue
        part = (shape[0] // len(ours), *shape[1:]) if shape else shape
        for index, name in enumerate(ours):
            if _without_ones(part) != _without_ones(expected[name]):
                wrong.append(f"{key} {part} instead of {expected[name]}")
            plan[name] = (key, index, len(ours))
    missing = [name for name in expected if name not in plan]
    _complain(type(model).__name__, source.where, missing, unexpected, wrong)

    for name, (key, index, count) in plan.items():
        tensor = source.tensor(key, device)
        if count > 1:
            tensor = tensor.chunk(count)[index].clone()  # a view would keep all parts alive in each
        if not hasattr(tensor, "quant_type"):
            tensor = tensor.reshape(expected[name])
            if tensor.is_floating_point():
                tensor = tensor.to(torch.float32 if keep.intersection(name.split(".")) else dtype)
            tensor = tensor.contiguous()
        _set_tensor(model, name, tensor)
    for second, first in tied.items():
        _set_tensor(model, second, model.get_parameter(first))
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(device)
    return model.eval()


def _set_tensor(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a parameter or buffer in its place, whatever was there."""
    parent, _, leaf = name.rpartition(".")
    module = model.get_submodule(parent)
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
    else:
        is_parameter = isinstance(tensor, nn.Parameter)
        module._parameters[leaf] = (
            tensor if is_parameter else nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
        )


def _sentence(error: Exception) -> str:
    """The first line of an error's message, or its name."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _without_ones(shape: Sequence[int]) -> Shape:
    return tuple(size for size in shape if size != 1)


def _complain(model: str, where: str, missing: list[str], unexpected: list[str], wrong: list[str]) -> None:
    parts = [("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong)]
    found = [f"{what}: {some_of(names)}" for what, names in parts if names]
    if found:
        raise ValueError(f"the weights in {where} do not fit {model}; {'; '.join(found)}.")
