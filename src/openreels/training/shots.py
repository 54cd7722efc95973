"""Training of the cut classifier on films of the world, whose cuts are known. Deterministic, minutes on one core.

Legend: N examples  F features  T frames  K kinds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch.nn import functional

from openreels.shots.boundaries import WORKING_SIZE
from openreels.shots.classifier import CutClassifier
from openreels.shots.extra import opencv
from openreels.shots.features import CONTEXT, features
from openreels.world.film_rendering import cut_frames, film_frames
from openreels.world.films import Film, sample_film
from openreels.world.motion import tracks

__all__ = ["ASPECTS", "examples", "fit", "train_cut_classifier"]

ASPECTS = (1.0, 4 / 3, 16 / 9, 3 / 4, 9 / 16)
RATES = (12, 16, 24, 30)
FILMS = 1200
STEPS = 400
MOMENTS = 8  # drawn where a film is not cut; the two liveliest of them become examples of no cut


def train_cut_classifier(path: Path, films: int = FILMS) -> CutClassifier:
    """Train on films 0 to `films` (excluded) of the world's training split, save to `path`, and return."""
    classifier = fit(*examples(range(films)))
    classifier.save(path)
    return classifier


def examples(seeds: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, F) float32 and kinds (N,) int64 of all cuts of these films, and of two moments without one."""
    rows, labels = [], []
    for seed in seeds:
        rng = Random(f"openreels shots {seed}")
        film = sample_film(seed, aspect=rng.choice(ASPECTS))
        fps = rng.choice(RATES)
        boundaries = dict(zip(cut_frames(film, fps), film.cuts, strict=True))
        boundaries |= dict.fromkeys(_lively(rng, film, fps), CutClassifier.kinds[0])
        for boundary, kind in boundaries.items():
            rows.append(features(_compressed(rng, _around(film, boundary, fps))))
            labels.append(CutClassifier.kinds.index(kind))
    return np.stack(rows), np.array(labels)


def _around(film: Film, boundary: int, fps: int) -> np.ndarray:
    size = {"height": round(WORKING_SIZE * max(1, 1 / film.aspect)), "width": round(WORKING_SIZE * max(1, film.aspect))}
    return film_frames(film, fps=fps, **size, first=boundary - CONTEXT, last=boundary + CONTEXT).numpy()


def _lively(rng: Random, film: Film, fps: int) -> list[int]:
    """Two boundaries between frames of one shot where things move fast, and might be taken for a cut."""
    last = round(film.duration * fps) - CONTEXT
    moments = {rng.randrange(CONTEXT, last) for _ in range(MOMENTS)}
    quiet = [frame for frame in moments if all(abs(frame - cut) > CONTEXT for cut in cut_frames(film, fps))]
    return sorted(quiet, key=lambda frame: (_speed(film, frame / fps), frame))[-2:]


def _speed(film: Film, time: float) -> float:
    """Of the fastest subject in view, in short sides of the picture a second, times its size."""
    index = sum(cut <= time for cut in film.cut_times)
    shot, begun = film.shots[index], (0.0, *film.cut_times)[index]
    path = tracks(shot.scene, [shot.start + time - begun])
    speeds = [path.speed_NT[i, 0] * path.radius_N[i] * shot.camera.zoom**2 for i in shot.seen]
    return max(speeds, default=0.0)


def _compressed(rng: Random, frames_THWC: np.ndarray) -> np.ndarray:
    """Most films come to us with the traces of a codec."""
    if rng.random() < 0.35:
        return frames_THWC
    cv2 = opencv()
    quality = [cv2.IMWRITE_JPEG_QUALITY, rng.randint(45, 95)]
    return np.stack([cv2.imdecode(cv2.imencode(".jpg", frame, quality)[1], 1) for frame in frames_THWC])


def fit(features_NF: np.ndarray, labels_N: np.ndarray, steps: int = STEPS) -> CutClassifier:
    """Full-batch training from a fixed seed; every kind counts the same, however often it was seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = CutClassifier()
        inputs_NF, kinds_N = torch.from_numpy(features_NF), torch.from_numpy(labels_N)
        classifier.mean_F.copy_(inputs_NF.mean(0))
        classifier.deviation_F.copy_(inputs_NF.std(0) + 1e-2)
        counts_K = torch.bincount(kinds_N, minlength=len(CutClassifier.kinds)).clamp(min=1)
        weight_K = len(kinds_N) / (len(counts_K) * counts_K)
        optimizer = torch.optim.AdamW(classifier.parameters(), lr=5e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        classifier.train()
        for _ in range(steps):
            loss = functional.cross_entropy(classifier(inputs_NF), kinds_N, weight_K, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return classifier.eval()
