"""The multimodal encoder on the real classes of transformers, tiny and random. Legend: see encoders/multimodal.py."""

import inspect
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from openreels.encoders.multimodal import BEFORE, SYSTEM_PROMPT, MultimodalEncoder
from openreels.encoders.prompt import PromptParts
from openreels.media import Clip

pytestmark = pytest.mark.usefixtures("one_thread")
SEEING = ("qwen2_5_vl", "qwen3_vl", "qwen2_5_omni_thinker")
RANDOM = np.random.default_rng(0)
PICTURE = Clip(RANDOM.integers(0, 256, (1, 24, 40, 3), dtype=np.uint8), Fraction(1))
OTHER = Clip(RANDOM.integers(0, 256, (1, 24, 40, 3), dtype=np.uint8), Fraction(1))
CLIP = Clip(RANDOM.integers(0, 256, (24, 16, 24, 3), dtype=np.uint8), Fraction(16))
SOUND = Clip(audio=(0.1 * RANDOM.standard_normal((2, 44_100))).astype(np.float32), sample_rate=44_100)


@pytest.fixture(scope="module")
def tokenizer(full):
    return full.tokenizer()


@pytest.fixture(scope="module")
def make(full, tokenizer):
    """An encoder of one kind; models are made once."""
    models = {}

    def encoder(kind: str = "qwen2_5_vl", **options) -> MultimodalEncoder:
        if kind not in models:
            models[kind] = full.qwen(kind, tokenizer)
        parts = {"image_processor": full.eyes(), "feature_extractor": full.ears(), "clip_pixels": (64, 4096)}
        return MultimodalEncoder(tokenizer, models[kind], **(parts | options))

    return encoder


def counted(encoder: MultimodalEncoder) -> list[int]:
    """Counts how often the model runs from now on."""
    runs = []
    encoder.model.register_forward_hook(lambda *_: runs.append(1))
    return runs


def vision_tokens(encoder: MultimodalEncoder, prompt: PromptParts) -> int:
    """By how many tokens the media make the context longer."""
    return encoder.encode([prompt]).mask_BL.shape[1] - encoder.encode([prompt.text]).mask_BL.shape[1]


# --- text ------------------------------------------------------------------------------------------------------------


def test_the_system_prompt_is_the_one_of_hunyuan_video():
    from diffusers import HunyuanVideo15Pipeline

    parameters = inspect.signature(HunyuanVideo15Pipeline._get_mllm_prompt_embeds).parameters
    assert parameters["system_message"].default == SYSTEM_PROMPT


