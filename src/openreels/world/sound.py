"""What a scene sounds like: impacts, rubbing, air, speech, singing, a music box, the weather, the quiet of the place.

Every sound is added from templates made once per process, scene by scene in numpy, so a clip's samples cannot depend on
its batch. Legend: B scenes  S samples. Samples are in [-0.9, 0.9], mono, float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import pi

import numpy as np
import torch
from torch import Tensor

from openreels.world.motion import RISE, SUNG_FALL, SUNG_RISE, contacts, evaluate, mouth, pieces
from openreels.world.script import Scene, Speech, Subject, Syllable

__all__ = ["SAMPLE_RATE", "SoundEvent", "render_sound", "sound_events", "voice_envelope"]

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class SoundEvent:
    """One sound. start, end: seconds. subject: index in the scene, None for the place and the music.

    kind: "impact", "takeoff", "slide", "roll", "orbit", "speech", "singing" (one per syllable), "note", "ambience".
    label: material(s), vowel, mood, background or weather.
    """

    start: float
    end: float
    kind: str
    subject: int | None
    label: str


# --- templates -------------------------------------------------------------------------------------------------------


def _noise(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count)


def _band(noise: np.ndarray, low: float, high: float, rate: int) -> np.ndarray:
    """Noise between two frequencies (Hz), unit root mean square, without a seam when repeated."""
    spectrum = np.fft.rfft(noise)
    frequency = np.fft.rfftfreq(len(noise), 1.0 / rate)
    # Soft edges: a brick wall rings.
    gain = 1.0 / (1.0 + (low / np.maximum(frequency, 1.0)) ** 6) / (1.0 + (frequency / high) ** 6)
    out = np.fft.irfft(spectrum * gain, len(noise))
    return out / np.sqrt(np.mean(out * out))


# Lowest frequency; modes (relative frequency, decay in seconds, loudness); click (low Hz, high Hz, loudness, decay).
_MODES = {
    "rubber": (150.0, ((1.0, 0.075, 1.0), (1.55, 0.05, 0.45), (2.3, 0.03, 0.15)), (150, 900, 0.35, 0.012)),
    "wood": (
        430.0,
        ((1.0, 0.05, 0.9), (2.45, 0.035, 0.6), (3.9, 0.022, 0.35), (5.6, 0.015, 0.2)),
        (700, 3500, 0.5, 0.008),
    ),
    "metal": (
        620.0,
        ((1.0, 0.42, 0.55), (2.32, 0.34, 0.6), (3.85, 0.26, 0.45), (5.41, 0.18, 0.3), (7.6, 0.11, 0.18)),
        (2000, 6500, 0.3, 0.006),
    ),
    "glass": (
        1900.0,
        ((1.0, 0.16, 0.8), (1.63, 0.13, 0.5), (2.41, 0.09, 0.4), (3.3, 0.06, 0.2)),
        (3500, 7600, 0.4, 0.005),
    ),
}


@cache
def _impact(material: str, tone: int, large: bool, rate: int) -> np.ndarray:
    """A hit of this material; tone 0..7 shifts it within about three semitones, large things sound lower."""
    base, modes, (low, high, click_gain, click_decay) = _MODES[material]
    base *= 2.0 ** ((tone - 3.5) * 0.4 / 12.0) * (0.84 if large else 1.12)
    length = int(rate * min(6.0 * max(decay for _, decay, _ in modes), 1.4))
    time = np.arange(length) / rate
    out = np.zeros(length)
    for index, (ratio, decay, gain) in enumerate(modes):
        if base * ratio < 0.47 * rate:
            out += gain * np.exp(-time / decay) * np.sin(2.0 * pi * base * ratio * time + 0.7 * index)
    click = _band(_noise(11 + tone, 4096), low, min(high, 0.47 * rate), rate)[: min(length, 4096)]
    out[: len(click)] += click_gain * click * np.exp(-time[: len(click)] / click_decay)
    if material == "rubber":  # the thud drops in pitch as the ball springs back
        out += 0.8 * np.exp(-time / 0.06) * np.sin(2.0 * pi * base * 0.8 * (time + 0.04 * np.exp(-time / 0.03)))
    ramp = max(int(0.0012 * rate), 1)
    out[:ramp] *= np.arange(ramp) / ramp
    fade = int(0.03 * rate)
    out[-fade:] *= np.linspace(1.0, 0.0, fade)
    # Equal energy of the first 60 ms, so that no material is easier to hear.
    return (out * 0.17 / np.sqrt(np.mean(out[: int(0.06 * rate)] ** 2))).astype(np.float32)


@cache
def _swish(rate: int) -> np.ndarray:
    length = int(0.13 * rate)
    time = np.arange(length) / length
    sound = _band(_noise(5, 4096), 900, 3200, rate)[:length] * np.sin(pi * time) ** 2
    return (0.05 * sound).astype(np.float32)


@cache
def _loop(kind: str, rate: int) -> np.ndarray:
    """Four seconds of endless noise: "slide", "roll", "orbit"."""
    low, high = {"slide": (1400, 5200), "roll": (60, 340), "orbit": (260, 1000)}[kind]
    return _band(_noise({"slide": 1, "roll": 2, "orbit": 3}[kind], 4 * rate), low, min(high, 0.45 * rate), rate).astype(
        np.float32
    )


# Formants of the vowels (Hz) with bandwidths; the low voice has a longer throat.
_FORMANTS = {"aa": (760, 1220, 2600), "oo": (340, 760, 2300), "ee": (290, 2250, 3050)}
_THROAT = {"low": 0.93, "high": 1.13}
_PITCH = {"low": (96.0, 112.0, 130.0), "high": (205.0, 232.0, 262.0)}


@cache
def _vowel(voice: str, pitch: int, vowel: str, rate: int) -> np.ndarray:
    """Half a second of a sung-like vowel with a falling pitch, unit root mean square."""
    length = int(0.6 * rate)
    time = np.arange(length) / rate
    fundamental = _PITCH[voice][pitch]
    # Falls by a tenth, with the slight unsteadiness of a voice.
    phase = 2.0 * pi * fundamental * (1.04 * time - 0.10 * time * time) + 0.12 * np.sin(2.0 * pi * 5.3 * time)
    return _voiced(fundamental, phase, _THROAT[voice], vowel, rate)


SUNG_SECONDS = 1.6  # the longest sung syllable


@cache
def _sung_vowel(voice: str, pitch: int, note: int, vowel: str, rate: int) -> np.ndarray:
    """A vowel held on a MIDI note, unit root mean square. The three singers of a voice differ in their throats."""
    time = np.arange(int(SUNG_SECONDS * rate)) / rate
    fundamental = _frequency(note)
    # A vibrato of a tenth of a semitone that comes in once the note stands.
    depth = 0.006 * fundamental / 5.5 * np.clip(time / 0.25 - 0.6, 0.0, 1.0)
    phase = 2.0 * pi * fundamental * time + depth * np.sin(2.0 * pi * 5.5 * time)
    return _voiced(fundamental, phase, _THROAT[voice] * (1.0 + 0.12 * (pitch - 1)), vowel, rate)


def _voiced(fundamental: float, phase: np.ndarray, scale: float, vowel: str, rate: int) -> np.ndarray:
    """Harmonics of a phase (radians per sample), as loud as the vowel's formants, which `scale` shifts, have them."""
    length = len(phase)
    out = np.zeros(length)
    harmonic = 1
    while harmonic * fundamental * 1.05 < min(4200.0, 0.45 * rate):
        frequency = harmonic * fundamental
        gain = 0.0
        for formant, width, level in zip(_FORMANTS[vowel], (90.0, 120.0, 190.0), (1.0, 0.6, 0.3), strict=True):
            offset = (frequency - formant * scale) / width
            gain += level / (1.0 + offset * offset)
        gain = (gain + 0.012) / harmonic**0.35
        out += gain * np.sin(harmonic * phase + 0.9 * harmonic * harmonic)
        harmonic += 1
    out += 0.02 * _band(_noise(21, length), 1500, 5000, rate) * np.abs(out).mean()
    return (out / np.sqrt(np.mean(out * out))).astype(np.float32)


