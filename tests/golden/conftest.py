"""The V3 goldens: outputs of the official code (v3/README.md), with the weights drawn anew by their fill rule."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).parent / "v3"


def seeded(name: str, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


@dataclass(frozen=True)
class Golden:
    """weights: under the official names. io: inputs and outputs. config: of the official class."""

    weights: dict[str, Tensor]
    io: dict[str, Tensor]
    config: dict


@pytest.fixture(scope="session")
def golden():
    """Reads one golden by its folder's name."""
    shapes = json.loads((FOLDER / "weight_shapes.json").read_text())

    def weight(key: str, shape: list[int], scale: float) -> Tensor:
        drawn = seeded(key, *shape) * scale
        norm = "norm" in key or key.startswith(("img_emb.proj.0.", "img_emb.proj.4."))
        return drawn + 1 if key.endswith(".gamma") or (norm and key.endswith(".weight") and len(shape) == 1) else drawn

    def read(name: str) -> Golden:
        meta = json.loads((FOLDER / name / "meta.json").read_text())
        weights = {key: weight(key, shape, meta["fill_scale"]) for key, shape in shapes.get(name, {}).items()}
        return Golden(weights, load_file(FOLDER / name / "io.safetensors"), meta.get("config", {}))

    return read


@pytest.fixture(scope="session")
def table():
    """Reads a full-size table: names -> shapes, or the maps between names."""

    def read(name: str) -> dict:
        content = json.loads(gzip.decompress((FOLDER / "fullsize_keys" / f"{name}.json.gz").read_bytes()))
        return {key: tuple(value["shape"]) if "shape" in value else value for key, value in content.items()}

    return read


@pytest.fixture(scope="session")
def parameter_counts() -> dict[str, int]:
    return json.loads((FOLDER / "fullsize_keys" / "param_counts.json").read_text())


@pytest.fixture(autouse=True)
def no_gradients(one_thread):
    """As in use; one thread, since busy cores make small tensors wait."""
    with torch.no_grad():
        yield
