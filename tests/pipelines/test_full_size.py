"""The pipeline with the classes of the full-size model, tiny and random: diffusers' codecs, transformers' Qwen."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch

import openreels
from openreels.media import Clip
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.pipelines.components import loading_dtypes
from openreels.pipelines.reel import Reel
from openreels.pipelines.registry import POCKET, capabilities, folder_of, offered
from openreels.pipelines.v4 import SkyReelsV4Pipeline
from openreels.request import Request, RequestError

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = {"num_frames": 5, "height": 32, "width": 48}
OFFERS = {"durations": [0.2, 1.0], "resolutions": ["32p"], "duration": 0.25, "resolution": "32p"}
PICTURE = Clip(np.random.default_rng(0).integers(0, 256, (1, 24, 40, 3), dtype=np.uint8), Fraction(1))


@pytest.fixture(scope="module")
def make(full, tiny):
    """A pipeline of these classes; parts are made anew."""

    def pipeline(
        video: str = "AutoencoderKLHunyuanVideo15",
        text: str = "qwen2_5_vl",
        audio_channels: int = 1,
        patch: int = 1,
        **config,
    ) -> SkyReelsV4Pipeline:
        tokenizer = full.tokenizer()
        audio_vae, vocoder = full.sound_autoencoder()
        torch.manual_seed(0)
        model = SkyReelsV4Transformer(
            4 * patch**2, 6 * audio_channels, 32, 2, (4, 6, 6), 1, 1, modulation_rank=4, time_bias_slope=1.0
        )
        return SkyReelsV4Pipeline(
            transformer=tiny.shake(model, std=0.05).eval(),
            video_vae=full.video_autoencoder(video),
            audio_vae=audio_vae,
            vocoder=vocoder,
            text_encoder=full.qwen(text, tokenizer),
            tokenizer=tokenizer,
            image_processor=full.eyes(),
            feature_extractor=full.ears(),
            steps=2,
            audio_channels=audio_channels,
            offers=OFFERS,
            **config,
        )

    return pipeline


@pytest.fixture(scope="module")
def pipeline(make):
    return make()


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    pipeline.save_pretrained(folder)
    return folder


def same(one, two) -> bool:
    return torch.equal(one.frames, two.frames) and torch.equal(one.audio, two.audio)


# --- what it makes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("video", "text", "patch"),
    [
        ("AutoencoderKLHunyuanVideo15", "qwen2_5_vl", 1),
        ("AutoencoderKLHunyuanVideo", "qwen3_vl", 2),
        ("AutoencoderKLWan", "qwen2_5_omni_thinker", 1),
    ],
)
def test_text_becomes_video_and_sound(make, video, text, patch):
    made = make(video, text, patch=patch)(["a red ball", "a ball on the grass"], **SIZES)
    assert made.frames.shape == (2, 5, 32, 48, 3) and made.frames.dtype == torch.uint8
    assert made.audio.shape == (2, 13_781)  # 5 / 16 s at 44.1 kHz
    assert made.audio.isfinite().all() and made.audio.abs().max() <= 1 and made.frames.float().std() > 1


@pytest.mark.parametrize(("video", "audio"), [(True, False), (False, True)])
def test_one_modality_alone(pipeline, video, audio):
    made = pipeline("a red ball", video=video, audio=audio, **SIZES)
    assert (made.frames is not None, made.audio is not None) == (video, audio)


def test_latents_have_the_papers_proportions(pipeline):
    made = pipeline("a red ball", num_frames=81, height=16, width=16, output_type="latent", num_inference_steps=1)
    assert made.frames.shape == (1, 21, 4) and made.audio.shape == (1, 218, 6)


def test_stereo_costs_width_and_no_tokens(make):
    stereo = make(audio_channels=2)
    assert stereo("a ball", output_type="latent", **SIZES).audio.shape == (1, 13, 12)
    made = stereo("a ball", **SIZES)
    assert made.audio.shape == (1, 2, 13_781)
    clip = Reel(stereo, "stereo", "0" * 16)(Request(prompt="a ball"))
    assert clip.audio.shape[0] == 2 and clip.sample_rate == 44_100


def test_a_reference_changes_what_is_made(pipeline):
    plain = pipeline("a ball like cat", **SIZES)
    seen = pipeline("a ball like @cat", media={"cat": PICTURE}, **SIZES)
    assert not torch.equal(plain.frames, seen.frames)
    assert same(seen, pipeline("a ball like @cat", media=[{"cat": PICTURE}], **SIZES))


@pytest.mark.parametrize(
    ("prompt", "media", "sentence"),
    [
        ("a ball like @cat", None, "@cat is no reference"),
        ("a ball", {"cat": PICTURE}, "does not mention @cat"),
        (["a ball"], [{}, {}], "one negative prompt, seed and mapping of media per prompt"),
    ],
)
def test_tags_and_media_must_match(pipeline, prompt, media, sentence):
    with pytest.raises(ValueError, match=sentence):
        pipeline(prompt, media=media, **SIZES)


def test_pocket_reads_no_pictures(tiny_pipeline):
    with pytest.raises(ValueError, match="reads text only"):
        tiny_pipeline("a ball like @cat", media={"cat": PICTURE}, **SIZES)


def test_the_text_encoder_runs_once_for_the_same_prompt_and_may_leave_its_device(make):
    pipeline = make()
    runs, moves = [], []
    pipeline.text_encoder.register_forward_hook(lambda *_: runs.append(1))
    move = pipeline.text_encoder.to
    pipeline.text_encoder.to = lambda *to: moves.append(str(to[0])) or move(*to)
    first = pipeline("a red ball", park_text_encoder=True, **SIZES)
    assert len(runs) == 2 and moves == ["cpu"]  # the prompt and the negative one
    assert same(first, pipeline("a red ball", **SIZES))
    assert len(runs) == 2


# --- parts that do not fit -------------------------------------------------------------------------------------------


def test_parts_that_do_not_fit_are_refused(pipeline, full):
    parts = dict(pipeline.components)
    for name, part, sentence in (
        ("video_vae", parts["vocoder"], "video_vae must be one of PocketVideoVAE, AutoencoderKLHunyuanVideo15"),
        ("audio_vae", parts["video_vae"], "audio_vae must be one of PocketAudioVAE, MMAudioVAE"),
        ("text_encoder", parts["video_vae"], "text_encoder must be one of T5EncoderModel, Qwen2_5_VLModel"),
        ("video_vae", full.video_autoencoder("AutoencoderKLWan", z_dim=5), "made for video_channels 4"),
    ):
        with pytest.raises(ValueError, match=sentence):
            SkyReelsV4Pipeline(**(parts | {name: part}))
    with pytest.raises(ValueError, match=r"audio_vae gives 12 channels, and the transformer was made for .* 6"):
        SkyReelsV4Pipeline(**parts, audio_channels=2)


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["qwen2_5_vl", "qwen3_vl", "qwen2_5_omni_thinker"])
def test_save_and_load_as_a_diffusers_folder(make, text, tmp_path):
    pipeline = make(text=text, text_layer=-2, system_prompt="You are a ball.", fps=8)
    pipeline.save_pretrained(tmp_path)
    again = SkyReelsV4Pipeline.from_pretrained(tmp_path)
    media = {"cat": PICTURE}
    assert same(pipeline("a @cat", media=media, **SIZES), again("a @cat", media=media, **SIZES))
    assert (again.encoder.layer, again.encoder.system_prompt, again.config.fps) == (-2, "You are a ball.", 8)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert {name: value[1] for name, value in index.items() if isinstance(value, list) and all(value)} == {
        name: type(part).__name__ for name, part in pipeline.components.items() if part is not None
    }


def test_a_folder_says_what_it_can_do(folder):
    can = capabilities(folder)
    assert (can.durations, can.resolutions, can.resolution, can.duration) == ((0.2, 1.0), ("32p",), "32p", 0.25)
    assert (can.fps, can.sample_rate, can.tasks) == (16, 44_100, POCKET.tasks)
    (folder / "no-model").mkdir(exist_ok=True)
    with pytest.raises(RequestError, match="no complete V4 model"):
        capabilities(folder / "no-model")
    with pytest.raises(RequestError, match="not sizes"):
        offered({"offers": {"sizes": 3}}, 16_000)


def test_pocket_can_do_what_it_could(tiny_pipeline):
    assert capabilities(folder_of("pocket")) == POCKET == Reel(tiny_pipeline, "tiny", "0" * 16).capabilities


def test_a_folder_is_a_reel(folder):
    reel = openreels.load(str(folder), device="cpu")
    clip = reel(Request(prompt="a red ball on the grass", seed=3))
    assert clip.frames.shape == (4, 32, 32, 3) and clip.fps == 16
    assert clip.audio.shape == (1, 11_025) and clip.sample_rate == 44_100
    two = reel.generate_batch([Request(prompt="a ball", aspect="16:9", seed=seed) for seed in (3, 4)])
    assert two[0].frames.shape == (4, 32, 56, 3) and not np.array_equal(two[0].frames, two[1].frames)
    with pytest.raises(RequestError, match="resolutions of 32p, not 64p"):
        reel(Request(prompt="a ball", resolution="64p"))


def test_large_parts_load_in_the_fast_format(folder):
    fast = torch.bfloat16
    assert loading_dtypes(folder, fast) == {
        "default": torch.float32,
        "transformer": fast,
        "video_vae": fast,
        "text_encoder": fast,
    }
    assert "text_encoder" not in loading_dtypes(folder_of("pocket"), fast)
    pipeline = SkyReelsV4Pipeline.from_pretrained(folder, dtype=loading_dtypes(folder, fast))
    made = pipeline("a ball like @cat", media={"cat": PICTURE}, **SIZES)
    assert made.frames.float().std() > 1 and made.audio.isfinite().all()


# --- offload ---------------------------------------------------------------------------------------------------------


def test_every_network_is_in_the_order_of_offload(pipeline):
    networks = [name for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)]
    optional = ["brief", "reader", "planner"]
    assert sorted(pipeline.model_cpu_offload_seq.split("->")) == sorted([*networks, *optional])


@pytest.mark.parametrize("kind", ["block_level", "leaf_level"])
def test_group_offload_changes_nothing(make, kind, tmp_path):
    """Off to disk between uses: a part that were not fetched back in time would compute with nothing."""
    pipeline = make()
    expected = pipeline("a red ball", **SIZES)
    pipeline.encoder.forget()
    pipeline.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_type=kind,
        num_blocks_per_group=1 if kind == "block_level" else None,
        offload_to_disk_path=str(tmp_path),
        exclude_modules=["video_vae", "audio_vae", "vocoder"],
    )
    assert len(list(tmp_path.rglob("*.safetensors"))) >= 4  # two layers, the rest, the text encoder
    assert same(pipeline("a red ball", **SIZES), expected)


@pytest.mark.parametrize("text", ["qwen2_5_vl", "qwen2_5_omni_thinker"])
def test_references_reach_encoder_and_transformer(make, text):
    """A picture and a stereo sound; an encoder without ears reads the sound's name."""
    reel = Reel(make(text=text, audio_channels=2), "tiny", "0" * 16)
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 11_025)).astype(np.float32)
    media = {"cat.png": PICTURE, "voice.wav": Clip(audio=noise, sample_rate=44_100)}
    given = [{"tag": "cat", "path": "cat.png"}, {"tag": "anna", "path": "voice.wav"}]

    def made(references: list, prompt: str = "@cat says hello like @anna", **fields) -> Clip:
        request = Request.parse({"prompt": prompt, "references": references, "steps": 1} | fields)
        return reel(request, media=media)

    both, plain = made(given), made([], "cat says hello like anna")
    assert both.frames.shape == plain.frames.shape and both.audio.shape == plain.audio.shape == (2, 11_025)
    assert not np.array_equal(both.frames, plain.frames) and not np.array_equal(both.audio, plain.audio)
    driven = made(given[:1], "@cat speaks", audio="voice.wav", duration=0.25)
    assert np.array_equal(driven.audio, noise)
