"""A warm-started V4 model equals HunyuanVideo until it is trained: outputs against diffusers' classes, every key used.

Legend: B batch, C channels, F Y X latent frames, rows, columns; N tokens; L text tokens; p patch.
"""

from dataclasses import replace

import pytest
import torch
from diffusers import HunyuanVideo15Transformer3DModel, HunyuanVideoTransformer3DModel
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from openreels.models.hunyuan_keys import SOURCES, transformer_config
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.models.warm_start import find_source, plan_warm_start, write_warm_start
from openreels.nn.patches import tokens_from_latents
from openreels.types import Context, HiddenStates, StreamState

pytestmark = pytest.mark.usefixtures("one_thread")

B, C, F, Y, X = 2, 4, 3, 4, 6
TEXT, GLYPH, IMAGE, POOLED, AUDIO = 24, 10, 14, 9, 5
COMMON = {
    "out_channels": C,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "num_refiner_layers": 2,
    "mlp_ratio": 2.0,
    "text_embed_dim": TEXT,
    "rope_axes_dim": (4, 6, 6),
}
SIZES_15 = COMMON | {"in_channels": 2 * C + 1, "text_embed_2_dim": GLYPH, "image_embed_dim": IMAGE}
SIZES_10 = COMMON | {"in_channels": C, "num_single_layers": 2, "pooled_projection_dim": POOLED}
CHOICES = {"audio_channels": AUDIO}


def make(cls, shake, **sizes):
    torch.manual_seed(0)
    return shake(cls(**sizes).eval(), std=0.1).requires_grad_(False)


@pytest.fixture(scope="module")
def started(tiny, tmp_path_factory):
    """(their model, ours warm-started from its folder) for a class and sizes; made once for each."""
    made = {}

    def start(kind: str, **sizes):
        key = kind, *sorted((name, str(value)) for name, value in sizes.items())
        if key not in made:
            defaults = SIZES_15 if kind == "hunyuanvideo-1.5" else SIZES_10
            cls = HunyuanVideo15Transformer3DModel if kind == "hunyuanvideo-1.5" else HunyuanVideoTransformer3DModel
            folder = tmp_path_factory.mktemp("source")
            theirs = make(cls, tiny.shake, **defaults | sizes)
            theirs.save_pretrained(folder / "transformer")
            write_warm_start(plan_warm_start(kind, folder, CHOICES), folder / "ours")
            made[key] = theirs, SkyReelsV4Transformer.from_pretrained(folder / "ours").eval().requires_grad_(False)
        return made[key]

    return start