@cache
def _envelope(length: int, sung: bool) -> np.ndarray:
    """The mouth's opening over a syllable (see `motion.syllable_envelope`), as loudness."""
    if sung:
        phase = (np.arange(length, dtype=np.float32) + 0.5) / length
        opening = np.minimum(np.minimum(phase / SUNG_RISE, (1.0 - phase) / SUNG_FALL), 1.0)
        return (0.5 - 0.5 * np.cos(pi * opening)).astype(np.float32)
    phase = (np.arange(length) + 0.5) / length
    rising = 0.5 - 0.5 * np.cos(pi * phase / RISE)
    falling = 0.5 + 0.5 * np.cos(pi * (phase - RISE) / (1.0 - RISE))
    return np.where(phase < RISE, rising, falling).astype(np.float32)


def _frequency(note: int) -> float:
    """Hz of a MIDI note."""
    return 440.0 * 2.0 ** ((note - 69) / 12.0)


@cache
def _box_note(pitch: int, rate: int) -> np.ndarray:
    """A tooth of a music box."""
    frequency = _frequency(pitch)
    length = int(1.1 * rate)
    time = np.arange(length) / rate
    out = np.zeros(length)
    for ratio, gain, decay in ((1.0, 1.0, 0.45), (2.0, 0.25, 0.25), (3.0, 0.10, 0.15), (6.27, 0.06, 0.03)):
        if frequency * ratio < 0.47 * rate:
            out += gain * np.exp(-time / decay) * np.sin(2.0 * pi * frequency * ratio * time)
    ramp, fade = int(0.002 * rate), int(0.05 * rate)
    out[:ramp] *= np.arange(ramp) / ramp
    out[-fade:] *= np.linspace(1.0, 0.0, fade)
    return (0.11 * out).astype(np.float32)


