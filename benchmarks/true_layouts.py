"""What the oracle says of clips whose layouts are the world's own, beside those whose layouts were planned.

The difference is the planner's; what is still missing beside true layouts is the transformer's and the codecs'.

python benchmarks/true_layouts.py [--weights src/openreels/weights/pocket] [--clips 48] [--seed 0] [--steps 30]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from openreels.evaluation.suite import cases, evaluate
from openreels.pipelines.reel import Reel
from openreels.training.latents import plain_film
from openreels.training.layouts import layout_of
from openreels.world import Scene

FRAMES = 33  # what the pipeline generates for two seconds; the last one is cut off


class Truth:
    """In the planner's place: says of one scene after another how it is."""

    config = SimpleNamespace(frames=17)

    def __init__(self, scenes: Iterator[Scene], reel: Reel):
        self.scenes = scenes
        self.shape = reel.pipeline.video_codec.shape(FRAMES, 64, 64, Fraction(16))

    def plan(self, positive, negative, frames: int, aspect: float, generators: Sequence, **_) -> Tensor:
        return torch.stack([layout_of(plain_film(next(self.scenes), 0.0), self.shape) for _ in generators])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path("src/openreels/weights/pocket"))
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    numbers = {"count": arguments.clips, "seed": arguments.seed, "steps": arguments.steps}
    reel = Reel.from_pretrained(arguments.weights)
    planned = evaluate(reel, **numbers)
    scenes = (case.expected.scene for case in cases(**numbers))
    reel.pipeline.planner = Truth(scenes, reel)
    told = evaluate(reel, **numbers)
    print(f"{'measure':14} {'planned':>8} {'true':>8} {'world':>8}  {arguments.clips} clips, weights {planned.weights}")
    for before, after in zip(planned.rows, told.rows, strict=True):
        values = (before.generated.value, after.generated.value, after.truth.value)
        print(f"{before.name:14} " + " ".join(f"{value:8.2f}" for value in values))


if __name__ == "__main__":
    main()
