"""The V3 transformer: against diffusers' class at equal weights, and what only ours can do.

Legend: see models/wan.py.
"""

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.hooks import FirstBlockCacheConfig
from peft import LoraConfig
from torch import Tensor
from torch.testing import assert_close

from openreels.models.wan import SkyReelsV3Transformer
from openreels.models.wan_audio import AudioInputs, audio_windows, speaker_masks_of_tokens
from openreels.models.wan_blocks import WanBlock

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "text_dim": 12,
    "freq_dim": 16,
    "ffn_dim": 48,
    "num_layers": 2,
}
IMAGE = {"in_channels": 36, "image_dim": 20, "added_kv_proj_dim": 32}
AUDIO = {"audio_dim": 6, "audio_layers": 2, "audio_hidden_dim": 16, "audio_token_dim": 12, "audio_tokens": 3}
FRAMES, HEIGHT, WIDTH = 4, 4, 6


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(variant: str = "r2v", **config) -> SkyReelsV3Transformer:
    """Every weight random, norms around 1."""
    torch.manual_seed(0)
    model = SkyReelsV3Transformer(**SIZES, variant=variant, **config).eval().requires_grad_(False)
    for seed, parameter in enumerate(model.parameters()):
        parameter += 0.15 * noise(*parameter.shape, seed=seed)
    return model


@pytest.fixture(scope="module")
def r2v() -> SkyReelsV3Transformer:
    return network()


@pytest.fixture(scope="module")
def a2v() -> SkyReelsV3Transformer:
    return network("a2v", **IMAGE, **AUDIO)


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    return {
        "hidden_states": noise(2, 16, FRAMES, HEIGHT, WIDTH),
        "timestep": torch.tensor([999, 400]),
        "encoder_hidden_states": noise(2, 5, 12, seed=1),
    }


@pytest.fixture(scope="module")
def avatar_inputs(inputs) -> dict[str, Tensor]:
    return inputs | {
        "hidden_states": noise(2, 36, FRAMES, HEIGHT, WIDTH),
        "encoder_hidden_states": noise(2, 512, 12, seed=1),
        "encoder_hidden_states_image": noise(2, 7, 20, seed=2),
    }


def sound(speakers: int = 1, seed: int = 3) -> Tensor:
    return noise(2, speakers, 1 + 4 * (FRAMES - 1), 2, 6, seed=seed)


def masks(speakers: int) -> Tensor:
    """Columns of the picture, one per speaker, the last for the background."""
    return torch.eye(speakers + 1).repeat_interleave(4, 1)[:, None].expand(-1, 8, -1)


# --- diffusers' own class --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestep", [torch.tensor([999, 400]), torch.tensor([[0, 0, 700, 700], [0, 3, 9, 1000]])])
def test_equals_diffusers(r2v, inputs, timestep):
    theirs = WanTransformer3DModel(**SIZES).eval()
    theirs.load_state_dict(r2v.state_dict())
    tokens = HEIGHT * WIDTH // 4
    spread = timestep if timestep.ndim == 1 else timestep.repeat_interleave(tokens, dim=1)
    with torch.no_grad():
        expected = theirs(**inputs | {"timestep": spread}).sample
        assert_close(r2v(**inputs | {"timestep": timestep}).sample, expected, atol=1e-5, rtol=0)


def test_equals_diffusers_with_an_image(a2v, avatar_inputs):
    theirs = WanTransformer3DModel(**SIZES, **IMAGE).eval()
    theirs.load_state_dict({k: v for k, v in a2v.state_dict().items() if "audio" not in k})
    with torch.no_grad():
        expected = theirs(**avatar_inputs).sample
        assert_close(a2v(**avatar_inputs).sample, expected, atol=2e-5, rtol=0)


# --- time and place --------------------------------------------------------------------------------------------------


def test_each_frame_has_its_own_time(r2v, inputs):
    times = torch.tensor([[0, 0, 700, 700], [0, 0, 700, 700]])
    same = inputs | {"timestep": torch.tensor([700, 700])}
    per_frame = inputs | {"timestep": torch.full((2, FRAMES), 700)}
    assert_close(r2v(**per_frame).sample, r2v(**same).sample, atol=1e-6, rtol=0)
    assert (r2v(**inputs | {"timestep": times}).sample - r2v(**same).sample).abs().max() > 0.01


