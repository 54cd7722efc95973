"""The network that says what sort of cut a boundary is, from the numbers of `features`; small enough to ship.

Legend: B boundaries  F features  K kinds.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors.torch import load_model, save
from torch import Tensor, nn

from openreels.media.atomic import atomic
from openreels.shots.features import FEATURES

__all__ = ["CUT_KINDS", "SINGLE_SHOT", "CutClassifier", "shipped_classifier"]

SINGLE_SHOT = "single-shot"  # no cut at all: a fast motion, or a flash
CUT_KINDS = ("cut-in", "cut-out", "multi-angle", "shot-reverse-shot", "cut-away")
HIDDEN = 48
WEIGHTS = "classifier.safetensors"


class CutClassifier(nn.Module):
    """Two layers over standardised features. kinds: what its outputs mean; the first is no cut."""

    kinds = (SINGLE_SHOT, *CUT_KINDS)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean_F", torch.zeros(FEATURES))
        self.register_buffer("deviation_F", torch.ones(FEATURES))
        self.layers = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(FEATURES, HIDDEN), nn.GELU(), nn.Dropout(0.3), nn.Linear(HIDDEN, len(self.kinds))
        )

    def forward(self, features_BF: Tensor) -> Tensor:
        """Logits (B, K)."""
        return self.layers((features_BF - self.mean_F) / self.deviation_F)

    @torch.inference_mode()
    def probabilities(self, features_BF: Tensor) -> Tensor:
        """(B, K), in evaluation mode."""
        return self.eval()(features_BF).softmax(-1)

    def save(self, path: Path) -> None:
        with atomic(path) as part:
            part.write_bytes(save(self.state_dict()))

    @classmethod
    def load(cls, path: Path) -> CutClassifier:
        classifier = cls()
        load_model(classifier, str(path))
        return classifier.eval()


@cache
def shipped_classifier() -> CutClassifier:
    """The one that comes with this package, trained by `openreels.training.shots`."""
    with as_file(files("openreels.shots") / WEIGHTS) as path:
        return CutClassifier.load(path)