_AMBIENCE_SECONDS = 8


@cache
def _ambience(background: str, night: bool, rate: int) -> np.ndarray:
    """Eight seconds that repeat without a seam. Quiet: about -40 dB, so that events stay clear."""
    length = _AMBIENCE_SECONDS * rate
    time = np.arange(length) / rate
    seed = 100 + 2 * ("meadow", "beach", "city", "room", "snow", "desert").index(background) + night
    rng = np.random.default_rng(seed)

    def slow(cycles: int, depth: float, phase: float = 0.0) -> np.ndarray:
        return 1.0 - depth * 0.5 + depth * 0.5 * np.sin(2.0 * pi * cycles * time / _AMBIENCE_SECONDS + phase)

    def noise(low: float, high: float) -> np.ndarray:
        return _band(rng.standard_normal(length), low, min(high, 0.45 * rate), rate)

    def add(out: np.ndarray, at: float, sound: np.ndarray) -> None:
        index = (int(at * rate) + np.arange(len(sound))) % length
        out[index] += sound

    def chirp(first: float, last: float, seconds: float) -> np.ndarray:
        t = np.arange(int(seconds * rate)) / rate
        sweep = first * t + (last - first) * t * t / (2.0 * seconds)
        return np.sin(2.0 * pi * sweep) * np.sin(pi * t / seconds) ** 2

    if background == "meadow":
        out = 0.004 * noise(300, 1500) * slow(2, 0.5)
        if night:  # crickets: trills of a high tone
            trill = np.clip(np.sin(2.0 * pi * 22.0 * time), 0.0, 1.0) * np.clip(
                4.0 * np.sin(2.0 * pi * 1.5 * time), 0.0, 1.0
            )
            out += 0.012 * np.sin(2.0 * pi * 4200.0 * time) * trill
        else:  # birds
            for at in np.arange(0.2, 7.6, 0.55):
                first = rng.uniform(2600, 3600)
                for k in range(int(rng.integers(2, 4))):
                    add(out, at + 0.12 * k, 0.022 * chirp(first, first * rng.uniform(1.1, 1.4), 0.08))
    elif background == "beach":
        swell = 0.5 + 0.5 * np.sin(2.0 * pi * 3 * time / _AMBIENCE_SECONDS - 0.6 * np.sin(2 * pi * 3 * time / 8))
        out = 0.018 * noise(250, 2200) * (0.25 + swell**2) + 0.005 * noise(2500, 6000) * swell**3
    elif background == "city":
        hum = sum(np.sin(2.0 * pi * f * time + p) for f, p in ((60.0, 0.0), (90.0, 1.0), (121.0, 2.0)))
        out = (0.010 if night else 0.014) * noise(50, 220) * slow(3, 0.5) + 0.004 * hum + 0.003 * noise(300, 1200)
    elif background == "room":  # a clock
        out = 0.0012 * noise(200, 2000)
        for k in range(16):
            t = np.arange(int(0.03 * rate)) / rate
            tick = (
                np.exp(-t / 0.004) * np.sin(2.0 * pi * (2300.0 if k % 2 else 1800.0) * t) * np.minimum(t / 0.0006, 1.0)
            )
            add(out, 0.5 * k + 0.1, 0.05 * tick)
    elif background == "snow":  # wind that sighs
        out = 0.014 * (noise(500, 900) * slow(2, 0.9) + 0.6 * noise(900, 1300) * slow(3, 0.9, 2.0))
    else:  # desert: a dry hiss, cicadas by day
        out = 0.006 * noise(120, 420) * slow(2, 0.7)
        if night:
            pulse = np.clip(np.sin(2.0 * pi * 9.0 * time), 0.0, 1.0) ** 2
            out += 0.009 * np.sin(2.0 * pi * 3100.0 * time) * pulse * np.clip(3.0 * np.sin(2.0 * pi * 1.0 * time), 0, 1)
        else:
            out += 0.007 * noise(4800, 6400) * (0.6 + 0.4 * np.sin(2.0 * pi * 45.0 * time)) * slow(3, 0.6)
    return out.astype(np.float32)