@pytest.mark.parametrize("kind", ["qwen2_5_vl_text", "qwen2_5_vl"])
def test_plain_text_gives_what_the_pipeline_of_hunyuan_video_gives(make, tokenizer, kind):
    from diffusers import HunyuanVideo15Pipeline

    prompts = ["a red ball bounces", "", "红色的球 on the grass"]
    encoder = make(kind)
    template = len(tokenizer(BEFORE.format(SYSTEM_PROMPT)).input_ids)
    text_model = encoder.model if kind == "qwen2_5_vl_text" else encoder.model.language_model
    with torch.no_grad():
        hidden_BLD, mask_BL = HunyuanVideo15Pipeline._get_mllm_prompt_embeds(
            text_model, tokenizer, prompts, torch.device("cpu"), tokenizer_max_length=80, crop_start=template
        )
    ours = encoder.encode(prompts)
    length = ours.mask_BL.shape[1]
    assert torch.equal(ours.mask_BL, mask_BL[:, :length].bool()) and not mask_BL[:, length:].any()
    for row, mask_L in enumerate(ours.mask_BL):
        assert_close(ours.hidden_BLD[row, mask_L], hidden_BLD[row, :length][mask_L], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", (*SEEING, "qwen2_5_vl_text"))
def test_a_context_has_the_width_of_the_model_and_is_finite(make, kind):
    encoder = make(kind)
    context = encoder.encode(["a red ball bounces on the grass", "a ball"])
    assert context.hidden_BLD.shape[::2] == (2, encoder.width) and context.hidden_BLD.dtype == torch.float32
    assert context.hidden_BLD.isfinite().all() and context.mask_BL.dtype == torch.bool
    assert context.mask_BL[0].all() and not context.mask_BL[1].all()
    assert_close(context.hidden_BLD[1:, : context.mask_BL[1].sum()], encoder.encode(["a ball"]).hidden_BLD)


def test_the_layer_is_a_choice(make):
    prompt = ["a red ball"]
    third, last = make().encode(prompt).hidden_BLD, make(layer=-1).encode(prompt).hidden_BLD
    assert not torch.allclose(third, last)
    with torch.no_grad():
        norm = make().model.language_model.norm
        before = make(layer=-2).encode(prompt).hidden_BLD  # behind the last layer but one
        assert not torch.allclose(norm(before), last)
    with pytest.raises(ValueError, match="the layer must be from -4 to 3"):
        make(layer=7)


def test_the_template_is_cropped_and_yet_read(make):
    one, two = (make(system_prompt=text) for text in ("You are a ball.", "You are a helpful assistant on the grass."))
    a, b = one.encode(["a red ball"]), two.encode(["a red ball"])
    assert a.hidden_BLD.shape == b.hidden_BLD.shape
    assert not torch.allclose(a.hidden_BLD, b.hidden_BLD, atol=1e-4)


def test_special_tokens_in_a_prompt_are_plain_words(make, tokenizer):
    encoder = make()
    spelled = encoder.encode(["a<|image_pad|>ball"]).mask_BL.shape[1] - encoder.encode(["aball"]).mask_BL.shape[1]
    assert spelled == len(tokenizer("<|image_pad|>", split_special_tokens=True).input_ids) > 3


# --- media -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SEEING)
def test_a_picture_is_as_many_tokens_as_its_merged_patches_and_two_ends(make, kind):
    prompt = PromptParts.of("a red ball like @image_1 on the grass", {"image_1": PICTURE})
    assert vision_tokens(make(kind), prompt) == (24 // 8) * (40 // 8) + 2


@pytest.mark.parametrize("kind", SEEING)
def test_a_clip_is_looked_at_twice_a_second(make, kind):
    encoder = make(kind)
    prompt = PromptParts.of("a ball as in @video_1", {"video_1": CLIP})  # 1.5 s: 3 frames, the last one twice
    tokens = 2 * (16 // 8) * (24 // 8)
    stamps = [len(encoder._words(f"<{t} seconds>")) for t in ("0.2", "1.0")]
    assert vision_tokens(encoder, prompt) == tokens + (4 + sum(stamps) if kind == "qwen3_vl" else 2)


@pytest.mark.parametrize("kind", SEEING)
@pytest.mark.parametrize("medium", [PICTURE, CLIP])
def test_what_is_seen_matters_from_there_on(make, kind, medium):
    encoder = make(kind)
    changed = Clip(255 - medium.frames, medium.fps)
    one, two = (
        encoder.encode([PromptParts.of("a ball @x on the grass", {"x": m})]).hidden_BLD for m in (medium, changed)
    )
    change_L = (one - two).abs().amax(-1)[0]
    before = len(encoder._words("a ball @x"))
    if kind == "qwen3_vl" and medium is CLIP:
        before += len(encoder._words("<0.2 seconds>"))
    assert change_L[: before + 1].max() == 0 and change_L[before + 1 :].min() > 1e-5


@pytest.mark.parametrize("kind", SEEING)
def test_a_still_clip_looks_like_its_picture(make, full, kind):
    """Every second frame into one patch, channels before frames: what the tower sees is the same."""
    encoder = make(kind)
    picture = encoder._inputs(encoder._draft(PromptParts((PICTURE,))))
    still = encoder._inputs(encoder._draft(PromptParts((Clip(PICTURE.frames.repeat(2, 0), Fraction(2)),))))
    assert_close(still["pixel_values_videos"], picture["pixel_values"])
    assert torch.equal(still["video_grid_thw"], picture["image_grid_thw"])


def test_frames_of_a_patch_keep_their_order(make):
    """Against the definition: patch (i, j) of frames 2k and 2k + 1, channel by channel."""
    encoder = make(clip_fps=16)
    parts = encoder._inputs(encoder._draft(PromptParts((CLIP,))))
    pixels, grid = parts["pixel_values_videos"], parts["video_grid_thw"][0].tolist()
    assert grid == [12, 4, 6]
    mean, std = (np.array(getattr(encoder.image_processor, f"image_{name}")) for name in ("mean", "std"))
    frames = (CLIP.frames / 255 - mean) / std
    # Patches come in blocks of 2 x 2: patch 3 of pair 5 is row 1, column 1.
    expected = frames[10:12, 4:8, 4:8].transpose(3, 0, 1, 2).reshape(-1)
    np.testing.assert_allclose(pixels[5 * 24 + 3].numpy(), expected, atol=1e-5)


def test_sound_is_heard(make):
    encoder = make("qwen2_5_omni_thinker")
    prompt = PromptParts.of("a ball that says @Audio-0 on the grass", {"Audio-0": SOUND})
    assert vision_tokens(encoder, prompt) == 25 + 2  # one second
    tone = np.sin(np.arange(44_100) / 10).astype(np.float32)[None]
    again = PromptParts.of(prompt.text, {"Audio-0": Clip(audio=tone, sample_rate=44_100)})
    assert (encoder.encode([prompt]).hidden_BLD - encoder.encode([again]).hidden_BLD).abs().max() > 1e-5


def test_everything_at_once(make):
    encoder = make("qwen2_5_omni_thinker")
    media = {"image_1": PICTURE, "image_10": OTHER, "video_1": CLIP, "Audio-0": SOUND}
    words = "@image_10 and @image_1 dance as in @video_1 and say @Audio-0, says @image_1"
    prompt = PromptParts.of(words, media)
    assert vision_tokens(encoder, prompt) == 17 + 17 + 14 + 27
    swapped = PromptParts.of(words, media | {"image_1": OTHER, "image_10": PICTURE})
    assert not torch.allclose(encoder.encode([prompt]).hidden_BLD, encoder.encode([swapped]).hidden_BLD, atol=1e-4)


def test_a_clip_with_sound_is_seen_and_heard(make):
    both = Clip(CLIP.frames, CLIP.fps, SOUND.audio, SOUND.sample_rate)
    prompt = PromptParts(("a ball", both))
    assert vision_tokens(make("qwen2_5_omni_thinker"), prompt) == 14 + 27
    assert vision_tokens(make("qwen2_5_vl"), prompt) == 14


@pytest.mark.parametrize(
    ("kind", "options", "medium", "sentence"),
    [
        ("qwen2_5_vl_text", {}, PICTURE, "no eyes"),
        ("qwen2_5_vl", {"image_processor": None}, CLIP, "no eyes .*without image_processor"),
        ("qwen2_5_vl", {}, SOUND, "no ears"),
        ("qwen2_5_omni_thinker", {"feature_extractor": None}, SOUND, "no ears"),
        (
            "qwen2_5_omni_thinker",
            {},
            Clip(audio=np.zeros((1, 80_000), np.float32), sample_rate=16_000),
            "hears up to 4 s",
        ),
    ],
)
def test_what_it_cannot_read_is_refused(make, kind, options, medium, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(kind, **options).encode([PromptParts((medium,))])


def test_parts_that_do_not_fit_are_refused(make, full, tokenizer):
    from transformers import GPT2Config, GPT2Model

    processor = full.eyes()
    processor.patch_size = 14
    with pytest.raises(ValueError, match=r"image_processor cuts patches of \(14, 2, 2\)"):
        make(image_processor=processor)
    with pytest.raises(ValueError, match="text_encoder must be a model of the kinds qwen2_5_vl"):
        MultimodalEncoder(tokenizer, GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=8)))


# --- memory ----------------------------------------------------------------------------------------------------------


def test_the_same_inputs_run_the_model_once(make):
    encoder = make()
    runs = counted(encoder)
    prompt = PromptParts.of("a ball @x", {"x": PICTURE})
    first = encoder.encode([prompt, "a ball"])
    again = encoder.encode([PromptParts.of("a ball @x", {"x": Clip(PICTURE.frames.copy(), PICTURE.fps)}), "a ball"])
    assert len(runs) == 2 and torch.equal(first.hidden_BLD, again.hidden_BLD)
    encoder.encode([PromptParts.of("a ball @x", {"x": OTHER})])
    assert len(runs) == 3
    encoder.forget()
    encoder.encode(["a ball"])
    assert len(runs) == 4


def test_only_so_many_results_are_kept(make):
    encoder = make(remembers=2)
    runs = counted(encoder)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        encoder.encode([prompt])
    assert len(runs) == 4  # a, b, c, and b again: "a" was used in between
    three = encoder.encode(["a", "b", "c"])
    assert three.hidden_BLD.shape[0] == 3


def test_parked_it_still_remembers_and_returns_when_needed(make):
    encoder = make()
    first = encoder.encode(["a ball"])
    encoder.park()
    runs = counted(encoder)
    assert torch.equal(encoder.encode(["a ball"]).hidden_BLD, first.hidden_BLD)
    assert not runs and encoder._home is not None
    encoder.encode(["a red ball"])
    assert runs and encoder._home is None
