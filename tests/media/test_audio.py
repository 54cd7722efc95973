import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreels.media.audio import fit_length, loudness, peak, resample, to_mono

RATES = st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000])


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20_000), RATES, RATES, st.integers(1, 3))
def test_resampling_keeps_the_length_in_seconds(samples, old, new, channels):
    audio = np.zeros((channels, samples), np.float32)
    resampled = resample(audio, old, new)
    assert resampled.dtype == np.float32
    assert resampled.shape[0] == channels
    assert abs(resampled.shape[1] - samples * new / old) <= 0.5


def test_resampling_keeps_pitch_and_level(make, spectrum_peak):
    resampled = resample(make.tone(2, 48_000), 48_000, 16_000)
    assert spectrum_peak(resampled[0], 16_000) == pytest.approx(300, abs=1)
    assert np.abs(resampled).max() == pytest.approx(0.4, abs=0.02)


def test_lengths():
    audio = np.ones((2, 5), np.float32)
    assert fit_length(audio, 7).tolist() == [[1, 1, 1, 1, 1, 0, 0]] * 2
    assert fit_length(audio, 3).shape == (2, 3)


def test_mono_is_the_mean():
    assert to_mono(np.array([[1.0, 0], [0, 0]], np.float32)).tolist() == [[0.5, 0]]


@pytest.mark.parametrize("sample_rate", [16_000, 44_100, 48_000])
def test_loudness_of_the_standards_reference_tone(sample_rate):
    # BS.1770: 997 Hz at full scale in one channel reads -3.01.
    sine = np.sin(2 * np.pi * 997 * np.arange(4 * sample_rate) / sample_rate).astype(np.float32)[None]
    assert loudness(sine, sample_rate) == pytest.approx(-3.01, abs=0.05)
    assert loudness(sine / 10, sample_rate) == pytest.approx(-23.01, abs=0.05)
    assert peak(sine / 10) == pytest.approx(-20, abs=0.01)


def test_silence_between_sounds_does_not_count():
    second = np.sin(2 * np.pi * 997 * np.arange(48_000) / 48_000).astype(np.float32)[None]
    gapped = np.concatenate([second, np.zeros((1, 10 * 48_000), np.float32), second], axis=1)
    assert loudness(gapped, 48_000) == pytest.approx(-3.6, abs=0.7)


def test_silence_has_no_level():
    silence = np.zeros((1, 48_000), np.float32)
    assert loudness(silence, 48_000) == peak(silence) == float("-inf")
    assert loudness(silence[:, :100], 48_000) == float("-inf")