@cache
def _fallen(weather: str, rate: int) -> np.ndarray:
    """Eight seconds of rain (a hiss, and drops that patter near by) or falling snow (a hush), without a seam."""
    length = _AMBIENCE_SECONDS * rate
    rng = np.random.default_rng({"rain": 201, "snowfall": 202}[weather])
    swell = np.sin(2.0 * pi * 2.0 * np.arange(length) / length)
    if weather == "snowfall":
        hush = _band(rng.standard_normal(length), 180, 620, rate) * (0.7 + 0.3 * swell)
        return (0.010 * hush + 0.0015 * _band(rng.standard_normal(length), 5000, 7000, rate)).astype(np.float32)
    out = 0.024 * _band(rng.standard_normal(length), 900, min(6000, 0.45 * rate), rate) * (0.9 + 0.1 * swell)
    time = np.arange(int(0.02 * rate)) / rate
    for at in rng.integers(0, length, 22 * _AMBIENCE_SECONDS):
        drop = np.exp(-time / 0.004) * np.sin(2.0 * pi * rng.uniform(1300, 3200) * time)
        out[(at + np.arange(len(drop))) % length] += rng.uniform(0.03, 0.09) * drop
    return out.astype(np.float32)


_UNDER_WEATHER = {"rain": 0.6, "snowfall": 0.35}  # what is left of the place's own sounds

# --- one scene -------------------------------------------------------------------------------------------------------


def _add(out: np.ndarray, start: float, sound: np.ndarray, gain: float, rate: int) -> None:
    """Mix in a template whose first sample sounds at `start` seconds; what lies outside is cut."""
    first = round(start * rate)
    begin, end = max(first, 0), min(first + len(sound), len(out))
    if end > begin:
        out[begin:end] += sound[begin - first : end - first] * np.float32(gain)


