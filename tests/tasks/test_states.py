"""Building states: where every token stands, and that nothing is given yet. Legend: see tasks/states.py."""

from fractions import Fraction

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from openreels.tasks.states import audio_positions, audio_state, video_positions, video_state
from openreels.types import AudioShape, VideoShape

quick = settings(max_examples=40, deadline=None, derandomize=True)
small = st.integers(1, 6)


def video_shape(frames: int, height: int, width: int, channels: int = 3) -> VideoShape:
    return VideoShape(4 * frames - 3, 16 * height, 16 * width, Fraction(16), frames, height, width, channels)


@quick
@given(small, small, small)
def test_video_positions_count_frames_then_rows_then_columns(frames, height, width):
    positions = video_positions(video_shape(frames, height, width))
    assert positions.shape == (frames * height * width, 3) and positions.dtype == torch.float32
    grid = positions.reshape(frames, height, width, 3)
    for axis in range(3):
        index = torch.arange(grid.shape[axis]).reshape([-1 if i == axis else 1 for i in range(3)])
        assert (grid[..., axis] == index).all()


@quick
@given(st.integers(1, 400), st.integers(1, 60))
def test_audio_positions_are_even_steps_over_the_whole_timeline(tokens, frames):
    positions = audio_positions(tokens, frames)
    assert positions.shape == (tokens, 1) and float(positions[0]) == 0
    assert_close(positions[:, 0], torch.linspace(0, frames, tokens + 1)[:-1], atol=1e-4, rtol=1e-4)


@quick
@given(small, small, small, st.integers(1, 4))
def test_a_new_video_state_holds_nothing_yet(frames, height, width, batch):
    shape = video_shape(frames, height, width)
    state = video_state(shape, batch)
    assert state.noisy_BNC.shape == state.given_BNC.shape == (batch, shape.tokens, 3)
    assert state.mask_BN1.shape == (batch, shape.tokens, 1) and not state.mask_BN1.any()
    assert state.time_B.tolist() == [0.0] * batch
    assert state.references == 0 and state.reference_positions_RP.shape == (0, 3)
    assert torch.equal(state.positions_NP, video_positions(shape))


def test_the_audio_timeline_is_the_same_with_or_without_a_picture():
    state = audio_state(AudioShape(9_000, 16_000, tokens=9, latent_channels=4), latent_frames=3, batch=2)
    assert state.noisy_BNC.shape == (2, 9, 4)
    assert torch.equal(state.positions_NP, audio_positions(9, 3))
    assert state.reference_positions_RP.shape == (0, 1)
