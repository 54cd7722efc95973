"""What sketches see of what is given. Legend: see models/surroundings.py."""

from dataclasses import replace

import torch
from torch.testing import assert_close

from openreels.models.surroundings import FRAMES_APART, PLACES_APART, Surroundings, beside, pictures
from openreels.tasks.states import audio_state
from openreels.types import AudioShape

from .surrounded import clip, draw


def test_nothing_given_is_nothing_beside():
    assert not beside(clip()).any() and beside(clip()).shape == (2, 6, 3 + 3)


def test_beside_a_token_is_what_is_given_of_it_or_of_its_place_nearest_in_time():
    state = clip({0: 1.0, 4: 1.0, 3: 0.25})
    found = beside(state)
    of = lambda token, *rest: torch.cat([state.given_BNC[:, token], torch.tensor(rest).expand(2, 3)], -1)  # noqa: E731
    near, far = 1 / 8, 2 / 8
    # Place 0 is given in frames 0 and 2: frame 1 takes the former of two that are as near. Place 1 is nowhere whole.
    expected = [of(0, 1.0, 0.0, 0.0), torch.zeros(2, 6), of(0, 1.0, near, 0.0), of(3, 0.25, 0.0, 0.0)]
    expected += [of(4, 1.0, 0.0, 0.0), torch.zeros(2, 6)]
    assert_close(found, torch.stack(expected, 1))
    assert_close(beside(clip({0: 1.0}))[:, 4, 3:], torch.tensor([[1.0, far, 0.0]] * 2))


def test_beside_a_token_of_an_edited_clip_is_that_of_the_source_which_is_the_last_reference():
    state = clip(references=8)
    assert_close(beside(state)[..., :3], state.reference_BRC[:, 2:])
    assert_close(beside(state)[..., 3:], torch.tensor([0.0, 0.0, 1.0]).expand(2, 6, 3))
    assert not beside(clip(references=2)).any()
    kept = beside(clip({5: 1.0}, references=8))
    assert_close(kept[:, 5, :3], state.given_BNC[:, 5])  # what is given of it, rather


def test_a_sound_has_something_beside_itself_too_and_no_pictures():
    shape = AudioShape(samples=900, sample_rate=16_000, tokens=4, latent_channels=3)
    state = audio_state(shape, 3, 2)
    assert not beside(state).any()
    state = replace(state, reference_BRC=draw(2, 4, 3, seed=1), reference_positions_RP=state.positions_NP - 3.0)
    assert_close(beside(state)[..., :3], state.reference_BRC)
    assert Surroundings.of(state).pictures is None


# --- pictures --------------------------------------------------------------------------------------------------------

STILL = 2 * FRAMES_APART + 1


def test_where_nothing_is_given_there_is_nothing_to_look_at():
    assert pictures(clip()) is None
    assert Surroundings.of(clip()).pictures is None


def test_what_is_kept_of_a_clip_is_seen_from_everywhere():
    state = clip({0: 1.0, 3: 0.25})
    seen = pictures(state)
    assert seen.given_BP.tolist() == [[True, False, False, True, False, False]] * 2
    latents, means, marks = seen.tokens_BPK.split([3, 3, 8], -1)
    kept = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])[:, None]
    assert_close(latents, state.given_BNC * kept)
    # The mean of a frame is of what is given in it; here that is a single token of it, if any.
    assert_close(means[:, :2], state.given_BNC[:, :1].expand(-1, 2, -1))
    assert_close(means[:, 2:4], state.given_BNC[:, 3:4].expand(-1, 2, -1))
    assert not means[:, 4:].any()
    assert_close(marks[..., 0], state.mask_BN1[..., 0])
    assert seen.names_P.tolist() == [0] * 6
    assert not marks[..., 1:].any()
    frames, rows, columns = seen.apart_NPA.unbind(-1)
    assert (frames[2] - FRAMES_APART).tolist() == [-1, -1, 0, 0, 1, 1]
    assert (rows == PLACES_APART).all()
    assert (columns[1] - PLACES_APART).tolist() == [-1, 0] * 3


def test_a_reference_as_long_as_the_clip_shares_its_moments_and_others_have_none():
    state = clip(references=8)  # a still of two tokens, and three frames
    seen = pictures(state)
    assert seen.given_BP.all()
    assert_close(seen.tokens_BPK[..., :3], state.reference_BRC)
    assert_close(seen.tokens_BPK[:, 2, 3:6], state.reference_BRC[:, 2:4].mean(1))
    is_kept, is_moving, number = seen.tokens_BPK[..., 6:].split([1, 1, 6], -1)
    assert not is_kept.any() and is_moving[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert number[0, :2].argmax(-1).tolist() == [0, 0] and not number[:, 2:].any()
    frames = seen.apart_NPA[..., 0]
    assert (frames[:, :2] == STILL).all()
    assert seen.names_P.tolist() == [1, 1, *[-1] * 6]
    assert (frames[4, 2:] - FRAMES_APART).tolist() == [-2, -2, -1, -1, 0, 0]


def test_stills_are_told_apart_by_their_number():
    state = clip(references=4)  # two stills
    number = pictures(state).tokens_BPK[0, :, 8:].argmax(-1)
    assert number.tolist() == [0, 0, 1, 1]
    assert pictures(state).names_P.tolist() == [1, 1, 2, 2]
    assert (pictures(state).apart_NPA[..., 0] == STILL).all()


def test_some_tokens_have_the_surroundings_they_have_among_all():
    surroundings = Surroundings.of(clip({0: 1.0}, references=2))
    index = torch.tensor([[4, 1], [0, 5]])
    some = surroundings.at(index)
    assert_close(some.beside_BNK[1, 0], surroundings.beside_BNK[1, 0])
    assert_close(some.beside_BNK[0, 0], surroundings.beside_BNK[0, 4])
    assert torch.equal(some.pictures.looked_at_BN, index)
    assert Surroundings.of(clip()).at(index).pictures is None
