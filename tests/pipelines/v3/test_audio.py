"""Speech: checks, loudness, the encoder's input, the soundtrack."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from openreels.media import Clip
from openreels.media.audio import loudness
from openreels.pipelines.v3.audio import (
    SAMPLE_RATE,
    filtered_by,
    high_pass,
    official_loudness,
    official_speech,
    shelf,
    soundtrack,
    speech,
    speech_of,
)


def tone(seconds=2.0, rate=SAMPLE_RATE, level=0.1, frequency=1000.0, channels=1) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([level * np.sin(2 * np.pi * (frequency + 200 * c) * time) for c in range(channels)]).astype(
        np.float32
    )


def test_filters_equal_the_written_out_recursion():
    rng = np.random.default_rng(0)
    signal, biquads = rng.normal(size=4000), (shelf(4.0, 1500.0, SAMPLE_RATE), high_pass(38.0, 0.5, SAMPLE_RATE))
    expected = signal
    for zeros, poles in biquads:
        out, x, y = [], [0.0, 0.0], [0.0, 0.0]
        for value in expected:
            new = (zeros[0] * value + zeros[1] * x[0] + zeros[2] * x[1] - poles[1] * y[0] - poles[2] * y[1]) / poles[0]
            x, y = [value, x[0]], [new, y[0]]
            out.append(new)
        expected = np.array(out)
    np.testing.assert_allclose(filtered_by(signal, *biquads), expected, atol=1e-9)


@pytest.mark.parametrize("frequency", [100, 500, 1000, 3000])
def test_both_meters_agree_closely(frequency):
    # 0 dBFS sine at 997 Hz is -3.01 LUFS by the standard.
    signal = tone(3.0, frequency=frequency)
    assert official_loudness(signal[0], SAMPLE_RATE) == pytest.approx(loudness(signal, SAMPLE_RATE), abs=0.15)


def test_loudness_of_a_known_tone_and_of_pauses():
    full = tone(3.0, level=1.0, frequency=997.0)
    assert official_loudness(full[0], SAMPLE_RATE) == pytest.approx(-3.01, abs=0.1)
    with_pause = np.concatenate([full, np.zeros((1, 5 * SAMPLE_RATE), np.float32)], axis=1)
    assert official_loudness(with_pause[0], SAMPLE_RATE) == pytest.approx(-3.01, abs=0.8)  # the gate skips the pause
    assert official_loudness(np.zeros(SAMPLE_RATE), SAMPLE_RATE) == float("-inf")
    assert np.isfinite(official_loudness(full[0, :6400], SAMPLE_RATE))  # exactly one block


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_becomes_16_khz_mono_at_minus_23(rate, channels):
    given = speech_of(tone(1.3, rate, 0.02, channels=channels), rate)
    ours = speech(given, given.seconds)
    theirs = official_speech(given)
    assert ours.ndim == theirs.ndim == 1 and ours.dtype == np.float32
    assert abs(len(ours) - 1.3 * SAMPLE_RATE) <= 1 and abs(len(theirs) - 1.3 * SAMPLE_RATE) <= 1
    assert loudness(ours[None], SAMPLE_RATE) == pytest.approx(-23, abs=0.05)
    assert official_loudness(theirs, SAMPLE_RATE) == pytest.approx(-23, abs=0.05)


def test_silence_keeps_its_level():
    given = speech_of(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    assert not speech(given, given.seconds).any() and not official_speech(given).any()


def test_a_later_start_is_silence_before():
    given = speech_of(tone(1.0), SAMPLE_RATE, start=0.5)
    signal = speech(given, Fraction(2))
    assert len(signal) == 2 * SAMPLE_RATE
    assert not signal[:8000].any() and signal[8000:24000].any() and not signal[24000:].any()


def test_the_soundtrack_is_the_original():
    stereo = tone(1.0, 44_100, channels=2)
    mixed, rate = soundtrack([speech_of(stereo, 44_100)], Fraction(1))
    assert rate == 44_100 and np.array_equal(mixed, stereo)


def test_several_voices_are_summed_at_the_highest_rate():
    one, two = speech_of(tone(1.0, 44_100, channels=2), 44_100), speech_of(tone(0.5, 16_000), 16_000, start=1.0)
    mixed, rate = soundtrack([one, two], Fraction(8, 5))
    assert rate == 44_100 and mixed.shape == (2, 70_560)
    np.testing.assert_array_equal(mixed[:, :44_100], one.sound)
    assert np.array_equal(mixed[0, 44_100:], mixed[1, 44_100:]) and mixed[0, 44_100:66_150].any()


def test_clips_are_accepted():
    clip = Clip(audio=tone(1.0, 22_050), sample_rate=22_050)
    assert speech_of(clip, None).sample_rate == 22_050
    assert speech_of(torch.zeros(16_000), 16_000).sound.shape == (1, 16_000)


@pytest.mark.parametrize(
    ("given", "rate", "start", "sentence"),
    [
        (np.zeros(6_399), 16_000, 0, "at least 0.4 s"),
        (np.zeros(201 * 100), 100, 0, "end by 200 s"),
        (np.zeros(100 * 100), 100, 101, "end by 200 s"),
        (np.zeros(16_000), None, 0, "audio_sample_rate"),
        (np.zeros(16_000), 16_000, -1, "before the video"),
        (np.full(16_000, np.nan), 16_000, 0, "finite"),
        (Clip(np.zeros((1, 2, 2, 3), np.uint8), 1), None, 0, "silent"),
    ],
)
def test_bad_speech(given, rate, start, sentence):
    with pytest.raises(ValueError, match=f"voice.*{sentence}"):
        speech_of(given, rate, start, "voice")