def state_of(latents_BCFYX, given_BCFYX, mask_B1FYX, time_B, patch: int = 1) -> StreamState:
    grid = (latents_BCFYX.shape[2], latents_BCFYX.shape[3] // patch, latents_BCFYX.shape[4] // patch)
    axes = torch.meshgrid(*(torch.arange(n).float() for n in grid), indexing="ij")
    noisy_BNC = tokens_from_latents(latents_BCFYX, patch)
    return StreamState(
        noisy_BNC=noisy_BNC,
        given_BNC=tokens_from_latents(given_BCFYX, patch),
        mask_BN1=tokens_from_latents(mask_B1FYX, patch)[..., :1],
        time_B=time_B,
        positions_NP=torch.stack(axes, dim=-1).reshape(-1, 3),
        reference_BRC=noisy_BNC[:, :0],
        reference_positions_RP=torch.zeros(0, 3),
    )


def sound(noise, time_B) -> StreamState:
    return StreamState(
        noisy_BNC=noise(B, 7, AUDIO, seed=31),
        given_BNC=torch.zeros(B, 7, AUDIO),
        mask_BN1=torch.zeros(B, 7, 1),
        time_B=time_B,
        positions_NP=torch.arange(7).float()[:, None] * F / 7,
        reference_BRC=torch.zeros(B, 0, AUDIO),
        reference_positions_RP=torch.zeros(0, 1),
    )


def inputs(noise, first_frame: bool) -> tuple:
    """Latents, what is given, the mask, and times of the two samples (t = 1 is data)."""
    latents, given, mask = noise(B, C, F, Y, X, seed=11), torch.zeros(B, C, F, Y, X), torch.zeros(B, 1, F, Y, X)
    if first_frame:
        given[:, :, 0] = noise(B, C, Y, X, seed=12)
        mask[:, :, 0] = 1
    return latents, given, mask, torch.tensor([0.35, 0.8])


def padded(noise, width: int, lengths: tuple[int, int], seed: int) -> HiddenStates:
    """Prompts of different lengths, padded on the right with large numbers that must not be seen."""
    hidden = noise(B, max(lengths) + 1, width, seed=seed)
    mask = torch.arange(hidden.shape[1]) < torch.tensor(lengths)[:, None]
    return HiddenStates(torch.where(mask[..., None], hidden, 50.0), mask)


def expected_tokens(their_velocity_BCFYX, patch: int = 1):
    """Their velocity is noise - data, ours data - noise."""
    return -tokens_from_latents(their_velocity_BCFYX, patch)


# --- HunyuanVideo-1.5 ------------------------------------------------------------------------------------------------


def run_15(theirs, latents, given, mask, time_B, text, glyph, image_BLE):
    return theirs(
        torch.cat([latents, given, mask], dim=1),
        1000 * (1 - time_B),
        text.hidden_BLD,
        text.mask_BL.float(),
        encoder_hidden_states_2=glyph.hidden_BLD,
        encoder_attention_mask_2=glyph.mask_BL.float(),
        image_embeds=image_BLE,
    ).sample


@pytest.mark.parametrize("glyphs", [(0, 0), (4, 1), (3, 0)], ids=["no glyphs", "glyphs", "glyphs of one"])
@pytest.mark.parametrize("first_frame", [False, True], ids=["t2v", "i2v"])
@pytest.mark.parametrize("with_sound", [False, True], ids=["silent", "with sound"])
def test_hunyuanvideo_15(tiny, started, glyphs, first_frame, with_sound):
    theirs, ours = started("hunyuanvideo-1.5")
    latents, given, mask, time_B = inputs(tiny.noise, first_frame)
    text, glyph = padded(tiny.noise, TEXT, (6, 3), seed=13), padded(tiny.noise, GLYPH, glyphs, seed=14)
    image = tiny.noise(B, 5, IMAGE, seed=15) if first_frame else torch.zeros(B, 5, IMAGE)
    expected = expected_tokens(run_15(theirs, latents, given, mask, time_B, text, glyph, image))

    context = Context(
        text.hidden_BLD,
        text.mask_BL,
        glyph=glyph if any(glyphs) else None,
        image=HiddenStates(image, torch.ones(B, 5, dtype=torch.bool)) if first_frame else None,
    )
    state = state_of(latents, given, mask, time_B)
    velocity = ours(state, sound(tiny.noise, time_B) if with_sound else None, context)[0]
    assert expected.abs().mean() > 0.1
    assert_close(velocity, expected, atol=1e-5, rtol=1e-5)


def test_the_second_time_of_a_distilled_source_is_dropped_and_said_so(tiny, tmp_path):
    make(HunyuanVideo15Transformer3DModel, tiny.shake, **SIZES_15, use_meanflow=True).save_pretrained(tmp_path)
    plan = plan_warm_start("hunyuanvideo-1.5", tmp_path, CHOICES)
    assert len(plan.dropped) == 4 and all("timestep_embedder_r" in key for key in plan.dropped)
    assert all("mean-flow" in reason for reason in plan.dropped.values())


# --- HunyuanVideo-1.0 ------------------------------------------------------------------------------------------------


def run_10(theirs, model_input, time_B, text, pooled, guidance_B):
    return theirs(
        model_input,
        1000 * (1 - time_B),
        text.hidden_BLD,
        text.mask_BL.float(),
        pooled,
        guidance=None if guidance_B is None else 1000 * guidance_B,
    ).sample


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("guided", [False, True], ids=["plain", "guidance-distilled"])
@pytest.mark.parametrize("with_sound", [False, True], ids=["silent", "with sound"])
def test_hunyuanvideo_10_text_to_video(tiny, started, patch, guided, with_sound):
    theirs, ours = started("hunyuanvideo-1.0", patch_size=patch, guidance_embeds=guided)
    latents, given, mask, time_B = inputs(tiny.noise, first_frame=False)
    text, pooled = padded(tiny.noise, TEXT, (6, 3), seed=13), tiny.noise(B, POOLED, seed=16)
    guidance_B = torch.tensor([6.0, 1.0]) if guided else None
    expected = expected_tokens(run_10(theirs, latents, time_B, text, pooled, guidance_B), patch)

    context = Context(text.hidden_BLD, text.mask_BL, pooled_BE=pooled, guidance_B=guidance_B)
    state = state_of(latents, given, mask, time_B, patch)
    velocity = ours(state, sound(tiny.noise, time_B) if with_sound else None, context)[0]
    assert velocity.shape == (B, F * (Y // patch) * (X // patch), C * patch**2)
    assert_close(velocity, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [2 * C, 2 * C + 1], ids=["skyreels-v1", "hunyuanvideo-i2v"])
def test_hunyuanvideo_10_first_frame_by_channels(tiny, started, channels):
    sizes = {"patch_size": 2, "in_channels": channels, "guidance_embeds": False}
    theirs, ours = started("hunyuanvideo-1.0", image_condition_type="latent_concat", **sizes)
    latents, given, mask, time_B = inputs(tiny.noise, first_frame=True)
    text, pooled = padded(tiny.noise, TEXT, (6, 3), seed=13), tiny.noise(B, POOLED, seed=16)
    model_input = torch.cat([latents, given, mask], dim=1)[:, :channels]
    expected = expected_tokens(run_10(theirs, model_input, time_B, text, pooled, None), 2)
    context = Context(text.hidden_BLD, text.mask_BL, pooled_BE=pooled)
    velocity = ours(state_of(latents, given, mask, time_B, 2), None, context)[0]
    assert_close(velocity, expected, atol=1e-5, rtol=1e-5)


def test_hunyuanvideo_10_first_frame_by_token_replacement_is_a_reference_at_frame_0(tiny, started):
    theirs, ours = started("hunyuanvideo-1.0", patch_size=2, image_condition_type="token_replace", guidance_embeds=True)
    latents, given, mask, time_B = inputs(tiny.noise, first_frame=True)
    text, pooled = padded(tiny.noise, TEXT, (6, 3), seed=13), tiny.noise(B, POOLED, seed=16)
    guidance_B = torch.tensor([6.0, 4.0])
    model_input = torch.cat([given[:, :, :1], latents[:, :, 1:]], dim=2)
    expected = expected_tokens(run_10(theirs, model_input, time_B, text, pooled, guidance_B), 2)

    whole = state_of(model_input, torch.zeros_like(given), torch.zeros_like(mask), time_B, 2)
    first = (Y // 2) * (X // 2)
    state = replace(
        whole,
        **{name: getattr(whole, name)[:, first:] for name in ("noisy_BNC", "given_BNC", "mask_BN1")},
        positions_NP=whole.positions_NP[first:],
        reference_BRC=whole.noisy_BNC[:, :first],
        reference_positions_RP=whole.positions_NP[:first],
    )
    context = Context(text.hidden_BLD, text.mask_BL, pooled_BE=pooled, guidance_B=guidance_B)
    assert_close(ours(state, None, context)[0], expected[:, first:], atol=1e-5, rtol=1e-5)


# --- the released sizes ----------------------------------------------------------------------------------------------


class Shapes:
    """The tensors of a model that is not there: names and shapes, as `open_tensors` would find them."""

    where = "memory"

    def __init__(self, model):
        self.shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("kind", "cls", "sizes"),
    [
        ("hunyuanvideo-1.5", HunyuanVideo15Transformer3DModel, {}),
        ("hunyuanvideo-1.0", HunyuanVideoTransformer3DModel, {}),
        ("hunyuanvideo-1.0", HunyuanVideoTransformer3DModel, {"image_condition_type": "token_replace"}),
        (
            "hunyuanvideo-1.0",
            HunyuanVideoTransformer3DModel,
            {"image_condition_type": "latent_concat", "in_channels": 33, "guidance_embeds": False},
        ),
    ],
    ids=["1.5", "1.0", "1.0 i2v by tokens", "1.0 i2v by channels"],
)
def test_the_maps_cover_the_released_sizes(monkeypatch, tmp_path, kind, cls, sizes):
    """Both classes' defaults are the released sizes; `plan_warm_start` refuses whatever is left over or missing."""
    with torch.device("meta"):
        theirs = cls(**sizes)
    theirs.save_config(tmp_path)
    monkeypatch.setattr("openreels.models.warm_start.open_tensors", lambda folder: Shapes(theirs))
    plan = plan_warm_start(kind, tmp_path, {"audio_channels": 40})
    used = [key for keys in plan.theirs.values() for key in keys]
    assert sorted(used) == sorted(theirs.state_dict()) and not plan.dropped
    # 2 x 2 patches: 64 columns for V, 64 for I, one for M, where the source has four a channel.
    extra = 0 if kind == "hunyuanvideo-1.5" else 3072 * (129 - 4 * theirs.config.in_channels)
    assert plan.numbers(plan.theirs) == theirs.num_parameters() + extra


# --- what does not fit -----------------------------------------------------------------------------------------------


@pytest.fixture
def source(tiny, tmp_path):
    """A source's folder of three shards, with its tensors in one dict, to be broken and written again."""
    theirs = make(HunyuanVideo15Transformer3DModel, tiny.shake, **SIZES_15)
    theirs.save_pretrained(tmp_path / "source", max_shard_size="80KB")
    files = sorted((tmp_path / "source").glob("*.safetensors"))
    assert len(files) > 2

    def write(tensors: dict) -> None:
        for file in (tmp_path / "source").glob("*.safetensors*"):
            file.unlink()
        save_file(tensors, tmp_path / "source" / "model.safetensors")

    tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
    return tmp_path / "source", tensors, write


def test_missing_unexpected_and_misshapen_tensors_are_all_named(source):
    folder, tensors, write = source
    del tensors["transformer_blocks.1.attn.to_k.weight"]
    tensors["transformer_blocks.9.norm1.linear.weight"] = torch.zeros(3)
    tensors["proj_out.weight"] = torch.zeros(4, 31)
    write(tensors)
    with pytest.raises(ValueError) as caught:
        plan_warm_start("hunyuanvideo-1.5", folder, CHOICES)
    message = str(caught.value)
    assert "missing: transformer_blocks.1.attn.to_k.weight" in message
    assert "unexpected: transformer_blocks.9.norm1.linear.weight" in message
    assert "wrong shape: proj_out.weight (4, 31) for video.to_velocity.weight (4, 32)" in message


def test_another_model_is_refused_by_its_config(source, tmp_path):
    with pytest.raises(ValueError, match=r"HunyuanVideo-1\.0 is a HunyuanVideoTransformer3DModel, and"):
        plan_warm_start("hunyuanvideo-1.0", source[0], CHOICES)
    with pytest.raises(ValueError, match=r"one of hunyuanvideo-1\.5, hunyuanvideo-1\.0, not 'wan'"):
        plan_warm_start("wan", source[0], CHOICES)
    with pytest.raises(ValueError, match="not a diffusers folder"):
        find_source(tmp_path)
    settings = {"_class_name": "HunyuanVideo15Transformer3DModel", "patch_size_t": 2}
    with pytest.raises(ValueError, match="a source with patch_size_t 1; its"):
        transformer_config(SOURCES["hunyuanvideo-1.5"], settings)


def test_shards_change_nothing_and_a_full_folder_is_left_alone(source, tmp_path):
    plan = plan_warm_start("hunyuanvideo-1.5", source[0], CHOICES)
    counted = []
    write_warm_start(plan, tmp_path / "one", seed=3)
    write_warm_start(plan, tmp_path / "many", seed=3, max_shard_size="50KB", progress=lambda *at: counted.append(at))
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 5 and counted[-1][0] == counted[-1][1]
    one, many = (SkyReelsV4Transformer.from_pretrained(tmp_path / name).state_dict() for name in ("one", "many"))
    assert all(torch.equal(one[name], many[name]) for name in one)
    with pytest.raises(ValueError, match="holds something already"):
        write_warm_start(plan, tmp_path / "one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "one", "source"]


def test_a_failure_leaves_nothing_behind(source, tmp_path):
    def stop(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_warm_start(plan_warm_start("hunyuanvideo-1.5", source[0], CHOICES), tmp_path / "ours", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


# --- what is fresh ---------------------------------------------------------------------------------------------------


def test_fresh_parts_start_as_their_modules_do(source, tmp_path):
    """Zero where they must change nothing, drawn elsewhere, and not the same numbers twice."""
    write_warm_start(plan_warm_start("hunyuanvideo-1.5", source[0], CHOICES), tmp_path / "ours", dtype=torch.bfloat16)
    state = load_file(tmp_path / "ours" / "diffusion_pytorch_model.safetensors")
    made = SkyReelsV4Transformer.from_config(SkyReelsV4Transformer.load_config(tmp_path / "ours")).state_dict()
    plan = plan_warm_start("hunyuanvideo-1.5", source[0], CHOICES)
    for name in set(state) - set(plan.theirs):
        assert state[name].dtype == torch.bfloat16
        assert state[name].any() == made[name].any(), name
        if made[name].any() and made[name].std() > 0:
            assert_close(state[name].float().std(), made[name].std(), rtol=0.5, atol=0, msg=name)
    assert not torch.equal(state["layers.0.audio.stream.to_out.weight"], state["layers.1.audio.stream.to_out.weight"])


def test_the_audio_branch_can_be_a_copy_of_the_video_branch(source, tmp_path):
    write_warm_start(plan_warm_start("hunyuanvideo-1.5", source[0], CHOICES, audio="copy"), tmp_path / "ours")
    model = SkyReelsV4Transformer.from_pretrained(tmp_path / "ours")
    for layer in model.layers:
        video = layer.video.state_dict()
        assert all(torch.equal(value, video[name]) for name, value in layer.audio.state_dict().items())
    refiner = model.video.embed_text.state_dict()
    assert all(torch.equal(value, refiner[name]) for name, value in model.audio.embed_text.state_dict().items())
    assert not model.audio.to_velocity.weight.any()


def test_a_source_without_an_entrance_is_refused(tiny, shaken):
    context = replace(tiny.context(), glyph=tiny.context(), guidance_B=torch.ones(2))
    with pytest.raises(ValueError, match="glyph, guidance_B, for which this model has no entrance"):
        shaken(tiny.video(), None, context)
