"""What a tune is like, whether a voice sings, and which: learnt at first use from sounds that the world renders.

All are linear classifiers over what `hearing` measures of a clip, the pitch of its clearest lines, and how many lines
its spectrum has: a voice that holds a note has many sharp ones, a spoken one glides and smears them.

Legend: S samples  F spectrum frames  N frequency bins, or clips  D features  M classes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from openreels.evaluation.hearing import (
    RATE,
    explained,
    fit_linear,
    half_frames,
    hear_onsets,
    musical,
    summed,
)
from openreels.world import MOODS, VOICES, Scene, render_sound
from openreels.world.examples import sample_example

__all__ = ["MANNERS", "manner_of_voice", "mood_of_tune", "voice_of_singer"]

MANNERS = ("none", "spoken", "sung")
SUNG = MANNERS.index("sung")
_LEARNT = {"t2a-singing": 110, "t2a-music": 70, "music-reference": 130, "t2a-speech": 50, "t2a-effects": 30}
_WINDOW, _HOP = 4096, 800
_LOW, _HIGH, _AROUND = 20, 760, 24  # bins of 3.9 Hz: 80 to 3000 Hz
_LINE = 2.5  # natural log units by which a line stands out


def _lines(sound_S: np.ndarray) -> np.ndarray:
    """How many lines each frame has and where the clearest is: percentiles over the clip, (D,)."""
    padded = np.pad(sound_S, (_WINDOW // 2, _WINDOW))
    starts = np.arange(0, len(sound_S) + 1, _HOP)
    shape = np.hanning(_WINDOW).astype(np.float32)
    power_FN = np.abs(np.fft.rfft(padded[starts[:, None] + np.arange(_WINDOW)] * shape)) ** 2 / _WINDOW
    log_FN = np.log(power_FN + 1e-7)
    sums_FN = np.cumsum(np.pad(log_FN, ((0, 0), (1, 0))), axis=1)
    bins = np.arange(_LOW, _HIGH)
    first = np.maximum(bins - _AROUND, 0)
    around = (sums_FN[:, bins + _AROUND + 1] - sums_FN[:, first]) / (bins + _AROUND + 1 - first)
    here = log_FN[:, bins]
    peak = (here >= log_FN[:, bins - 1]) & (here >= log_FN[:, bins + 1])
    height_FN = np.where(peak, here - around, 0.0)
    # Of a steady note the line stays in its bin from frame to frame; that of a gliding voice does not.
    line_FN = height_FN > _LINE
    near_FN = line_FN | np.roll(line_FN, 1, 1) | np.roll(line_FN, -1, 1)
    held_F = (line_FN[1:] & near_FN[:-1]).sum(1)
    octave_F = np.log2(height_FN.argmax(1) + _LOW)
    return np.concatenate(
        [
            np.percentile(line_FN.sum(1), (20, 50, 80)),
            np.percentile(held_F, (20, 50, 80)),
            np.percentile(octave_F, (25, 50, 75)),
            np.percentile(height_FN.max(1), (25, 50, 75)),
        ]
    )


def _steps(amount_FK: np.ndarray) -> np.ndarray:
    """How high the notes of a music box are and how often they change, (D,). amount_FK: of its notes, in order."""
    share_K = amount_FK.sum(0) / max(amount_FK.sum(), 1e-6)
    pitch_K = np.arange(len(share_K)) / len(share_K)
    mean = float(share_K @ pitch_K)
    begun_F = np.maximum(amount_FK[2:] - amount_FK[:-2], 0.0).sum(1)
    return np.array([mean, float(share_K @ (pitch_K - mean) ** 2) ** 0.5, begun_F.sum() / max(amount_FK.sum(), 1e-6)])


def _features(sound_S: np.ndarray) -> np.ndarray:
    impacts, notes = hear_onsets(sound_S)
    groups_K, amount_FK = explained(sound_S, half_frames(round(len(sound_S) / RATE * 16), 16))
    tune = musical(sound_S, summed(groups_K, amount_FK), notes, len(impacts))
    return np.concatenate([tune, _lines(sound_S), _steps(amount_FK[:, groups_K == "music"])])


@cache
def _classifiers() -> tuple[np.ndarray, np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Mean and scale of the features (D,); weights (D, M) and biases (M,) of `MANNERS` ("manner"), of `MOODS` where
    there is a tune ("mood"), of `VOICES` where somebody sings ("singer")."""
    rng = np.random.default_rng(0)
    scenes = [
        sample_example(row, number, duration=2.0).target.shots[0].scene
        for row, count in _LEARNT.items()
        for number in range(count)
    ]
    rows, manners, moods, singers = [], [], [], []
    for scene in scenes:
        sound_S = render_sound([scene], samples=2 * RATE)[0].numpy()
        if rng.random() < 0.5:  # hiss and another loudness, as a codec or a vocoder might leave them
            sound_S = sound_S * rng.uniform(0.6, 1.3) + rng.standard_normal(len(sound_S)) * 10 ** rng.uniform(-4, -2.7)
        rows.append(_features(sound_S.astype(np.float32)))
        said = [syllable for each in scene.subjects if each.speech for syllable in each.speech.syllables]
        said = [] if "speech" in scene.muted else said
        manners.append(MANNERS.index("none" if not said else "sung" if said[0].note is not None else "spoken"))
        singers.append(-1 if manners[-1] != SUNG else VOICES.index(_singer(scene)))
        moods.append(-1 if scene.melody is None else MOODS.index(scene.melody.mood))
    features_ND = np.stack(rows)
    mean_D, scale_D = features_ND.mean(0), features_ND.std(0) + 1e-3
    x_ND = (features_ND - mean_D) / scale_D
    learnt = {}
    for name, labels, classes in (("manner", manners, MANNERS), ("mood", moods, MOODS), ("singer", singers, VOICES)):
        known = np.array(labels) >= 0
        learnt[name] = fit_linear(x_ND[known], torch.tensor(labels)[torch.from_numpy(known)], len(classes))
    return mean_D, scale_D, learnt


def _singer(scene: Scene) -> str:
    return next(subject.speech.voice for subject in scene.subjects if subject.speech is not None)


def _best(sound_S: np.ndarray, name: str) -> int:
    mean_D, scale_D, learnt = _classifiers()
    weight_DM, bias_M = learnt[name]
    return int((((_features(sound_S) - mean_D) / scale_D) @ weight_DM + bias_M).argmax())


def manner_of_voice(sound_S: np.ndarray) -> str:
    """Of `MANNERS`: whether nobody, a speaking or a singing voice is heard. Mono sound at `hearing.RATE`."""
    return MANNERS[_best(sound_S, "manner")]


def mood_of_tune(sound_S: np.ndarray) -> str:
    """Which of the world's `MOODS` a tune has; means nothing where none is heard. Mono sound at `hearing.RATE`."""
    return MOODS[_best(sound_S, "mood")]


def voice_of_singer(sound_S: np.ndarray) -> str:
    """Which of the world's `VOICES` sings; means nothing where nobody does. Mono sound at `hearing.RATE`."""
    return VOICES[_best(sound_S, "singer")]
