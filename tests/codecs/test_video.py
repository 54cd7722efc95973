"""The video codec: geometry, causality, normalisation, refusals, and that it learns. Legend: see codecs/video.py."""

from fractions import Fraction

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch.testing import assert_close

from openreels.codecs.video import PocketVideoVAE, VideoCodec
from openreels.tasks.states import video_positions
from openreels.training.loop import LoopConfig, run
from openreels.training.video_codec import ClipPool, VideoCodecTask, set_latent_statistics, train_video_codec
from openreels.world import render_frames, sample_scene

pytestmark = pytest.mark.usefixtures("one_thread")
MEAN, STD = [0.3, -0.2, 0.1, 0.0], [0.5, 2.0, 1.0, 0.7]


def make_vae(**config) -> PocketVideoVAE:
    torch.manual_seed(0)
    sizes = {"encoder_channels": (8, 8, 12), "decoder_channels": (8, 8, 12), "latent_channels": 4}
    blocks = {"encoder_blocks": (1, 1, 1), "decoder_blocks": (1, 1, 1)}
    return PocketVideoVAE(**(sizes | blocks | config)).eval()


@pytest.fixture(scope="module")
def vae(tiny) -> PocketVideoVAE:
    """Every weight random, those that start at zero too: what could look ahead would."""
    return tiny.shake(make_vae(latents_mean=MEAN, latents_std=STD), std=0.1).requires_grad_(False)


def encode(vae: PocketVideoVAE, x: Tensor) -> Tensor:
    return vae.encode(x).latent_dist.mode()


def differs(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() > 1e-5)


def clip(frames: int, height: int = 32, width: int = 48) -> Tensor:
    return torch.randint(256, (2, frames, height, width, 3), generator=torch.Generator().manual_seed(0)).byte()


