"""What the oracle says of true clips after a round trip through the pocket codecs: the ceiling of a generator on them.

python benchmarks/codec_ceiling.py [--weights src/openreels/weights/pocket] [--clips 48] [--seed 5]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from openreels.evaluation.measures import figure
from openreels.evaluation.suite import cases, measure_clips, score, true_clips
from openreels.media import Clip
from openreels.training.plan import load_components

FRAMES = 33  # what the pipeline generates for two seconds; the last one is cut off


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path("src/openreels/weights/pocket"))
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    expected = [case.expected for case in cases(arguments.clips, arguments.seed)]
    blank = Clip(
        frames=np.zeros((FRAMES, 64, 64, 3), np.uint8), fps=Fraction(16), audio=np.zeros((1, 1), np.float32),
        sample_rate=16_000,
    )  # fmt: skip
    codecs, _ = load_components(arguments.weights)
    shape = codecs.video.shape(FRAMES, 64, 64, Fraction(16))
    true, coded = [], []
    for clip in true_clips([e.scene for e in expected], blank):
        frames = codecs.video.decode(codecs.video.encode(torch.from_numpy(clip.frames)[None]), shape)[0].numpy()
        sound = codecs.audio.decode(codecs.audio.encode(torch.from_numpy(clip.audio))).numpy()
        short = {"frames": clip.frames[:-1], "audio": clip.audio[:, :32_000]}
        true.append(replace(clip, **short))
        coded.append(replace(clip, frames=frames[:-1], audio=sound[:, :32_000]))
    before, after = (score(expected, measure_clips(clips)) for clips in (true, coded))
    print(f"{'measure':14} {'true':>6} {'coded':>6}  clips")
    for name, values in after.items():
        print(f"{name:14} {figure(before[name]).value:6.3f} {figure(values).value:6.3f}  {len(values)}")


if __name__ == "__main__":
    main()
