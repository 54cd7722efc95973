"""What a clip's sound holds: impacts with their material and time, a voice and its loudness, music.

Everything is learnt at first use, in seconds, from sounds that the world renders for the purpose: no weights file.
Impacts are onsets (sudden rises over what sounded before) that a linear classifier takes for one of the four materials.
Voice and music are found by explaining the spectrum as a sum of the world's sounds, each with an amount >= 0.

Legend: S samples  F spectrum frames  B frequency bands  N onsets  D features  K atoms (known spectra)  M classes.
Sound is mono float32 at `RATE` Hz.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from openreels.world import (
    BACKGROUNDS,
    MATERIALS,
    VOICES,
    VOWELS,
    Melody,
    Motion,
    Note,
    Scene,
    Speech,
    Subject,
    Syllable,
    contacts,
    render_sound,
    sample_scene,
)

__all__ = ["RATE", "Heard", "Impact", "Voice", "hear"]

RATE = 16_000


@dataclass(frozen=True)
class Impact:
    """time: seconds. material: of world.MATERIALS. likelihoods: of the materials in that order, sum 1."""

    time: float
    material: str
    likelihoods: tuple[float, ...]


@dataclass(frozen=True)
class Voice:
    """present: somebody speaks. kind: of world.VOICES, None when nobody does. loudness_T: >= 0, per video frame."""

    present: bool
    kind: str | None
    loudness_T: np.ndarray


@dataclass(frozen=True)
class Heard:
    """impacts: in order of time. music: whether a music box plays."""

    impacts: tuple[Impact, ...]
    voice: Voice
    music: bool


# --- bands -----------------------------------------------------------------------------------------------------------


@cache
def _bands(window: int, count: int, low: float, high: float) -> np.ndarray:
    """Triangles on the mel scale: bins of a spectrum -> bands, (window / 2 + 1, B), each with unit sum."""
    edges = 700.0 * (10 ** (np.linspace(np.log10(1 + low / 700), np.log10(1 + high / 700), count + 2)) - 1.0)
    bins = np.fft.rfftfreq(window, 1.0 / RATE)[:, None]
    left, top, right = edges[:-2], edges[1:-1], edges[2:]
    rise, drop = (bins - left) / (top - left), (right - bins) / (right - top)
    weights = np.maximum(np.minimum(rise, drop), 0.0)
    # A band narrower than a bin would be empty: give it the bin nearest to its top.
    for band in np.flatnonzero(weights.sum(0) < 1e-6):
        weights[np.abs(bins[:, 0] - top[band]).argmin(), band] = 1.0
    return (weights / weights.sum(0)).astype(np.float32)


def _spectrum(sound_S: np.ndarray, centres_F: np.ndarray, window: int, bands: np.ndarray) -> np.ndarray:
    """Mean power per band in Hann windows round the given samples, (F, B)."""
    half = window // 2
    padded = np.pad(sound_S, (half, window))
    index = np.clip(centres_F, 0, len(sound_S))[:, None] + np.arange(window)
    shape = np.hanning(window).astype(np.float32)
    power = np.abs(np.fft.rfft(padded[index] * shape, axis=-1)) ** 2 / (shape**2).sum()
    return (power.astype(np.float32)) @ bands


# --- impacts ---------------------------------------------------------------------------------------------------------

_HOP = 80  # 5 ms
_SHORT = 256
_COUNT = 28
_FLOOR = 3e-7  # power per bin below which nothing is audible: -65 dB
_RISE = 4  # hops over which a rise is measured
_APART = 8  # hops: two onsets nearer than 40 ms are one
_LEAST_RISE = 0.3  # mean rise over the bands, in natural log units, that makes an onset worth a look
_LISTEN = 400  # scenes the classifier learns from, and about half as many more with music
_NOISES = 40  # stretches of white noise beside them
_CLASSES = (*MATERIALS, "note", "other")
# Spans after (and before) the onset, in hops, whose spectra describe it: 30 ms before, the blow, and how it dies away.
_SPANS = ((-7, -2), (0, 3), (3, 7), (7, 14), (14, 26), (26, 44))


def _log_bands(sound_S: np.ndarray) -> np.ndarray:
    """Log power, (F, B), a frame every 5 ms."""
    bands = _bands(_SHORT, _COUNT, 80.0, 7600.0)
    return np.log(_spectrum(sound_S, np.arange(0, len(sound_S), _HOP), _SHORT, bands) + _FLOOR)


def _onsets(log_FB: np.ndarray) -> np.ndarray:
    """Frames in which many bands rise at once, in order."""
    before_FB = np.vstack([np.repeat(log_FB[:1], _RISE, 0), log_FB[:-_RISE]])[: len(log_FB)]
    rise_F = np.maximum(log_FB - before_FB, 0.0).mean(1)
    rise_F[0] = 0.0
    peaks = []
    for frame in np.argsort(rise_F)[::-1]:
        if rise_F[frame] < _LEAST_RISE:
            break
        if all(abs(frame - other) >= _APART for other in peaks):
            peaks.append(int(frame))
    return np.array(sorted(peaks), dtype=int)


def _describe(log_FB: np.ndarray, onsets_N: np.ndarray) -> np.ndarray:
    """Features of onsets, (N, D)."""
    sums = np.vstack([np.zeros((1, log_FB.shape[1])), np.cumsum(log_FB, 0)])
    last = len(log_FB)
    parts = []
    for first, end in _SPANS:
        a = np.clip(onsets_N - _RISE // 2 + first, 0, last - 1)
        b = np.clip(np.maximum(onsets_N - _RISE // 2 + end, a + 1), 1, last)
        parts.append((sums[b] - sums[a]) / (b - a)[:, None])
    return np.concatenate(parts, 1)


def hear_onsets(sound_S: np.ndarray) -> tuple[tuple[Impact, ...], int]:
    """The impacts, and how many notes of a music box begin."""
    log_FB = _log_bands(sound_S)
    onsets_N = _onsets(log_FB)
    if not len(onsets_N):
        return (), 0
    mean_D, scale_D, weight_DM, bias_M, delay = _classifier()
    score_NM = ((_describe(log_FB, onsets_N) - mean_D) / scale_D) @ weight_DM + bias_M
    likely_NM = np.exp(score_NM - score_NM.max(1, keepdims=True))
    likely_NM /= likely_NM.sum(1, keepdims=True)
    count = len(MATERIALS)
    found = []
    for frame, likely_M in zip(onsets_N.tolist(), likely_NM, strict=True):
        if likely_M[:count].sum() >= 0.5:
            share = likely_M[:count] / likely_M[:count].sum()
            found.append(Impact(frame * _HOP / RATE - delay, MATERIALS[int(share.argmax())], tuple(share.tolist())))
    notes = int((likely_NM.argmax(1) == _CLASSES.index("note")).sum())
    return tuple(found), notes


@cache
def _classifier() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean and scale of the features, weights (D, M) and biases (M,) of `_CLASSES`, and how long after the blow its
    onset is found, seconds (may be negative: the window reaches ahead)."""
    rng = np.random.default_rng(0)
    features, labels, delays = [], [], []
    many = [sample_scene(7_000_000 + i, duration=2.0) for i in range(6 * _LISTEN)]
    scenes = many[:_LISTEN] + [scene for scene in many[_LISTEN:] if scene.melody is not None]
    sounds = list(render_sound(scenes, samples=2 * RATE).numpy())
    # Steady noise has chance rises, and no blow in it.
    loudness = 10 ** rng.uniform(-3, -0.3, _NOISES)
    sounds += [level * rng.standard_normal(2 * RATE) for level in loudness]
    scenes += [replace(scenes[0], subjects=(), melody=None)] * _NOISES
    for scene, sound_S in zip(scenes, sounds, strict=True):
        true = [(contact.time, contact.materials) for contact in contacts(scene)]
        # Half of the examples with hiss and another loudness, as a codec or a vocoder might leave them.
        if rng.random() < 0.5:
            sound_S = sound_S * rng.uniform(0.6, 1.3) + rng.standard_normal(len(sound_S)) * 10 ** rng.uniform(-4, -2.5)
        log_FB = _log_bands(sound_S.astype(np.float32))
        onsets_N = _onsets(log_FB)
        if not len(onsets_N):
            continue
        features.append(_describe(log_FB, onsets_N))
        for frame in onsets_N:
            time = frame * _HOP / RATE
            near = [(time - at, materials) for at, materials in true if -0.02 < time - at < 0.045]
            beat = scene.melody is not None and any(-0.02 < time - note.start < 0.045 for note in scene.melody.notes)
            if near:
                delay, materials = min(near, key=lambda item: abs(item[0] - 0.008))
                delays.append(delay)
                labels.append(MATERIALS.index(materials[int(rng.integers(len(materials)))]))
            else:
                labels.append(_CLASSES.index("note" if beat else "other"))
    features_ND = np.concatenate(features)
    mean_D, scale_D = features_ND.mean(0), features_ND.std(0) + 1e-3
    weight_DM, bias_M = fit_linear((features_ND - mean_D) / scale_D, torch.tensor(labels), len(_CLASSES))
    return mean_D, scale_D, weight_DM, bias_M, float(np.median(delays))


