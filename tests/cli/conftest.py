"""The pocket model of these tests: the real pipeline at tiny sizes, random weights, saved as weights are shipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree

import pytest
import torch
from safetensors.torch import load_file, save_file

from openreels.pipelines import loading, registry
from openreels.pipelines.reel import Reel, hash_folder


@dataclass
class Pocket:
    """Where "pocket" lies. folder: may be set to another. loads: the folders loaded so far."""

    folder: Path
    loads: list[Path] = field(default_factory=list)

    @property
    def weight_hash(self) -> str:
        return hash_folder(self.folder)


@pytest.fixture(scope="session")
def weights(tiny_pipeline, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "pocket"
    tiny_pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def pocket(weights, monkeypatch) -> Pocket:
    """The model that the command line finds as "pocket"."""
    pocket = Pocket(weights)
    load = Reel.from_pretrained.__func__

    def counted(cls: type[Reel], folder: Path, *arguments) -> Reel:
        pocket.loads.append(folder)
        return load(cls, folder, *arguments)

    monkeypatch.setattr(Reel, "from_pretrained", classmethod(counted))
    for module in (registry, loading):
        monkeypatch.setattr(module, "folder_of", lambda name: pocket.folder)
    return pocket


@pytest.fixture
def with_changed(tmp_path_factory) -> Callable[[Path, str, Callable[[torch.Tensor], torch.Tensor]], Path]:
    """with_changed(weights, part, change): a copy of the model in which `change` went over the weights of one part."""

    def copy(folder: Path, part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
        changed = Path(copytree(folder, tmp_path_factory.mktemp("changed") / "pocket"))
        path = next((changed / part).glob("*.safetensors"))
        save_file({key: change(tensor) for key, tensor in load_file(path).items()}, path, {"format": "pt"})
        return changed

    return copy
