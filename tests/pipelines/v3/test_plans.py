"""How long videos are cut into passes. The official plan is pinned by what the official code was measured to do."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreels.pipelines.v3.plans import (
    AVATAR_FRAMES,
    PREFIX_FRAMES,
    ROLL_LATENTS,
    Segments,
    context_frames,
    drawn_frames,
    even_rolls,
    frames_to_draw,
    key_frame_positions,
    latents_of,
    official_rolls,
    prefix_picks,
    shot_seconds,
    spread,
    turned_tail,
)

# Seconds asked for -> new latents of each pass, by the official code (shared/goldens/v3/parity_report.json,
# pipelines.single_shot_plan; commit 28c771e).
OFFICIAL = {
    1: [9],
    2: [17],
    3: [25],
    4: [25],
    5: [33],
    6: [33, 9],
    7: [33, 9],
    8: [33, 17],
    9: [33, 25],
    10: [33, 33],
    11: [33, 33, 1],
    12: [33, 33, 9],
    13: [33, 33, 17],
    14: [33, 33, 25],
    15: [33, 33, 25],
    16: [33, 33, 25, 9],
    17: [33, 33, 25, 17],
    18: [33, 33, 25, 17],
    19: [33, 33, 25, 25],
    20: [33, 33, 25, 33],
    21: [33, 33, 25, 33, 9],
    22: [33, 33, 25, 33, 9],
    23: [33, 33, 25, 33, 17],
    24: [33, 33, 25, 33, 25],
    25: [33, 33, 25, 33, 33],
    26: [33, 33, 25, 33, 33, 1],
    27: [33, 33, 25, 33, 33, 9],
    28: [33, 33, 25, 33, 33, 17],
    29: [33, 33, 25, 33, 33, 17],
    30: [33, 33, 25, 33, 33, 25],
    31: [33, 33, 25, 33, 33, 25, 9],
}
quick = settings(max_examples=40, deadline=None, derandomize=True)
RATES = st.sampled_from([Fraction(10), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60)])


@pytest.mark.parametrize(("seconds", "latents"), OFFICIAL.items())
def test_official_rolls(seconds, latents):
    assert official_rolls(seconds) == latents


@quick
@given(st.integers(1, 300))
def test_official_passes_divide_by_eight_with_their_prefix(seconds):
    rolls = official_rolls(seconds)
    assert all((latents + latents_of(PREFIX_FRAMES)) % 8 == 0 for latents in rolls)
    assert len(rolls) == -(-seconds // 5)


@pytest.mark.parametrize("seconds", [0, -1, 2.5])
def test_official_mode_takes_whole_seconds(seconds):
    with pytest.raises(ValueError, match="whole number of seconds"):
        official_rolls(seconds)


@quick
@given(st.integers(1, 10_000))
def test_even_rolls_cover_the_frames_and_waste_less_than_a_latent(frames):
    rolls = even_rolls(frames)
    assert 0 <= 4 * sum(rolls) - frames < 4
    assert max(rolls) <= ROLL_LATENTS and max(rolls) - min(rolls) <= 1
    assert len(rolls) == -(-sum(rolls) // ROLL_LATENTS) and sorted(rolls, reverse=True) == rolls


def test_thirty_seconds_are_six_equal_passes():
    assert even_rolls(30 * 24) == [30] * 6


@quick
@given(st.integers(1, 400), RATES)
def test_a_prefix_ends_with_the_last_frame_and_runs_at_24_fps(frames, fps):
    picks = prefix_picks(frames, fps)
    assert picks[-1] == frames - 1 and picks[0] >= 0 and picks == sorted(picks)
    assert len(picks) % 4 == 1 and len(picks) <= PREFIX_FRAMES
    for back, index in enumerate(reversed(picks)):  # within half a source frame of the tick
        assert abs((frames - 1 - index) / fps - Fraction(back, 24)) <= Fraction(1, 2) / fps


@pytest.mark.parametrize(("frames", "length"), [(1, 1), (4, 1), (5, 5), (24, 21), (25, 25), (26, 25), (300, 25)])
def test_prefix_lengths_at_24_fps(frames, length):
    assert prefix_picks(frames, Fraction(24)) == list(range(frames - length, frames))


@quick
@given(st.integers(1, 300), RATES)
def test_new_frames_keep_their_speed_at_any_rate(frames, fps):
    picks = drawn_frames(frames, fps)
    assert len(picks) == frames and picks == sorted(picks)
    for tick, index in enumerate(picks):
        late = abs(Fraction(index + 1, 24) - (tick + 1) / fps)
        assert late <= Fraction(1, 48) or index == 0


@quick
@given(st.floats(0.1, 60), RATES)
def test_the_new_part_has_exactly_the_length_asked_for(seconds, fps):
    frames, draw = frames_to_draw(seconds, fps)
    assert abs(frames / float(fps) - seconds) <= 0.5 / float(fps) + 1e-9 or frames == 1
    assert drawn_frames(frames, fps)[-1] < draw <= 4 * sum(even_rolls(draw))


def test_at_24_fps_nothing_is_resampled():
    assert drawn_frames(100, Fraction(24)) == list(range(100))
    assert frames_to_draw(5, Fraction(24)) == (120, 120)


@pytest.mark.parametrize(("seconds", "drawn", "context"), [(2, 2, 9), (2.5, 3, 17), (3, 3, 17), (4, 4, 25), (5, 5, 33)])
def test_shots(seconds, drawn, context):
    assert shot_seconds(seconds) == drawn and context_frames(drawn) == context
    assert (latents_of(24 * drawn + 1) + latents_of(context)) % 8 == 0


@pytest.mark.parametrize("seconds", [0, 1.9, 5.01, 6, float("nan")])
def test_shots_last_two_to_five_seconds(seconds):
    with pytest.raises(ValueError, match="2 to 5 seconds"):
        shot_seconds(seconds)


@pytest.mark.parametrize(("frames", "expected"), [(145, [44, 80]), (273, [24, 42, 61, 80]), (81, [80]), (82, [44, 80])])
def test_official_key_frames(frames, expected):
    assert key_frame_positions(Segments(frames)) == expected


def test_the_longest_avatar_has_78_passes():
    segments = Segments(AVATAR_FRAMES)
    positions = key_frame_positions(segments)
    assert segments.count == len(positions) == 78
    assert positions[-1] == 80 and positions[0] == round(80 * 80 / 4999) and positions == sorted(positions)


WINDOWS = st.tuples(st.integers(4, 20), st.integers(0, 1), st.integers(0, 12)).map(
    lambda t: (4 * t[0] + 1, 4 * t[1] + 1, t[2])
)


@quick
@given(st.integers(1, 2000), WINDOWS)
def test_kept_frames_tile_the_video(frames, numbers):
    window, motion, drop = numbers
    if window - motion - drop < 1:
        with pytest.raises(ValueError, match="too short"):
            Segments(frames, *numbers)
        return
    segments = Segments(frames, *numbers)
    covered = []
    for index in range(segments.count):
        first, last = segments.span(index)
        begin, end = segments.kept(index)
        covered += range(first, last)[begin:end]
    assert covered == list(range(segments.padded))
    assert segments.padded >= frames
    assert segments.count == 1 or segments.padded - segments.stride < frames
    assert len(turned_tail(frames, segments.padded)) == segments.padded


@quick
@given(st.integers(82, AVATAR_FRAMES))
def test_without_a_frozen_end_the_last_key_frame_is_cut_off(frames):
    segments = Segments(frames).without_frozen_end()
    assert segments.padded - 5 >= frames


@quick
@given(st.integers(82, AVATAR_FRAMES), st.integers(1, 20))
def test_key_frames_spread_over_the_whole_sound(frames, per_chapter):
    segments = Segments(frames)
    chapters = spread(segments, per_chapter)
    assert chapters[0][0] == 0 and sum(len(ends) for _, ends in chapters) == segments.count
    sizes = [len(ends) for _, ends in chapters]
    assert max(sizes) <= per_chapter and max(sizes) - min(sizes) <= 1
    assert [start for start, _ in chapters] == [64 * sum(sizes[:k]) for k in range(len(sizes))]
    assert all(ends[-1] == 80 and ends == sorted(ends) and ends[0] > 0 for _, ends in chapters)


def test_one_chapter_is_the_official_plan():
    segments = Segments(273)
    assert spread(segments, 8) == [(0, key_frame_positions(segments))]


def test_sound_is_continued_by_its_reversed_tail():
    assert turned_tail(4, 7) == [0, 1, 2, 3, 3, 2, 1]
    assert turned_tail(2, 7) == [0, 1, 1, 0, 0, 1, 1]
