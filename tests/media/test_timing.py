from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreels.media.timing import (
    audio_tokens,
    decoded_frames,
    exact,
    frames_for,
    latent_frames,
    nearest_frames,
    padded_frames,
    samples_for,
    seconds_for,
    tidy_rate,
)

RATES = st.sampled_from([*map(Fraction, (8, 16, 24, 25, 30, 32, 60)), Fraction(24000, 1001), Fraction(30000, 1001)])
COUNTS = st.integers(1, 5000)


def test_the_papers_example():
    assert seconds_for(81, 16) == Fraction("5.0625")
    assert latent_frames(81) == 21
    tokens = audio_tokens(samples_for(81, 16, 44_100), 1_024)
    assert tokens == 218


def test_the_pocket_example():
    assert samples_for(17, 16, 16_000) == 17_000
    assert audio_tokens(17_000, 1_000) == 17


def test_a_float_means_its_decimals():
    assert exact(0.1) == Fraction(1, 10)
    assert exact("30000/1001") == Fraction(30000, 1001)
    assert frames_for(0.3, 10) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_time_is_not_finite(value):
    with pytest.raises(ValueError):
        exact(value)


@given(COUNTS, RATES)
def test_frames_survive_seconds(frames, fps):
    assert frames_for(seconds_for(frames, fps), fps) == frames


@given(COUNTS, st.integers(1, 8))
def test_padding_is_the_least_that_holds_the_frames(frames, factor):
    padded = padded_frames(frames, factor)
    assert 0 <= padded - frames < factor
    assert padded % factor == 1 % factor
    assert latent_frames(padded, factor) == latent_frames(frames, factor)
    assert decoded_frames(latent_frames(frames, factor), factor) == padded


@given(COUNTS, RATES, st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]))
def test_sound_is_as_long_as_the_picture(frames, fps, sample_rate):
    assert abs(Fraction(samples_for(frames, fps, sample_rate), sample_rate) - frames / fps) <= Fraction(
        1, 2 * sample_rate
    )


@given(st.integers(1, 10**7), st.integers(1, 4096))
def test_tokens_are_off_by_half_a_token_at_most(samples, per_token):
    tokens = audio_tokens(samples, per_token)
    assert tokens >= 1
    assert tokens == 1 or abs(tokens * per_token - samples) * 2 <= per_token


@pytest.mark.parametrize(
    ("measured", "meant"),
    [
        (Fraction("29.9697"), Fraction(30000, 1001)),
        (Fraction("23.98"), Fraction(24000, 1001)),
        (Fraction("24.003"), Fraction(24)),
        (Fraction("16.0039"), Fraction(16)),
        (Fraction(25, 2), Fraction(25, 2)),
        (Fraction(1, 2), Fraction(1, 2)),
    ],
)
def test_tidy_rate(measured, meant):
    assert tidy_rate(measured) == meant


@given(st.integers(1, 300), RATES, st.booleans())
def test_a_constant_rate_is_left_alone(frames, fps, in_milliseconds):
    times = [Fraction(round(1000 * i / fps), 1000) if in_milliseconds else i / fps for i in range(frames + 1)]
    *times, end = times
    assert nearest_frames(times, end, fps) == list(range(frames))


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), RATES)
def test_each_tick_shows_the_frame_nearest_in_time(gaps, fps):
    times = [Fraction(sum(gaps[:i]), 1000) for i in range(len(gaps))]
    end = Fraction(sum(gaps), 1000)
    picks = nearest_frames(times, end, fps)
    assert abs(len(picks) / fps - end) <= 1 / (2 * fps) or len(picks) == 1
    assert all(a <= b for a, b in pairwise(picks))
    for tick, pick in enumerate(picks):
        assert abs(times[pick] - tick / fps) == min(abs(time - tick / fps) for time in times)


def test_no_frames_no_ticks():
    with pytest.raises(ValueError, match="at least one"):
        nearest_frames([], Fraction(1), Fraction(16))
