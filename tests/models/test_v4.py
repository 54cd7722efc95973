"""The V4 transformer: every structural promise of the paper has a test that fails when it is broken.

Legend: see models/v4.py.
"""

import copy
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig
from torch.testing import assert_close

from openreels.models.blocks import DualStreamBlock, SingleStreamBlock
from openreels.models.layout import heard_numbers, seen_numbers
from openreels.models.sketch import likely_velocity
from openreels.models.surroundings import Surroundings
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.tasks.states import audio_positions
from openreels.types import Context

pytestmark = pytest.mark.usefixtures("one_thread")


def differs(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Clearly different, beyond rounding."""
    return bool((a - b).abs().max() > 1e-4)


def changed(model: SkyReelsV4Transformer, *parts: str) -> SkyReelsV4Transformer:
    """A copy with other weights wherever the name holds one of `parts`."""
    other = copy.deepcopy(model)
    names = [name for name, _ in other.named_parameters() if any(part in name for part in parts)]
    assert names
    for seed, name in enumerate(names):
        parameter = other.get_parameter(name)
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
    return other


# --- layers and shapes -----------------------------------------------------------------------------------------------


def test_dual_stream_layers_come_before_single_stream_layers_in_both_towers(tiny):
    model = tiny.transformer(num_dual_layers=2, num_single_layers=3)
    for tower in ("video", "audio"):
        kinds = [type(getattr(layer, tower)) for layer in model.layers]
        assert kinds == [DualStreamBlock] * 2 + [SingleStreamBlock] * 3


@pytest.mark.parametrize("streams", [("video",), ("audio",), ("video", "audio")])
def test_each_stream_given_gets_a_float32_velocity_of_its_own_shape(tiny, shaken, streams):
    video = tiny.video() if "video" in streams else None
    audio = tiny.audio() if "audio" in streams else None
    for state, velocity in zip((video, audio), shaken(video, audio, tiny.context()), strict=True):
        if state is None:
            assert velocity is None
        else:
            assert velocity.shape == state.noisy_BNC.shape and velocity.dtype == torch.float32
            assert velocity.abs().max() > 0.01


def test_the_towers_have_equal_width_heads_and_depth(tiny):
    layer = tiny.transformer().layers[0]
    assert layer.video.stream.to_qkv.weight.shape == layer.audio.stream.to_qkv.weight.shape
    assert layer.video.stream.num_heads == layer.audio.stream.num_heads


def test_fresh_cross_attentions_change_nothing(tiny):
    """All other weights random: the model still equals one without text and audio-video cross-attention."""
    model = tiny.shake(tiny.transformer(), keep=tiny.CrossAttention)
    video, audio, context = tiny.video(), tiny.audio(), tiny.context()
    joint = model(video, audio, context)
    for layer in model.layers:
        layer.video.text_cross = None
    assert torch.equal(joint[0], model(video, None, context)[0])
    assert torch.equal(joint[1], model(None, audio, context)[1])


# --- one timeline ----------------------------------------------------------------------------------------------------


def cross_rotary(model, video, audio, context, name: str):
    """(query table, key table) that a cross-attention of the first layer is called with."""
    seen = []
    hook = getattr(model.layers[0], name).register_forward_pre_hook(lambda _, args: seen.append(args[2]))
    model(video, audio, context)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", ["audio_from_video", "video_from_audio"])
def test_audio_and_video_at_one_moment_share_their_phase(tiny, shaken, name):
    tables = cross_rotary(shaken, tiny.video(), tiny.audio(), tiny.context(), name)
    audio, video = tables if name == "audio_from_video" else tables[::-1]
    for frame, token in enumerate((0, 3, 6)):  # 9 tokens beside 3 latent frames
        for position in range(4 * frame, 4 * frame + 4):
            assert_close(audio.cos_Nd[token], video.cos_Nd[position])
            assert_close(audio.sin_Nd[token], video.sin_Nd[position])
    assert differs(audio.sin_Nd[1], video.sin_Nd[0])


def test_the_example_of_the_paper():
    """5.0625 s: 21 latent frames, 218 audio tokens of 1,024 samples at 44.1 kHz, factor 0.09633."""
    positions = audio_positions(218, 21)[:, 0]
    assert abs(float(positions[1]) - 0.09633) < 5e-6
    seconds = torch.arange(218) * 1024 / 44_100
    assert_close(positions, seconds / 5.0625 * 21, atol=0.02, rtol=0)


def test_moving_the_sound_in_time_changes_what_both_streams_see(tiny, shaken):
    video, audio, context = tiny.video(), tiny.audio(), tiny.context()
    later = replace(audio, positions_NP=audio.positions_NP + 1.5)
    for velocity, expected in zip(shaken(video, later, context), shaken(video, audio, context), strict=True):
        assert differs(velocity, expected)


# --- references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tower", ["video", "audio"])
def test_references_change_no_shape_position_or_time_elsewhere(tiny, shaken, tower):
    state, context = getattr(tiny, tower)(time=0.3), tiny.context()
    part = getattr(shaken, tower)
    dims = (4, 6, 6) if tower == "video" else (16,)
    plain = part.inputs(state, dims, 256.0, context.mask_BL)
    referred = part.inputs(tiny.with_references(state), dims, 256.0, context.mask_BL)
    assert torch.equal(referred.rotary.cos_Nd[2:], plain.rotary.cos_Nd)
    assert torch.equal(referred.rotary.sin_Nd[2:], plain.rotary.sin_Nd)
    assert_close(referred.time_BGD[:, -1], plain.time_BGD[:, -1])

    order = slice(None) if tower == "video" else slice(None, None, -1)
    velocity = shaken(*(tiny.with_references(state), None)[order], context)
    plain_velocity = shaken(*(state, None)[order], context)
    index = 0 if tower == "video" else 1
    assert velocity[index].shape == plain_velocity[index].shape
    assert differs(velocity[index], plain_velocity[index])


@pytest.mark.parametrize("tower", ["video", "audio"])
def test_references_are_modulated_as_clean(tiny, shaken, tower):
    state = tiny.with_references(getattr(tiny, tower)(time=0.3))
    part = getattr(shaken, tower)
    inputs = part.inputs(state, (4, 6, 6) if tower == "video" else (16,), 256.0, tiny.context().mask_BL)
    assert inputs.counts == (2, state.tokens)
    assert_close(inputs.time_BGD[:, 0], part.embed_time(torch.ones(2)))
    assert_close(inputs.time_BGD[:, 1], part.embed_time(state.time_B))


def test_a_reference_is_a_given_clean_token_at_negative_time(tiny, shaken):
    """At t = 1 the same thing can be said without references: V = I = the latent, M = 1, at the same position."""
    state, context = tiny.video(time=1.0), tiny.context()
    referred = tiny.with_references(state)
    assert referred.reference_positions_RP[:, 0].tolist() == [-2, -1]
    spelled_out = replace(
        state,
        noisy_BNC=torch.cat([referred.reference_BRC, state.noisy_BNC], 1),
        given_BNC=torch.cat([referred.reference_BRC, state.given_BNC], 1),
        mask_BN1=torch.cat([torch.ones(2, 2, 1), state.mask_BN1], 1),
        positions_NP=torch.cat([referred.reference_positions_RP, state.positions_NP]),
    )
    assert_close(shaken(referred, None, context)[0], shaken(spelled_out, None, context)[0][:, 2:])


def test_the_place_of_a_reference_in_time_matters(tiny, shaken):
    state, context = tiny.with_references(tiny.video()), tiny.context()
    elsewhere = replace(state, reference_positions_RP=state.reference_positions_RP.flip(0))
    assert differs(shaken(state, None, context)[0], shaken(elsewhere, None, context)[0])


# --- the inpainting channels -----------------------------------------------------------------------------------------


def test_mask_0_hides_what_is_given_and_mask_1_shows_it(tiny, shaken):
    state, context = tiny.video(), tiny.context()
    given = replace(state, given_BNC=tiny.noise(*state.given_BNC.shape, seed=9))
    assert torch.equal(shaken(given, None, context)[0], shaken(state, None, context)[0])
    ones = torch.ones_like(state.mask_BN1)
    shown, black = replace(given, mask_BN1=ones), replace(state, mask_BN1=ones)
    assert differs(shaken(shown, None, context)[0], shaken(black, None, context)[0])


def test_the_mask_itself_is_seen(tiny, shaken):
    state, context = tiny.video(), tiny.context()
    masked = replace(state, mask_BN1=torch.ones_like(state.mask_BN1))
    assert differs(shaken(masked, None, context)[0], shaken(state, None, context)[0])


# --- text ------------------------------------------------------------------------------------------------------------


def test_what_is_given_clean_is_kept_and_its_noise_never_seen(tiny):
    """With `clean_given`: the way of a token that is given entirely ends at what is given, from anywhere."""
    model = tiny.shake(tiny.transformer(clean_given=True))
    video = tiny.video()
    mask_BN1 = torch.zeros_like(video.mask_BN1)
    mask_BN1[:, :4], mask_BN1[:, 4:6] = 1.0, 0.5
    state = replace(
        video, mask_BN1=mask_BN1, given_BNC=tiny.noise(9, *video.given_BNC.shape[1:])[: len(video.given_BNC)]
    )
    velocity, _ = model(state, None, tiny.context())
    end = state.noisy_BNC + (1 - state.time_B)[:, None, None] * velocity
    assert_close(end[:, :4], state.given_BNC[:, :4], atol=1e-5, rtol=1e-5)
    assert differs(end[:, 4:], state.given_BNC[:, 4:])
    noisier = state.noisy_BNC.clone()
    noisier[:, :4] += 3.0
    other, _ = model(replace(state, noisy_BNC=noisier), None, tiny.context())
    assert_close(other[:, 4:], velocity[:, 4:])
    noisier[:, 5] += 3.0
    assert differs(model(replace(state, noisy_BNC=noisier), None, tiny.context())[0][:, 6:], velocity[:, 6:])


def test_text_padding_is_invisible(tiny, shaken):
    context = tiny.context()
    junk = 100 * tiny.noise(2, 3, context.hidden_BLD.shape[2])
    padded = Context(
        torch.cat([context.hidden_BLD, junk], 1), torch.cat([context.mask_BL, torch.zeros(2, 3, dtype=torch.bool)], 1)
    )
    states = tiny.video(), tiny.audio()
    for velocity, expected in zip(shaken(*states, padded), shaken(*states, context), strict=True):
        assert_close(velocity, expected)


def test_text_reaches_both_towers(tiny, shaken):
    for streams in ((tiny.video(), None), (None, tiny.audio())):
        one, two = (shaken(*streams, tiny.context(seed=seed)) for seed in (4, 5))
        index = 0 if streams[0] else 1
        assert differs(one[index], two[index])


def test_text_cross_attention_stands_in_every_layer_of_the_video_tower_only(tiny, shaken):
    assert not any("audio.text_cross" in name for name, _ in shaken.named_modules())
    before = shaken(tiny.video(), None, tiny.context())[0]
    for layer in range(2):
        other = changed(shaken, f"layers.{layer}.video.text_cross.to_out")
        assert differs(other(tiny.video(), None, tiny.context())[0], before)


# --- two streams -----------------------------------------------------------------------------------------------------


def test_audio_attends_first_and_video_attends_to_the_updated_audio(tiny):
    """In one layer, video feels how audio listened; audio cannot feel how video listened."""
    model = tiny.shake(tiny.transformer(num_single_layers=0))
    streams = tiny.video(), tiny.audio(), tiny.context()
    video, audio = model(*streams)
    assert differs(changed(model, "audio_from_video")(*streams)[0], video)
    video_2, audio_2 = changed(model, "video_from_audio")(*streams)
    assert differs(video_2, video)
    assert torch.equal(audio_2, audio)


def test_every_layer_joins_the_towers(tiny, shaken):
    streams = tiny.video(), tiny.audio(), tiny.context()
    video, audio = shaken(*streams)
    for layer in range(2):
        assert differs(changed(shaken, f"layers.{layer}.audio_from_video.to_out")(*streams)[1], audio)
        assert differs(changed(shaken, f"layers.{layer}.video_from_audio.to_out")(*streams)[0], video)


def test_each_stream_has_its_own_time(tiny, shaken):
    context, apart = tiny.context(), torch.zeros(2)
    base = shaken(tiny.video(), tiny.audio(), context, apart)
    audio_later = shaken(tiny.video(), tiny.audio(time=0.9), context, apart)
    video_later = shaken(tiny.video(time=0.9), tiny.audio(), context, apart)
    assert torch.equal(audio_later[0], base[0]) and differs(audio_later[1], base[1])
    assert torch.equal(video_later[1], base[1]) and differs(video_later[0], base[0])


def test_the_tie_is_per_sample(tiny, shaken):
    video, audio, context = tiny.video(), tiny.audio(), tiny.context()
    joint = shaken(video, audio, context)
    alone = shaken(video, None, context)[0], shaken(None, audio, context)[1]
    half = shaken(video, audio, context, torch.tensor([0.0, 1.0]))
    for stream in (0, 1):
        assert_close(half[stream][0], alone[stream][0])
        assert_close(half[stream][1], joint[stream][1])
        assert differs(joint[stream], alone[stream])


def test_a_video_that_does_not_listen_stays_outside_the_graph(tiny, shaken):
    model = copy.deepcopy(shaken)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("audio" in name)
    video, audio, context = tiny.video(), tiny.audio(), tiny.context()
    velocities = model(video, audio, context, video_listens=False)
    assert not velocities[0].requires_grad and velocities[1].requires_grad
    assert_close(velocities[0], model(video, None, context)[0])
    assert differs(velocities[1], model(None, audio, context)[1])


def test_samples_of_a_batch_do_not_see_each_other(tiny, shaken):
    video, audio = tiny.with_references(tiny.video()), tiny.with_references(tiny.audio())
    context = tiny.context()
    both = shaken(video, audio, context)

    def first(state):
        names = ("noisy_BNC", "given_BNC", "mask_BN1", "time_B", "reference_BRC")
        return replace(state, **{name: getattr(state, name)[:1] for name in names})

    one = shaken(first(video), first(audio), Context(context.hidden_BLD[:1], context.mask_BL[:1]))
    for stream in (0, 1):
        assert_close(one[stream], both[stream][:1])


# --- the best linear guess -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_gaussian_skip_is_the_best_linear_guess_and_scales_what_is_left(tiny, t):
    """Compared with a regression of data - noise on z_t, over samples of unit variance."""
    data, noise = tiny.noise(2, 400_000).double()
    z, target = t * data + (1 - t) * noise, data - noise
    slope = (z @ target / (z @ z)).item()
    left = (target - slope * z).std().item()

    model = tiny.transformer(gaussian_skip=True)
    state = replace(tiny.video(time=t), noisy_BNC=torch.ones_like(tiny.video().noisy_BNC))
    assert model(state, None, tiny.context())[0].mean().item() == pytest.approx(slope, abs=0.01)
    model.video.to_velocity.bias.data.fill_(1.0)
    assert model(state, None, tiny.context())[0].mean().item() == pytest.approx(slope + left, abs=0.01)


# --- layouts ---------------------------------------------------------------------------------------------------------


def told(tiny, state, numbers: int, seed: int = 8):
    numbers_BNK = tiny.noise(2, state.tokens, numbers, seed=seed)
    return replace(state, layout_BNK=torch.nn.functional.pad(numbers_BNK, (0, 1), value=1.0))


@torch.no_grad()
@pytest.mark.parametrize("references", [0, 2])
def test_both_streams_go_by_what_they_are_told(tiny, references):
    model = tiny.shake(tiny.transformer(layout_classes=(2, 3)))
    video, audio = (tiny.with_references(state, references) for state in (tiny.video(), tiny.audio()))
    without = model(video, audio, tiny.context())
    seen, heard = told(tiny, video, seen_numbers((2, 3))), told(tiny, audio, heard_numbers((2, 3)))
    assert differs(model(seen, None, tiny.context())[0], model(video, None, tiny.context())[0])
    assert differs(model(None, heard, tiny.context())[1], model(None, audio, tiny.context())[1])
    # A sample of zeros is told nothing, whatever the others of its batch are told.
    half = [replace(s, layout_BNK=s.layout_BNK * torch.tensor([1.0, 0.0])[:, None, None]) for s in (seen, heard)]
    for velocity, same in zip(model(*half, tiny.context()), without, strict=True):
        assert differs(velocity[0], same[0])
        assert_close(velocity[1], same[1])


@torch.no_grad()
def test_a_told_token_is_what_the_tower_trusts_the_sketch_to_be(tiny):
    """Trusted entirely, the velocity is the likely one; not at all, the tower's own."""
    model = tiny.shake(tiny.transformer(layout_classes=(2, 3), gaussian_skip=True))
    state = told(tiny, tiny.video(), seen_numbers((2, 3)))
    text = tiny.context()
    expected = likely_velocity(
        state.noisy_BNC, state.time_B, *model.video.sketch(state.layout_BNK, text, Surroundings.of(state))
    )
    model.video.trust_sketch.weight.zero_()
    model.video.trust_sketch.bias.fill_(50.0)
    assert_close(model(state, None, text)[0], expected, atol=1e-5, rtol=1e-5)
    model.video.trust_sketch.bias.fill_(-50.0)
    own = model(state, None, text)[0]
    assert differs(own, expected)
    model.video.trust_sketch.bias.zero_()
    assert_close(model(state, None, text)[0], (own + expected) / 2, atol=1e-5, rtol=1e-5)
    torch.nn.init.normal_(model.video.embed_sketch.weight)
    assert differs(model(state, None, text)[0], (own + expected) / 2)  # the tower sees it, too


@torch.no_grad()
def test_a_temperature_holds_what_is_drawn_nearer_to_its_sketch_but_not_in_training(tiny):
    cold = tiny.shake(tiny.transformer(layout_classes=(2, 3), sketch_temperature=0.1))
    cold.video.trust_sketch.weight.zero_()
    cold.video.trust_sketch.bias.fill_(50.0)
    state, text = told(tiny, tiny.video(), seen_numbers((2, 3))), tiny.context()
    state = replace(state, mask_BN1=torch.zeros_like(state.mask_BN1))
    mean, variance = cold.video.sketch(state.layout_BNK, text, Surroundings.of(state))
    for in_training, factor in ((True, 1), (False, 0.1)):
        expected = likely_velocity(state.noisy_BNC, state.time_B, mean, factor * variance)
        found = cold.train(in_training)(state, None, text)[0]
        assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_more_trust_is_as_if_it_had_been_learnt_but_not_in_training(tiny):
    model, trusting = (tiny.transformer(layout_classes=(2, 3), sketch_trust=trust) for trust in (0.0, 1.5))
    tiny.shake(model)
    trusting.load_state_dict(model.state_dict())
    state, text = told(tiny, tiny.video(), seen_numbers((2, 3))), tiny.context()
    assert torch.equal(trusting.train()(state, None, text)[0], model.train()(state, None, text)[0])
    model.video.trust_sketch.bias += 1.5
    assert_close(trusting.eval()(state, None, text)[0], model(state, None, text)[0])


@torch.no_grad()
def test_a_sketch_of_sound_that_does_not_know_is_neither_trusted_more_nor_kept_nearer_to(tiny):
    colder = {"sketch_temperature": 0.1, "sketch_trust": 1.5}
    plain, cold, doubting = (
        tiny.transformer(layout_classes=(2, 3), **settings)
        for settings in ({}, colder, {**colder, "sketch_doubt": 0.4})
    )
    tiny.shake(plain)
    for model in (cold, doubting):
        model.load_state_dict(plain.state_dict())
    text = tiny.context()
    streams = told(tiny, tiny.video(), seen_numbers((2, 3))), told(tiny, tiny.audio(), heard_numbers((2, 3)))
    for index, (name, state) in enumerate(zip(("video", "audio"), streams, strict=True)):
        mean_BNC = getattr(plain, name).sketch(state.layout_BNK, text).mean_BNC
        variance_BN1 = torch.full_like(mean_BNC[..., :1], 0.3)
        variance_BN1[:, ::2] = 0.5
        state = replace(state, sketch_BNK=torch.cat([mean_BNC, variance_BN1], dim=-1))
        given = (state, None) if name == "video" else (None, state)
        usual, close, found = (model.eval()(*given, text)[index] for model in (plain, cold, doubting))
        assert differs(usual, close)
        assert_close(found[:, ::2], (usual if name == "audio" else close)[:, ::2])  # pictures are always trusted
        assert_close(found[:, 1::2], close[:, 1::2])


@torch.no_grad()
def test_a_clip_is_sketched_once_for_all_times(tiny):
    """Of what is given and told alone: noise and time do not matter."""
    model = tiny.shake(tiny.transformer(layout_classes=(2, 3))).eval()
    video, audio = (tiny.with_references(state, 2) for state in (tiny.video(), tiny.audio()))
    video, audio = told(tiny, video, seen_numbers((2, 3))), told(tiny, audio, heard_numbers((2, 3)))
    sketched = model.sketched(video, audio, tiny.context())
    assert [state.sketch_BNK.shape[-1] - state.noisy_BNC.shape[-1] for state in sketched] == [1, 1]
    later = [each.at(tiny.noise(*each.noisy_BNC.shape, seed=7), each.time_B / 2) for each in (video, audio)]
    again = model.sketched(*later, tiny.context())
    assert all(torch.equal(*(each.sketch_BNK for each in pair)) for pair in zip(sketched, again, strict=True))
    for one, other in zip(model(*sketched, tiny.context()), model(video, audio, tiny.context()), strict=True):
        assert torch.equal(one, other)
    assert model.sketched(tiny.video(), None, tiny.context())[0].sketch_BNK is None


def test_a_model_without_layouts_refuses_them(tiny):
    with pytest.raises(ValueError, match="no entrance"):
        tiny.transformer()(told(tiny, tiny.video(), 31), None, tiny.context())


# --- training and saving ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modulation_rank", [None, 4])
def test_a_joint_step_reaches_every_parameter(tiny, modulation_rank):
    model = tiny.shake(tiny.transformer(modulation_rank=modulation_rank, gaussian_skip=True))
    video, audio = tiny.with_references(tiny.video()), tiny.with_references(tiny.audio())
    velocities = model(video, audio, tiny.context())
    sum(v.square().mean() for v in velocities).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@torch.no_grad()
@pytest.mark.parametrize("shard_size", ["10GB", "50KB"])
def test_saved_and_loaded_it_is_the_same_model(tiny, shaken, tmp_path, shard_size):
    shaken.save_pretrained(tmp_path, max_shard_size=shard_size)
    shards = list(tmp_path.glob("*.safetensors"))
    assert len(shards) > 2 if shard_size == "50KB" else len(shards) == 1
    loaded = SkyReelsV4Transformer.from_pretrained(tmp_path)
    streams = tiny.video(), tiny.audio(), tiny.context()
    for velocity, expected in zip(loaded(*streams), shaken(*streams), strict=True):
        assert torch.equal(velocity, expected)


def test_half_precision_weights_stay_close(tiny, shaken, tmp_path):
    shaken.save_pretrained(tmp_path)
    half = SkyReelsV4Transformer.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    video, audio, context = tiny.video(), tiny.audio(), tiny.context()
    low = half(video.to(dtype=torch.bfloat16), audio.to(dtype=torch.bfloat16), context.to(torch.bfloat16))
    for velocity, expected in zip(low, shaken(video, audio, context), strict=True):
        assert velocity.dtype == torch.float32
        assert (velocity - expected).std() < 0.05 * expected.std()


def test_a_lora_starts_as_identity_and_trains_alone(tiny, shaken):
    model = copy.deepcopy(shaken)
    streams = tiny.video(), tiny.audio(), tiny.context()
    before = model(*streams)[0]
    model.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_kv", "to_qkv"]))
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trainable and all("lora" in name for name in trainable)
    assert_close(model(*streams)[0], before)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.1)
    assert differs(model(*streams)[0], before)
    model.disable_adapters()
    assert_close(model(*streams)[0], before)