def fit_linear(features_ND: np.ndarray, labels_N: torch.Tensor, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (D, M) and biases (M,) of a regularised softmax regression."""
    x = torch.from_numpy(features_ND).float()
    weight = torch.zeros(x.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weight + bias, labels_N) + 1e-3 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    return weight.detach().numpy(), bias.detach().numpy()


# --- voice and music -------------------------------------------------------------------------------------------------

_LONG = 1024
_FINE = 72
_ROUNDS = 30


@cache
def _fine_bands() -> np.ndarray:
    return _bands(_LONG, _FINE, 60.0, 5200.0)


def _alone(scene: Scene) -> np.ndarray:
    """The scene's sound without its place's, seconds 0..1."""
    bare = replace(scene, subjects=(), melody=None)
    both = render_sound([scene, bare], samples=RATE).numpy()
    return both[0] - both[1]


@cache
def _atoms() -> tuple[tuple[str, ...], np.ndarray]:
    """Groups (K,) and magnitudes per band (K, B), unit sum, of the world's sounds."""
    bands = _fine_bands()
    groups, spectra = [], []

    def add(group: str, sound_S: np.ndarray, *seconds: float) -> None:
        for magnitude_B in np.sqrt(_spectrum(sound_S, (np.array(seconds) * RATE).astype(int), _LONG, bands)):
            groups.append(group)
            spectra.append(magnitude_B)

    def scene(subjects=(), melody=None, background="snow", night=False) -> Scene:
        return Scene(0, 1.0, 1.0, background, night, 0.3, 0, subjects, melody)

    for voice in VOICES:
        for pitch in range(3):
            for vowel in VOWELS:
                speech = Speech(voice, pitch, (Syllable(0.1, 0.5, vowel, 1.0),))
                face = Subject("cat", "red", "large", 0.3, Motion("still", 0.0), speech=speech)
                add(voice, _alone(scene((face,))), 0.18, 0.3, 0.45)
    for pitch in range(64, 91):
        add("music", _alone(scene(melody=Melody("sad", (Note(0.1, pitch, 1.0),)))), 0.12, 0.3)
    for material in MATERIALS:
        for size in ("small", "large"):
            for tone in (0, 2, 5, 7):
                drop = Motion("fall", 0.0, start=-0.2, period=0.3, height=0.4)
                thing = Subject("ball", "red", size, 0.2, drop, material=material, tone=tone)
                add("impact", _alone(scene((thing,))), 0.11, 0.2)
    for kind in ("slide", "roll", "orbit", "jump"):
        motion = Motion(kind, 0.0, start=0.1, period=0.8, height=0.3, distance=0.4, pause=0.5)
        thing = Subject("ball", "red", "small", 0.2, motion, material="rubber")
        add("rest", _alone(scene((thing,))), 0.12, 0.4)
    for background in BACKGROUNDS:
        for night in (False, True):
            quiet = render_sound([scene((), None, background, night)], samples=RATE).numpy()[0]
            add("rest", quiet, 0.1, 0.4, 0.7)
    # White noise belongs to nothing in particular either.
    groups.append("rest")
    spectra.append(np.full(_FINE, 0.1, np.float32))
    magnitudes_KB = np.stack(spectra) + 1e-7
    return tuple(groups), (magnitudes_KB / magnitudes_KB.sum(1, keepdims=True)).astype(np.float32)


def explained(sound_S: np.ndarray, centres_F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The group of each known spectrum, (K,), and how much of it sounds at the given samples, (F, K)."""
    groups, atoms_KB = _atoms()
    seen_FB = torch.from_numpy(np.sqrt(_spectrum(sound_S, centres_F, _LONG, _fine_bands())) + 1e-7).float()
    atoms_KB = torch.from_numpy(atoms_KB)
    # Multiplicative updates for the Kullback-Leibler divergence; atoms have unit sum. The floor keeps numbers normal:
    # arithmetic with denormal ones is a hundred times slower.
    amount_FK = (seen_FB.sum(1, keepdim=True) / len(atoms_KB)).expand(-1, len(atoms_KB)).clone()
    for _ in range(_ROUNDS):
        amount_FK.mul_((seen_FB / (amount_FK @ atoms_KB)) @ atoms_KB.T).clamp_(min=1e-12)
    return np.array(groups), amount_FK.numpy()


def amounts(sound_S: np.ndarray, centres_F: np.ndarray) -> dict[str, np.ndarray]:
    """How much of each group sounds at the given samples: sums of band magnitudes, (F,)."""
    return summed(*explained(sound_S, centres_F))


def summed(groups_K: np.ndarray, amount_FK: np.ndarray) -> dict[str, np.ndarray]:
    return {str(group): amount_FK[:, groups_K == group].sum(1) for group in dict.fromkeys(groups_K.tolist())}


# Mean over the clip of the sum of band magnitudes. With speech it is above 1.1, without below 0.35.
_LEAST_SPEECH = 0.6
_LEAST_SHARE = 0.25  # of all that sounds. With speech it is above 0.32, without below 0.18, in white noise 0.11.


def half_frames(frames: int, fps: float) -> np.ndarray:
    """Samples at every video frame and half-way between, (2 T,)."""
    return np.round(np.arange(2 * frames) / (2.0 * fps) * RATE).astype(int)


def _voice(amount: dict[str, np.ndarray]) -> Voice:
    voice_F = amount["low"] + amount["high"]
    loudness, everything = float(voice_F.mean()), float(sum(value.mean() for value in amount.values()))
    present = loudness >= max(_LEAST_SPEECH, _LEAST_SHARE * everything)
    kind = ("low" if amount["low"].sum() > amount["high"].sum() else "high") if present else None
    return Voice(present, kind, voice_F[::2])


_TONE = 4096  # samples: a spectrum in which a note is a line and noise is not
_TONE_HOP = 1000
_LOWEST, _HIGHEST, _AROUND = 60, 400, 32  # bins of 3.9 Hz: notes lie between 230 and 1560 Hz
_METAL = 2.32  # second mode of a metal impact over its first; a note has nothing there


def _tonality(sound_S: np.ndarray) -> np.ndarray:
    """How far lines stand out of the spectrum over the clip, and whether they have metal's second mode, (8,)."""
    padded = np.pad(sound_S, (_TONE // 2, _TONE))
    starts = np.arange(0, len(sound_S) + 1, _TONE_HOP)
    shape = np.hanning(_TONE).astype(np.float32)
    power_FN = np.abs(np.fft.rfft(padded[starts[:, None] + np.arange(_TONE)] * shape)) ** 2 / _TONE
    log_FN = np.log(power_FN + 1e-7)
    sums_FN = np.cumsum(np.pad(log_FN, ((0, 0), (1, 0))), axis=1)
    bins = np.arange(_LOWEST, _HIGHEST)
    around = (sums_FN[:, bins + _AROUND + 1] - sums_FN[:, bins - _AROUND]) / (2 * _AROUND + 1)
    here = log_FN[:, bins]
    peak = (here >= log_FN[:, bins - 1]) & (here >= log_FN[:, bins + 1])
    height_FN = np.where(peak, here - around, 0.0)
    best_F, bin_F = height_FN.max(1), height_FN.argmax(1) + _LOWEST
    window = np.arange(-10, 11)
    second = np.clip((np.round(_METAL * bin_F)).astype(int)[:, None] + window, 0, log_FN.shape[1] - 1)
    metal_F = np.take_along_axis(log_FN, second, 1).max(1) - np.take_along_axis(log_FN, bin_F[:, None], 1)[:, 0]
    clear_F = best_F > 4.0
    return np.array(
        [
            *np.percentile(best_F, (10, 30, 50, 70, 90)),
            clear_F.mean(),
            (clear_F & (metal_F < -3.0)).mean(),
            metal_F[clear_F].mean() if clear_F.any() else 0.0,
        ]
    )


def musical(sound_S: np.ndarray, amount: dict[str, np.ndarray], notes: int, impacts: int) -> np.ndarray:
    """Features of a whole clip that tell music from everything else, (D,)."""
    seconds = len(sound_S) / RATE
    groups = [(value.mean(), np.median(value), np.percentile(value, 20)) for value in amount.values()]
    return np.concatenate([_tonality(sound_S), (notes / seconds, impacts / seconds), *groups])


@cache
def _music_classifier() -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean and scale of `musical`, weights (D,) and bias; positive is music."""
    seconds = 2.0
    many = [sample_scene(8_000_000 + i, duration=seconds) for i in range(1_500)]
    scenes = [scene for scene in many if scene.melody is not None]
    scenes += [scene for scene in many if scene.melody is None][: len(scenes)]
    sounds_BS = render_sound(scenes, samples=round(seconds * RATE)).numpy()
    centres = half_frames(round(seconds * 16), 16)
    rows = []
    for sound_S in sounds_BS:
        impacts, notes = hear_onsets(sound_S)
        rows.append(musical(sound_S, amounts(sound_S, centres), notes, len(impacts)))
    features_ND = np.stack(rows)
    mean_D, scale_D = features_ND.mean(0), features_ND.std(0) + 1e-3
    labels = torch.tensor([int(scene.melody is not None) for scene in scenes])
    weight_DM, bias_M = fit_linear((features_ND - mean_D) / scale_D, labels, 2)
    return mean_D, scale_D, weight_DM[:, 1] - weight_DM[:, 0], float(bias_M[1] - bias_M[0])


def hear(sound_S: np.ndarray, frames: int, fps: float) -> Heard:
    """Everything: impacts, voice (its loudness at each of `frames` video frames at `fps`), music."""
    impacts, notes = hear_onsets(sound_S)
    amount = amounts(sound_S, half_frames(frames, fps))
    mean_D, scale_D, weight_D, bias = _music_classifier()
    music = ((musical(sound_S, amount, notes, len(impacts)) - mean_D) / scale_D) @ weight_D + bias
    return Heard(impacts, _voice(amount), bool(music > 0))