# --- geometry and causality ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 5, 17])
def test_four_frames_by_16_by_16_become_one_position(tiny, vae, frames):
    x = tiny.noise(2, 3, frames, 32, 48)
    z = encode(vae, x)
    assert z.shape == (2, 4, (frames - 1) // 4 + 1, 2, 3)
    assert vae.decode(z).sample.shape == x.shape == vae(x).shape


@pytest.mark.parametrize("kept", [1, 5, 9])
def test_a_prefix_of_a_video_encodes_to_a_prefix_and_decodes_to_one(tiny, vae, kept):
    x = tiny.noise(1, 3, 13, 32, 32)
    z = encode(vae, x)
    latent_frames = (kept - 1) // 4 + 1
    assert_close(encode(vae, x[:, :, :kept]), z[:, :, :latent_frames])
    assert_close(vae.decode(z[:, :, :latent_frames]).sample, vae.decode(z).sample[:, :, :kept])


@pytest.mark.parametrize("frame", range(13))
def test_a_frame_reaches_its_own_latent_and_later_ones_only(tiny, vae, frame):
    x = tiny.noise(1, 3, 13, 16, 16)
    changed = x.clone()
    changed[:, :, frame] += 1
    before, after = encode(vae, x), encode(vae, changed)
    own = (frame + 3) // 4  # frame 0 alone, then groups of four
    assert_close(after[:, :, :own], before[:, :, :own], atol=0, rtol=0)
    assert differs(after[:, :, own], before[:, :, own])
    if own < 3:
        assert differs(after[:, :, own + 1], before[:, :, own + 1])


@pytest.mark.parametrize("latent_frame", range(4))
def test_a_latent_reaches_no_earlier_frame(tiny, vae, latent_frame):
    z = tiny.noise(1, 4, 4, 1, 1)
    changed = z.clone()
    changed[:, :, latent_frame] += 1
    before, after = vae.decode(z).sample, vae.decode(changed).sample
    own = max(0, 4 * latent_frame - 3)
    assert_close(after[:, :, :own], before[:, :, :own], atol=0, rtol=0)
    assert differs(after[:, :, own], before[:, :, own])


def test_samples_of_a_batch_do_not_mix(tiny, vae):
    x = tiny.noise(2, 3, 9, 16, 16)
    assert_close(encode(vae, x)[:1], encode(vae, x[:1]))
    assert_close(vae(x)[1:], vae(x[1:]))


@pytest.mark.parametrize("size", [(4, 32, 32), (0, 32, 32), (5, 24, 32), (5, 32, 40)])
def test_sizes_it_cannot_take_are_refused(vae, size):
    with pytest.raises(ValueError, match=r"4k\+1.*multiples of 16"):
        vae.encode(torch.zeros(1, 3, *size))
    with pytest.raises(ValueError, match=r"4k\+1.*multiples of 16"):
        VideoCodec(vae).shape(*size, Fraction(16))


# --- the adapter -----------------------------------------------------------------------------------------------------


def test_the_shape_is_that_of_the_latents(vae):
    codec, frames = VideoCodec(vae), clip(9)
    shape = codec.shape(9, 32, 48, Fraction(16))
    assert (shape.latent_frames, shape.latent_height, shape.latent_width, shape.latent_channels) == (3, 2, 3, 4)
    assert codec.encode(frames).shape == (2, shape.tokens, 4)


def test_tokens_stand_in_the_order_of_their_positions(vae):
    codec, frames = VideoCodec(vae), clip(9)
    z = encode(vae, rearrange(frames, "b t h w c -> b c t h w") / 127.5 - 1)
    tokens = codec.encode(frames)
    for token, place in enumerate(video_positions(codec.shape(9, 32, 48, Fraction(16))).int().tolist()):
        frame, row, column = place
        raw = z[:, :, frame, row, column]
        assert_close(tokens[:, token], (raw - torch.tensor(MEAN)) / torch.tensor(STD))


def test_decoding_undoes_the_normalisation(vae):
    """Through the adapter and back equals the bare autoencoder."""
    codec, frames = VideoCodec(vae), clip(5)
    bare = vae(rearrange(frames, "b t h w c -> b c t h w") / 127.5 - 1)
    expected = rearrange(((bare + 1) * 127.5).round().clamp(0, 255).byte(), "b c t h w -> b t h w c")
    back = codec.decode(codec.encode(frames), codec.shape(5, 32, 48, Fraction(16)))
    assert back.dtype == torch.uint8 and (back.int() - expected.int()).abs().max() <= 1
    assert back.float().std() > 1


def test_an_autoencoder_without_statistics_is_refused():
    with pytest.raises(ValueError, match="no latent statistics"):
        VideoCodec(make_vae()).encode(clip(1))


def test_saved_and_loaded_it_is_the_same(vae, tmp_path):
    vae.save_pretrained(tmp_path)
    loaded = PocketVideoVAE.from_pretrained(tmp_path)
    assert torch.equal(VideoCodec(loaded).encode(clip(5)), VideoCodec(vae).encode(clip(5)))


# --- training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool() -> ClipPool:
    return ClipPool(size=8, frames=5, seed=0, refill=2, every=1000)


def test_thirty_steps_reduce_the_loss(pool, tmp_path):
    vae = make_vae(encoder_channels=(32, 32, 32), decoder_channels=(32, 32, 32))
    config = LoopConfig(tmp_path, steps=30, log_every=5, on_log=lambda line: None)
    first, numbers = VideoCodecTask(vae, pool, batch=4).loss((0, torch.Generator().manual_seed(0)))
    last = run(VideoCodecTask(vae, pool, batch=4), config)
    assert last["loss"] < 0.7 * first.item()
    assert last["psnr"] > numbers["psnr"] + 1


def test_the_pool_depends_on_the_step_alone():
    """A run resumed at step 25 sees the clips that a whole run sees there."""
    whole, resumed = (ClipPool(size=4, frames=1, seed=0, refill=2, every=10) for _ in range(2))
    start = whole.clips_BTHWC.clone()
    for step in range(26):
        whole.advance(step)
    resumed.advance(25)
    assert torch.equal(whole.clips_BTHWC, resumed.clips_BTHWC)
    assert not torch.equal(whole.clips_BTHWC, start)


def test_every_second_portion_of_the_pool_is_dressed():
    pool = ClipPool(size=2 * ClipPool.PORTION, frames=1, seed=0, refill=1, every=1000)
    assert pool.plain_B.tolist() == [True] * ClipPool.PORTION + [False] * ClipPool.PORTION
    scenes = [sample_scene(number, duration=1 / 16) for number in range(2 * ClipPool.PORTION)]
    plainly = render_frames(scenes, fps=16, frames=1, height=64, width=64)
    same_B = (plainly == pool.clips_BTHWC).flatten(1).all(1)
    assert same_B[: ClipPool.PORTION].all() and same_B[ClipPool.PORTION :].float().mean() < 0.5
    assert 0.05 < pool.subjects_BTHW.float().mean() < 0.6


def test_an_anchored_codec_keeps_to_the_latents_of_another(pool):
    vae, anchor = (make_vae(encoder_channels=(32, 32, 32), decoder_channels=(32, 32, 32)) for _ in range(2))
    anchor.load_state_dict(vae.state_dict())
    task = VideoCodecTask(vae, pool, batch=4, anchor=anchor)
    _, shown = task.loss((0, torch.Generator().manual_seed(0)))
    assert shown["drift"] == 0
    vae.encoder["leave"].weight.data *= 1.5
    _, shown = task.loss((0, torch.Generator().manual_seed(0)))
    assert shown["drift"] > 0.05


def test_training_goes_on_from_a_codec_that_is_there_with_its_statistics(tmp_path):
    wide = {"encoder_channels": (32, 32, 32), "decoder_channels": (32, 32, 32)}
    make_vae(**wide, latents_mean=[0.25] * 4, latents_std=[2.0] * 4).save_pretrained(tmp_path / "video_vae")
    before = PocketVideoVAE.from_pretrained(tmp_path / "video_vae")
    trained = train_video_codec(tmp_path, steps=1, pool=16)
    assert trained.config.latents_std == [2.0] * 4 and trained.config.latents_mean == [0.25] * 4
    weights = zip(trained.parameters(), before.parameters(), strict=True)
    assert 0 < max((a - b).abs().max().item() for a, b in weights) < 0.1


def test_measured_statistics_make_unit_latents(pool):
    vae = make_vae()
    set_latent_statistics(vae, pool.clips_BTHWC)
    latents = VideoCodec(vae).encode(pool.clips_BTHWC).flatten(0, 1)
    assert_close(latents.mean(0), torch.zeros(4), atol=0.01, rtol=0)
    assert_close(latents.std(0), torch.ones(4), atol=0.01, rtol=0)
