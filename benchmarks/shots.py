"""Shot detection on held-out films of the world: boundaries, kinds, confusion matrix.

python benchmarks/shots.py                  measures the shipped classifier on 200 films, and on a few at 720p
python benchmarks/shots.py --train          trains it anew first (minutes), and writes it into the package
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path
from time import process_time

import torch

from openreels.evaluation.shots import ShotReport, measure_shots
from openreels.shots.classifier import WEIGHTS, CutClassifier
from openreels.training.shots import train_cut_classifier
from openreels.world import keep_freed_memory


def show(title: str, report: ShotReport, seconds: float) -> None:
    print(f"\n{title}: {report.films} films, {report.cuts} cuts, {seconds:.0f} CPU s")
    print(f"boundaries within 1 frame: precision {report.precision:.3f}, recall {report.recall:.3f}")
    print(f"cuts found and named rightly: {report.accuracy:.3f}")
    print(report.table())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--large", type=int, default=4, help="films at 720p")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    classifier = None
    if options.train:
        begin = process_time()
        weights = Path(str(files("openreels.shots") / WEIGHTS))
        classifier = train_cut_classifier(weights)
        print(f"trained in {process_time() - begin:.0f} CPU s: {weights}, {weights.stat().st_size:,} bytes")
    classifier = classifier or CutClassifier.load(Path(str(files("openreels.shots") / WEIGHTS)))
    for title, seeds, settings in (
        ("64 x 64 at 16 fps", range(options.films), {}),
        ("114 x 64 at 24 fps", range(10_000, 10_000 + options.films // 4), {"aspect": 16 / 9, "fps": 24}),
        ("1280 x 720 at 16 fps", range(20_000, 20_000 + options.large), {"aspect": 16 / 9, "side": 720}),
    ):
        begin = process_time()
        show(title, measure_shots(seeds, classifier=classifier, **settings), process_time() - begin)


if __name__ == "__main__":
    main()
