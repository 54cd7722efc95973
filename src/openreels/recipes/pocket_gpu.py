"""The pocket model on one data-centre GPU: the same classes and stages, more data and larger batches.

    openreels train pocket-gpu --device cuda --workers 15 --minutes 25 --start-from src/openreels/weights/pocket ...

A GPU sees a hundred times the samples of two cores, so the latent sets are larger (else they would be learnt by heart).
"""

from __future__ import annotations

from dataclasses import replace

from openreels.recipes import pocket
from openreels.recipes.pocket import export
from openreels.training.plan import TrainingPlan
from openreels.training.stages import Stage

__all__ = ["export", "plan"]

BATCHES = {
    "reading": 8,
    "images": 8,
    "sketch": 10,
    "video": 10,
    "sound": 4,
    "following": 8,
    "joint": 10,
    "tasks": 10,
    "everything": 10,
}
"""Stage -> how many times the batch of the CPU recipe."""
SHARDS, CASE_SHARDS = 5, 2
"""How many times the latents, of plain clips and of cases: each of these holds several clips to render and encode."""


def plan() -> TrainingPlan:
    """`pocket.plan()` scaled to a GPU; learning rates stay, for Muon's step does not depend on the gradient's size."""
    small = pocket.plan()
    return replace(small, name="pocket-gpu", stages=tuple(_scaled(stage) for stage in small.stages))


def _scaled(stage: Stage) -> Stage:
    factor = BATCHES[stage.name]
    shares = [
        replace(
            share,
            batch=share.batch * factor,
            shards=share.shards * (SHARDS if share.bucket.row is None else CASE_SHARDS),
        )
        for share in stage.shares
    ]
    return replace(stage, shares=shares)
