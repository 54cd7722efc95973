"""Given sounds: outside of where they are made anew, bit for bit. Legend: see tasks/sound.py."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreels.media import Clip
from openreels.tasks.sound import CROSSFADE, MEMORY, before, heard, joined, lasting, mixed, replaced, silenced

RATE = 1_000
FADE = int(CROSSFADE * RATE)
quick = settings(max_examples=40, deadline=None, derandomize=True)


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (channels, samples)).astype(np.float32)


@quick
@given(st.integers(0, 990), st.integers(1, 1_000))
def test_a_span_is_replaced_and_nothing_else(start, length):
    kept, made, end = noise(1_000), noise(1_000, seed=1), min(start + length, 1_000)
    result = replaced(kept, made, RATE, (start / RATE, (start + length) / RATE))
    assert np.array_equal(result[:, :start], kept[:, :start]) and np.array_equal(result[:, end:], kept[:, end:])
    first, last = start + FADE if start else 0, end - FADE if end < 1_000 else 1_000
    assert np.array_equal(result[:, first:last], made[:, first:last]) or first >= last


def test_levels_cross_evenly():
    result = replaced(np.zeros((1, 200), np.float32), np.ones((1, 200), np.float32), RATE, (0.05, 0.15))[0]
    assert result[49] == 0 and result[50 + FADE] == 1 and result[150] == 0
    assert np.abs(np.diff(result)).max() <= 1.01 / FADE


def test_a_continuation_crosses_at_the_very_end():
    one, two = noise(500), noise(400, seed=1)
    result = joined(one, two, overlap=100, sample_rate=RATE)
    assert result.shape == (1, 800)
    assert np.array_equal(result[:, : 500 - FADE], one[:, : 500 - FADE])
    assert np.array_equal(result[:, 500:], two[:, 100:])
    same = joined(one, np.concatenate([one[:, 400:], two[:, 100:]], axis=1), 100, RATE)
    np.testing.assert_allclose(same[:, :500], one, atol=1e-6)


def test_what_came_before_has_always_the_same_length():
    sound, length = noise(2_000), int(MEMORY * RATE)
    assert np.array_equal(before(sound, RATE, 1.5), sound[:, 1_500 - length : 1_500])
    short = before(sound, RATE, Fraction(1, 10))
    assert short.shape == (1, length) and np.array_equal(short[:, -100:], sound[:, :100])
    assert not short[:, :-100].any()


def test_a_silenced_span_leaves_no_trace():
    sound = noise(1_000)
    quiet = silenced(sound, RATE, (0.25, 0.5))
    assert not quiet[:, 250:500].any() and np.array_equal(quiet[:, 500:], sound[:, 500:]) and sound[:, 250:500].all()


@pytest.mark.parametrize(("channels", "wanted"), [(1, 1), (2, 1), (1, 2), (2, 2), (6, 2)])
def test_rates_and_channels_of_a_model(channels, wanted):
    clip = Clip(audio=noise(8_000, channels), sample_rate=8_000)
    found = heard(clip, 16_000, wanted)
    assert found.shape == (wanted, 16_000) and found.dtype == np.float32
    if channels == wanted:
        assert np.array_equal(heard(clip, 8_000, wanted), clip.audio)


def test_lengths():
    clip = Clip(audio=noise(1_000), sample_rate=RATE)
    assert np.array_equal(lasting(clip, Fraction(1)), clip.audio)
    assert lasting(clip, Fraction(3, 2)).shape == (1, 1_500) and not lasting(clip, Fraction(3, 2))[:, 1_000:].any()
    assert np.array_equal(mixed([noise(10), noise(5, seed=1)])[:, 5:], noise(10)[:, 5:])
