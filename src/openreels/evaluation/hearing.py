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

__all__ = ["RATE", "Heard", "Impact", "Voice", "hear_impacts", "hear_tones"]

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
_LEAST_RISE = 0.42  # mean rise over the bands, in natural log units, that makes an onset worth a look
_LISTEN = 600  # scenes the classifier learns from
# Spans after (and before) the onset, in hops, whose spectra describe it: 30 ms before, the blow, and how it dies away.
_SPANS = ((-7, -2), (0, 3), (3, 7), (7, 14), (14, 26), (26, 44))


def _log_bands(sound_S: np.ndarray) -> np.ndarray:
    """Log power, (F, B), a frame every 5 ms."""
    bands = _bands(_SHORT, _COUNT, 80.0, 7600.0)
    return np.log(_spectrum(sound_S, np.arange(0, len(sound_S), _HOP), _SHORT, bands) + _FLOOR)


def _onsets(log_FB: np.ndarray) -> np.ndarray:
    """Frames in which many bands rise at once, in order."""
    before_FB = np.vstack([np.repeat(log_FB[:1], _RISE, 0), log_FB[:-_RISE]])
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


def hear_impacts(sound_S: np.ndarray) -> tuple[Impact, ...]:
    log_FB = _log_bands(sound_S)
    onsets_N = _onsets(log_FB)
    if not len(onsets_N):
        return ()
    mean_D, scale_D, weight_DM, bias_M, delay = _classifier()
    score_NM = ((_describe(log_FB, onsets_N) - mean_D) / scale_D) @ weight_DM + bias_M
    likely_NM = np.exp(score_NM - score_NM.max(1, keepdims=True))
    likely_NM /= likely_NM.sum(1, keepdims=True)
    found = []
    for frame, likely_M in zip(onsets_N.tolist(), likely_NM, strict=True):
        if likely_M[-1] < 0.5:
            share = likely_M[:-1] / likely_M[:-1].sum()
            found.append(Impact(frame * _HOP / RATE - delay, MATERIALS[int(share.argmax())], tuple(share.tolist())))
    return tuple(found)


@cache
def _classifier() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean and scale of the features, weights (D, M) and biases (M,) for the materials and "no impact", and the mean
    delay in seconds of a found onset after the blow."""
    rng = np.random.default_rng(0)
    features, labels, delays = [], [], []
    scenes = [sample_scene(7_000_000 + i, duration=2.0) for i in range(_LISTEN)]
    sounds_BS = render_sound(scenes, samples=2 * RATE).numpy()
    for scene, sound_S in zip(scenes, sounds_BS, strict=True):
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
            if near:
                delay, materials = min(near, key=lambda item: abs(item[0] - 0.008))
                delays.append(delay)
                labels.append(MATERIALS.index(materials[int(rng.integers(len(materials)))]))
            else:
                labels.append(len(MATERIALS))
    features_ND = np.concatenate(features)
    mean_D, scale_D = features_ND.mean(0), features_ND.std(0) + 1e-3
    x = torch.from_numpy((features_ND - mean_D) / scale_D).float()
    y = torch.tensor(labels)
    weight = torch.zeros(x.shape[1], len(MATERIALS) + 1, requires_grad=True)
    bias = torch.zeros(len(MATERIALS) + 1, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weight + bias, y) + 1e-3 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    return mean_D, scale_D, weight.detach().numpy(), bias.detach().numpy(), float(np.median(delays))


# --- voice and music -------------------------------------------------------------------------------------------------

_LONG = 1024
_FINE = 72
_ROUNDS = 40


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
    magnitudes_KB = np.stack(spectra) + 1e-7
    return tuple(groups), (magnitudes_KB / magnitudes_KB.sum(1, keepdims=True)).astype(np.float32)


def amounts(sound_S: np.ndarray, centres_F: np.ndarray) -> dict[str, np.ndarray]:
    """How much of each group sounds at the given samples: sums of band magnitudes, (F,)."""
    groups, atoms_KB = _atoms()
    seen_FB = np.sqrt(_spectrum(sound_S, centres_F, _LONG, _fine_bands())) + 1e-7
    # Multiplicative updates for the Kullback-Leibler divergence; atoms have unit sum.
    amount_FK = np.full((len(seen_FB), len(atoms_KB)), 1.0 / len(atoms_KB), np.float32) * seen_FB.sum(1, keepdims=True)
    for _ in range(_ROUNDS):
        amount_FK *= (seen_FB / (amount_FK @ atoms_KB)) @ atoms_KB.T
    names = np.array(groups)
    return {group: amount_FK[:, names == group].sum(1) for group in dict.fromkeys(groups)}


# Loudness (sum of band magnitudes) from which a frame holds a voice, and share of frames that must.
_SPOKEN, _LEAST_SPEECH = 0.02, 0.12
_PLAYED, _LEAST_MUSIC = 0.02, 0.3


def hear_tones(sound_S: np.ndarray, frames: int, fps: float) -> tuple[Voice, bool]:
    """The voice, with its loudness at each video frame (frame t shows the moment t / fps), and whether music plays."""
    half = np.arange(2 * frames) / (2.0 * fps)
    amount = amounts(sound_S, np.round(half * RATE).astype(int))
    voice_F = amount["low"] + amount["high"]
    present = float((voice_F > _SPOKEN).mean()) >= _LEAST_SPEECH
    kind = ("low" if amount["low"].sum() > amount["high"].sum() else "high") if present else None
    music = float((amount["music"] > _PLAYED).mean()) >= _LEAST_MUSIC
    return Voice(present, kind, voice_F[::2]), music