def _cyclic(loop: np.ndarray, offset: int, count: int) -> np.ndarray:
    """`count` samples of an endless loop."""
    offset %= len(loop)
    if offset + count <= len(loop):
        return loop[offset : offset + count]
    return np.resize(np.roll(loop, -offset), count)


_CONTROL = 100  # control points per second of the loudness of continuous sounds


def _continuous(scene: Scene, index: int, subject: Subject, out: np.ndarray, rate: int) -> None:
    kind = {"collide": "slide"}.get(subject.motion.kind, subject.motion.kind)
    motion = subject.motion
    seconds = len(out) / rate
    if kind == "orbit":
        begin, end = 0.0, seconds
    else:
        begin = 0.0 if motion.kind == "collide" else motion.start
        end = min(motion.start + motion.period, seconds)
    if end <= begin:
        return
    times = np.arange(begin, end + 1.0 / _CONTROL, 1.0 / _CONTROL)
    path = pieces(scene, subject)[0]
    angle, speed = (value[0] for value in evaluate([path], times)[2:])
    if kind == "orbit":
        # The air sounds louder on one side of the circle: once per turn, when it comes by in front (at the bottom).
        m = motion
        turned = m.phase + 2.0 * pi / m.period * (1.0 if m.distance > 0 else -1.0) * times
        level = 0.05 * (0.12 + 0.88 * (0.5 + 0.5 * np.sin(turned)) ** 2)
    elif kind == "roll":
        level = 0.085 * np.minimum(np.abs(speed) / 1.0, 1.2) ** 0.7 * (0.55 + 0.45 * np.cos(angle))
    else:
        level = 0.032 * np.minimum(np.abs(speed) / 1.0, 1.2) ** 0.7 * (0.5 if motion.kind == "collide" else 1.0)
    first, last = round(begin * rate), min(round(end * rate), len(out))
    count = last - first
    # Linear between control points; short ramps where the motion starts and ends abruptly.
    gain = np.interp(np.arange(count, dtype=np.float32), (times - begin) * rate, level).astype(np.float32)
    ramp = min(int(0.01 * rate), count // 2)
    if ramp and kind != "orbit":
        gain[:ramp] *= np.arange(ramp, dtype=np.float32) / np.float32(ramp)
        gain[-ramp:] *= np.arange(ramp, 0, -1, dtype=np.float32) / np.float32(ramp)
    out[first:last] += _cyclic(_loop(kind, rate), (scene.seed * 977 + index * 31) * 97, count) * gain


_VOWEL_STEP = 64  # lengths of syllables are rounded to this many samples (4 ms), so that envelopes are shared


def _syllable(speech: Speech, syllable: Syllable, rate: int) -> np.ndarray:
    if syllable.note is None:
        return _vowel(speech.voice, speech.pitch, syllable.vowel, rate)
    return _sung_vowel(speech.voice, speech.pitch, syllable.note, syllable.vowel, rate)


def _speak(speech: Speech, out: np.ndarray, rate: int) -> None:
    for syllable in speech.syllables:
        sound = _syllable(speech, syllable, rate)
        length = min(max(round(syllable.duration * rate / _VOWEL_STEP), 1) * _VOWEL_STEP, len(sound))
        _add(
            out,
            syllable.start,
            sound[:length] * _envelope(length, syllable.note is not None),
            0.16 * syllable.loudness,
            rate,
        )


def _surroundings(scene: Scene, samples: int, rate: int) -> np.ndarray:
    """The quiet of the place and its weather."""
    if "ambience" in scene.muted:
        return np.zeros(samples, dtype=np.float32)
    offset = scene.variant * rate * _AMBIENCE_SECONDS // 256
    out = _cyclic(_ambience(scene.background, scene.night, rate), offset, samples).copy()
    if scene.weather != "clear":
        out *= np.float32(_UNDER_WEATHER[scene.weather])
        out += _cyclic(_fallen(scene.weather, rate), offset, samples)
    return out


def _scene_sound(scene: Scene, samples: int, rate: int) -> np.ndarray:
    out = _surroundings(scene, samples, rate)
    for index, subject in enumerate(scene.subjects):
        if "effects" not in scene.muted and subject.motion.kind in ("slide", "roll", "orbit", "collide"):
            _continuous(scene, index, subject, out, rate)
        if "speech" not in scene.muted and subject.speech is not None:
            _speak(subject.speech, out, rate)
    for contact in contacts(scene, takeoffs=True) if "effects" not in scene.muted else ():
        if contact.kind == "takeoff":
            _add(out, contact.time - 0.02, _swish(rate), 1.0, rate)
            continue
        for slot, material in zip(contact.subjects, contact.materials, strict=True):
            subject = scene.subjects[slot]
            sound = _impact(material, subject.tone, subject.size == "large", rate)
            _add(out, contact.time, sound, (0.35 + 0.65 * contact.strength) / len(contact.subjects) ** 0.5, rate)
    if scene.melody is not None and "music" not in scene.muted:
        for note in scene.melody.notes:
            _add(out, note.start, _box_note(note.pitch, rate), note.loudness, rate)
    # Above 0.6 the level bends smoothly towards 0.9. Sample by sample, so any window of a clip sounds the same.
    loud = np.abs(out) > 0.6
    if loud.any():
        out[loud] = np.sign(out[loud]) * (0.6 + 0.2999 * np.tanh((np.abs(out[loud]) - 0.6) / 0.3))
    return out


def render_sound(
    scenes: Sequence[Scene],
    *,
    samples: int,
    sample_rate: int = SAMPLE_RATE,
    start: float = 0.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Sound of the scenes from `start` seconds on, float32 (B, samples) in [-0.9, 0.9]."""
    first = round(start * sample_rate)
    result = np.empty((len(scenes), samples), dtype=np.float32)
    for row, scene in enumerate(scenes):
        result[row] = _scene_sound(scene, first + samples, sample_rate)[first:]
    return torch.from_numpy(result).to(device)


def voice_envelope(speech: Speech | None, times_T: Sequence[float]) -> list[float]:
    """Loudness 0..1 of a voice at the given times (seconds): what the mouth's opening follows."""
    return mouth(speech, times_T)[0]


# Which of `SOUNDS` an event belongs to.
_PART = {"speech": "speech", "singing": "speech", "note": "music", "ambience": "ambience"}
_PART |= dict.fromkeys(("impact", "takeoff", "slide", "roll", "orbit"), "effects")


def sound_events(scene: Scene) -> list[SoundEvent]:
    """Everything to be heard up to the scene's end, in order of time. Impacts end when they have died away."""
    places = (scene.background,) if scene.weather == "clear" else (scene.background, scene.weather)
    events = [SoundEvent(0.0, scene.duration, "ambience", None, place) for place in places]
    for contact in contacts(scene, takeoffs=True):
        kind = "takeoff" if contact.kind == "takeoff" else "impact"
        length = 0.13 if kind == "takeoff" else 0.1
        for slot, material in zip(contact.subjects, contact.materials, strict=True):
            events.append(SoundEvent(contact.time, contact.time + length, kind, slot, material))
    for index, subject in enumerate(scene.subjects):
        motion = subject.motion
        if motion.kind in ("slide", "roll"):
            end = min(motion.start + motion.period, scene.duration)
            events.append(SoundEvent(motion.start, end, motion.kind, index, subject.material or ""))
        elif motion.kind == "orbit":
            events.append(SoundEvent(0.0, scene.duration, "orbit", index, subject.material or ""))
        for syllable in subject.speech.syllables if subject.speech else ():
            kind = "speech" if syllable.note is None else "singing"
            end = syllable.start + syllable.duration
            events.append(SoundEvent(syllable.start, end, kind, index, syllable.vowel))
    if scene.melody is not None:
        mood = scene.melody.mood
        events += [SoundEvent(note.start, note.start + 0.4, "note", None, mood) for note in scene.melody.notes]
    heard = [event for event in events if event.start < scene.duration and _PART[event.kind] not in scene.muted]
    return sorted(heard, key=lambda event: event.start)
