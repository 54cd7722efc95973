"""What is given as latents: shares of tokens, key frames among unknown ones, references before the clip.

Legend: see tasks/conditions.py.
"""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from openreels.codecs.audio import PocketAudioCodec, PocketAudioVAE
from openreels.codecs.video import PocketVideoVAE, VideoCodec
from openreels.codecs.vocoder import PocketVocoder
from openreels.tasks.conditions import audio_references, kept_latents, video_references, with_kept, with_references
from openreels.tasks.states import audio_state, video_state

pytestmark = pytest.mark.usefixtures("one_thread")
quick = settings(max_examples=15, deadline=None, derandomize=True)


def video_codec() -> VideoCodec:
    torch.manual_seed(0)
    channels, blocks = (8, 8, 8), (1, 1, 1)
    vae = PocketVideoVAE(4, channels, blocks, channels, blocks, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    return VideoCodec(vae.eval())


CODEC = video_codec()


def frames(count: int, height: int = 32, width: int = 48, batch: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, count, height, width, 3), dtype=torch.uint8, generator=generator)


def mask(count: int, height: int = 32, width: int = 48, batch: int = 1) -> torch.Tensor:
    return torch.zeros(batch, count, height, width, dtype=torch.bool)


def test_all_kept_are_the_latents_of_the_video_and_none_kept_is_hidden():
    pixels = frames(9)
    latents, share = kept_latents(CODEC, pixels, ~mask(9))
    assert torch.equal(latents, CODEC.encode(pixels)) and (share == 1).all()
    latents, share = kept_latents(CODEC, pixels, mask(9))
    assert not latents.any() and not share.any()


@quick
@given(st.integers(0, 8), st.integers(1, 32), st.integers(1, 48))
def test_the_mask_is_the_share_of_given_pixels(frame, height, width):
    """Of one frame, from the top left: counted by hand, token by token; the first frame has a token of its own."""
    keep = mask(9)
    keep[:, frame, :height, :width] = True
    _, share = kept_latents(CODEC, frames(9), keep)
    group = 0 if frame == 0 else 1 + (frame - 1) // 4
    share_FYX = share.reshape(3, 2, 3)
    for y in range(2):
        for x in range(3):
            area = max(0, min(height - 16 * y, 16)) * max(0, min(width - 16 * x, 16)) / 256
            assert float(share_FYX[group, y, x]) == pytest.approx(area if frame == 0 else area / 4)
    share_FYX[group] = 0
    assert not share_FYX.any()


def test_what_is_not_kept_has_no_influence():
    keep, one, two = mask(5), frames(5), frames(5, seed=1)
    keep[:, :3, :20] = True
    two = torch.where(keep[..., None], one, two)
    for same in zip(kept_latents(CODEC, one, keep), kept_latents(CODEC, two, keep), strict=True):
        assert torch.equal(*same)


@pytest.mark.parametrize("frame", [5, 6, 7, 8])
def test_a_key_frame_stands_for_its_whole_latent_frame(frame):
    """Whichever of the four frames it is, the codec sees it standing still there, not flashing up between black."""
    pixels, keep = frames(9), mask(9)
    keep[:, frame] = True
    still = torch.zeros_like(pixels)
    still[:, 5:] = pixels[:, frame : frame + 1]
    latents, share = kept_latents(CODEC, pixels, keep)
    assert torch.equal(latents[:, 12:], CODEC.encode(still)[:, 12:])
    assert (share[:, 12:] == 0.25).all() and not share[:, :12].any()


def test_between_two_key_frames_of_a_latent_frame_each_fills_its_side():
    pixels, keep = frames(5), mask(5)
    keep[:, 1], keep[:, 4] = True, True
    filled = torch.zeros_like(pixels)
    filled[:, 1:4], filled[:, 4] = pixels[:, 1:2], pixels[:, 4]
    assert torch.equal(kept_latents(CODEC, pixels, keep)[0][:, 6:], CODEC.encode(filled)[:, 6:])


def test_a_single_picture():
    keep = mask(1)
    keep[:, :, :, :8] = True
    latents, share = kept_latents(CODEC, frames(1), keep)
    assert latents.shape == (1, 6, 4)
    assert share[0, :, 0].tolist() == [0.5, 0.0, 0.0] * 2


def test_every_sample_has_its_own_mask():
    keep = mask(5, batch=2)
    keep[1] = True
    latents, share = kept_latents(CODEC, frames(5, batch=2), keep)
    assert share.mean(dim=(1, 2)).tolist() == [0.0, 1.0] and not latents[0].any()


def test_references_stand_before_the_clip_in_order():
    """A picture, a clip of 5 frames and a picture: 1 + 2 + 1 latent frames at -4 .. -1."""
    clips = [frames(1), frames(5, seed=1), frames(1, seed=2)]
    latents, positions = video_references(CODEC, clips)
    assert latents.shape == (1, 4 * 6, 4) and positions.shape == (4 * 6, 3)
    assert positions[:, 0].tolist() == [float(i) for i in (-4, -3, -2, -1) for _ in range(6)]
    assert torch.equal(positions[:6, 1:], positions[6:12, 1:]) and positions[:6, 1:].tolist()[5] == [1.0, 2.0]
    assert torch.equal(latents[:, 6:18], CODEC.encode(clips[1]))


def test_reference_sounds_end_where_the_track_begins():
    torch.manual_seed(0)
    vae = PocketAudioVAE(latent_channels=3, hidden=16, latents_mean=[0.0] * 3, latents_std=[1.0] * 3)
    codec = PocketAudioCodec(vae, PocketVocoder(width=32, layers=1, hidden=64))
    shape = codec.shape(9_000)
    latents, positions = audio_references(codec, [torch.randn(1, 2_000), torch.randn(1, 3_000)], shape, 3)
    assert latents.shape == (1, 5, 3)
    assert_close(positions[:, 0], torch.tensor([-5.0, -4.0, -3.0, -2.0, -1.0]) / 3)
    state = with_references(audio_state(shape, 3, 2), latents, positions)
    assert state.reference_BRC.shape == (2, 5, 3) and torch.equal(*state.reference_BRC)


def test_conditions_reach_the_model(shaken, tiny):
    """Kept parts and references change what it predicts; what the mask hides does not."""
    codec = video_codec()
    state = video_state(codec.shape(9, 32, 32, Fraction(16)), 1)
    state = state.at(tiny.noise(*state.noisy_BNC.shape), torch.full((1,), 0.5))
    context, keep = tiny.context(1), mask(9, 32, 32)
    keep[:, 0] = True
    latents, share = kept_latents(codec, frames(9, 32, 32), keep)
    kept = with_kept(state, latents, share)
    plain, conditioned = (shaken(each, None, context)[0] for each in (state, kept))
    assert not torch.allclose(plain, conditioned, atol=1e-4)
    assert torch.equal(conditioned, shaken(with_kept(state, latents + 9 * (share == 0), share), None, context)[0])
    seen = with_references(state, *video_references(codec, [frames(1, 32, 32)]))
    assert not torch.allclose(plain, shaken(seen, None, context)[0], atol=1e-4)