def test_only_distances_between_frames_matter(r2v, inputs):
    near, far = (r2v(**inputs, frame_positions=torch.arange(FRAMES) + offset).sample for offset in (0, 5000))
    assert_close(near, far, atol=1e-4, rtol=0)
    gap = r2v(**inputs, frame_positions=torch.tensor([0, 1, 2, 1024])).sample
    assert (near - gap).abs().max() > 1e-3


def test_order_of_frames_follows_their_positions(r2v, inputs):
    order = torch.tensor([2, 0, 3, 1])
    shuffled = r2v(**inputs | {"hidden_states": inputs["hidden_states"][:, :, order]}, frame_positions=order).sample
    assert_close(shuffled, r2v(**inputs).sample[:, :, order], atol=1e-5, rtol=0)


# --- how it computes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens_at_once", [1, 6, 12, 18])
def test_a_few_frames_at_a_time_change_nothing(a2v, avatar_inputs, monkeypatch, tokens_at_once):
    given = avatar_inputs | {"audio_hidden_states": sound(2), "speaker_masks": masks(2)}
    given["timestep"] = torch.tensor([[0, 0, 700, 700], [0, 3, 9, 1000]])
    with torch.no_grad():
        whole = a2v(**given).sample
        monkeypatch.setattr(WanBlock, "tokens_at_once", tokens_at_once)
        assert_close(a2v(**given).sample, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(a2v, avatar_inputs, dtype):
    given = avatar_inputs | {"audio_hidden_states": sound()}
    half = network("a2v", **IMAGE, **AUDIO)
    for name, parameter in half.named_parameters():
        if not set(name.split(".")) & set(half._keep_in_fp32_modules):
            parameter.data = parameter.data.to(dtype)
    assert half.dtype == dtype
    with torch.no_grad():
        expected, sample = a2v(**given).sample, half(**given).sample
    assert sample.dtype == torch.float32
    assert (sample - expected).abs().max() < 0.03 * expected.abs().max()


def test_saved_and_loaded(a2v, avatar_inputs, tmp_path):
    a2v.save_pretrained(tmp_path)
    again = SkyReelsV3Transformer.from_pretrained(tmp_path)
    given = avatar_inputs | {"audio_hidden_states": sound()}
    with torch.no_grad():
        assert_close(again(**given).sample, a2v(**given).sample, atol=1e-6, rtol=0)
    half = SkyReelsV3Transformer.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    kept = ("time_embedder", "time_proj", "scale_shift_table", "norm1", "norm2", "norm_audio", "proj_out")
    for name, parameter in half.named_parameters():
        assert parameter.dtype == (torch.float32 if set(kept) & set(name.split(".")) else torch.bfloat16), name


def test_learns_and_takes_adapters(inputs):
    model = SkyReelsV3Transformer(**SIZES)
    model.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    model.enable_gradient_checkpointing()
    model.train()(**inputs).sample.square().mean().backward()
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert trained and all("lora" in name for name in trained)


def test_step_cache(inputs):
    model = network()
    with torch.no_grad():
        plain = model(**inputs).sample
        model.enable_cache(FirstBlockCacheConfig(threshold=10.0))
        with model.cache_context("cond"):
            first, second = model(**inputs).sample, model(**inputs).sample
    assert_close(first, plain, atol=1e-6, rtol=0)
    assert_close(second, plain, atol=1e-5, rtol=0)


# --- sound -----------------------------------------------------------------------------------------------------------


def test_windows_see_across_the_borders_of_a_piece():
    features = torch.arange(10.0)[:, None, None]
    whole = audio_windows(features)[..., 0, 0]
    assert whole[0].tolist() == [0, 0, 0, 1, 2]
    assert whole[9].tolist() == [7, 8, 9, 9, 9]
    assert torch.equal(audio_windows(features, 5, 4, 3)[..., 0, 0], whole[4:7])
    assert torch.equal(audio_windows(features[None].expand(2, -1, -1, -1))[1, ..., 0, 0], whole)


def test_sound_is_heard_by_its_own_frames(a2v, avatar_inputs):
    """Audio attention is per latent frame: what reaches the others goes through self-attention only."""
    given = avatar_inputs | {"audio_hidden_states": sound()}
    windows = audio_windows(given["audio_hidden_states"])
    with torch.no_grad():
        assert torch.equal(a2v(**given | {"audio_hidden_states": windows}).sample, a2v(**given).sample)
        tokens = a2v.audio_embedder(windows)
        changed = sound()
        changed[:, :, 6] += 1  # its windows reach from frame 4 to frame 8: latent frames 1 and 2
        difference = (a2v.audio_embedder(audio_windows(changed)) - tokens).abs().amax((0, 2, 3))
    assert (difference > 1e-4).tolist() == [False, True, True, False]


@pytest.mark.parametrize("speakers", [2, 3])
def test_tokens_belong_to_the_speaker_they_look_at(speakers):
    """Tokens that attend to one place only get that place's speaker, each within its own span."""
    tokens = 12
    width = 2 * tokens
    look_11SHd = 40 * torch.eye(tokens, width)[None, None, :, None]
    region = speaker_masks_of_tokens(masks(speakers), speakers, 1, tokens)
    inputs = AudioInputs(torch.zeros(1, 1, speakers, 1), speakers, region)
    turns_Sd2 = inputs.rotary_of_tokens(look_11SHd, look_11SHd)[0, 0, :, 0]
    owners = region.argmax(0)
    # The slowest turns tell the place without wrapping.
    slow = torch.atan2(turns_Sd2[:, -1, 1], turns_Sd2[:, -1, 0])
    places = slow * 10_000 ** (1 - 2 / width)
    for owner, place in zip(owners.tolist(), places.tolist(), strict=True):
        if owner == speakers:
            assert place == pytest.approx(12, abs=1e-2)
        else:
            assert 20 * owner - 1e-2 <= place <= 20 * owner + 4 + 1e-2


def test_every_speaker_is_heard(a2v, avatar_inputs):
    given = avatar_inputs | {"speaker_masks": masks(3), "audio_hidden_states": sound(3)}
    with torch.no_grad():
        before = a2v(**given).sample
        for speaker in range(3):
            other = given["audio_hidden_states"].clone()
            other[:, speaker] = sound(1, seed=9)[:, 0]
            assert (a2v(**given | {"audio_hidden_states": other}).sample - before).abs().max() > 1e-3


# --- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_states": noise(2, 36, 4, 5, 6)}, "latents of 5 x 6 do not divide into patches of 2 x 2"),
        ({"timestep": torch.zeros(2, 3)}, r"timestep must be \(2,\) or \(2, 4\); got \(2, 3\)"),
        ({"frame_positions": torch.arange(5)}, r"frame_positions must be \(4,\); got \(5,\)"),
        ({"audio_hidden_states": sound()[:, :, :9]}, r"must be \(batch, speakers, 13, layers 2, width 6\)"),
        ({"audio_hidden_states": sound(2)}, "speaker_masks must say where each of the 2 speakers is"),
        ({"audio_hidden_states": sound(2), "speaker_masks": masks(1)}, r"speaker_masks must be \(3, height, width\)"),
        ({"audio_hidden_states": sound(2), "speaker_masks": masks(2) * 0}, "the region of speaker 1 is empty"),
    ],
)
def test_bad_inputs(a2v, avatar_inputs, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        a2v(**avatar_inputs | change)


def test_networks_without_sound_or_image_say_so(r2v, inputs):
    with pytest.raises(ValueError, match="no audio attention"):
        r2v(**inputs, audio_hidden_states=sound())
    with pytest.raises(ValueError, match="no image attention"):
        r2v(**inputs, encoder_hidden_states_image=noise(2, 7, 20))
    with pytest.raises(ValueError, match="variant must be one of r2v, v2v, a2v; got 'v2'"):
        SkyReelsV3Transformer(**SIZES, variant="v2")
    with pytest.raises(ValueError, match="patch_size"):
        SkyReelsV3Transformer(**SIZES, patch_size=(2, 2, 2))
