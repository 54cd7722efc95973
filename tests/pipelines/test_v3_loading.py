"""V3 checkpoints in every layout they come in, written at tiny sizes and loaded back.

The full-size names are in tests/golden/test_v3_keys.py, the files themselves in tests/models/test_checkpoint.py.
"""

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel, Wav2Vec2Config, Wav2Vec2Model

from openreels.encoders.text import train_tokenizer
from openreels.encoders.umt5 import UMT5TextEncoder
from openreels.encoders.wav2vec import Wav2VecEncoder
from openreels.models.key_map import KeyMap
from openreels.models.wan import SkyReelsV3Transformer
from openreels.models.wan_keys import CLIP_ORIGINAL, TRANSFORMER_ORIGINAL, UMT5_ORIGINAL, VAE_ORIGINAL
from openreels.pipelines.v3.loading import (
    PIPELINES,
    detect,
    load_audio_encoder,
    load_components,
    load_image_encoder,
    load_text_encoder,
    load_transformer,
    load_vae,
    save_diffusers,
)
from openreels.pipelines.v3.work import weight_sample

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, TEXT_DIM = 32, 16
SIZES = {"num_attention_heads": 2, "attention_head_dim": 16, "text_dim": TEXT_DIM, "freq_dim": 16, "ffn_dim": 48}
AVATAR = {"in_channels": 36, "image_dim": WIDTH, "added_kv_proj_dim": WIDTH, "audio_dim": 8, "audio_layers": 12}
# What the original classes write into config.json.
CONFIG = {"dim": WIDTH, "ffn_dim": 48, "freq_dim": 16, "num_heads": 2, "num_layers": 2, "eps": 1e-6, "text_len": 512}


def drawn(model: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval().requires_grad_(False)


def transformer(variant: str, seed: int = 0) -> SkyReelsV3Transformer:
    extra = AVATAR if variant == "a2v" else {}
    return drawn(SkyReelsV3Transformer(**SIZES, num_layers=2, variant=variant, **extra), seed)


@dataclass(frozen=True)
class Parts:
    vae: AutoencoderKLWan
    text_encoder: UMT5EncoderModel
    image_encoder: CLIPVisionModel
    audio_encoder: Wav2Vec2Model
    tokenizer: object


@pytest.fixture(scope="module")
def parts() -> Parts:
    tokenizer = train_tokenizer(["a red ball bounces"], 300)
    text = {"vocab_size": len(tokenizer), "d_model": TEXT_DIM, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4}
    image = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 16}
    sound = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 12, "num_attention_heads": 2}
    sound |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "conv_dim": [4] * 7}
    return Parts(
        drawn(AutoencoderKLWan(base_dim=4), 1),
        drawn(UMT5EncoderModel(UMT5Config(**text, dropout_rate=0.0)), 2),
        drawn(CLIPVisionModel(CLIPVisionConfig(**image, image_size=28, patch_size=14, hidden_act="gelu")), 3),
        drawn(Wav2Vec2Model(Wav2Vec2Config(**sound)), 4),
        tokenizer,
    )


# --- writing ---------------------------------------------------------------------------------------------------------


def original(model: nn.Module, names: KeyMap, prefix: str = "") -> dict[str, Tensor]:
    """A model's tensors under the original names, parts put together again."""
    pieces: dict[str, dict[int, Tensor]] = {}
    for key, value in model.state_dict().items():
        if key != "encoder.embed_tokens.weight":
            theirs, index, _ = names.theirs(key.removeprefix(prefix))
            pieces.setdefault(theirs, {})[index] = value
    return {key: torch.cat([parts[i] for i in sorted(parts)]) for key, parts in pieces.items()}


def write_original_transformer(model: SkyReelsV3Transformer, folder: Path, files: int = 2, **config) -> None:
    folder.mkdir(exist_ok=True)
    weights = original(model, TRANSFORMER_ORIGINAL)
    for index in range(files):
        save_file({key: weights[key] for key in sorted(weights)[index::files]}, folder / f"model-{index}.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG | {"in_dim": model.config.in_channels} | config))


def write_pth(parts: Parts, folder: Path) -> None:
    torch.save(original(parts.vae, VAE_ORIGINAL), folder / "Wan2.1_VAE.pth")
    torch.save(original(parts.text_encoder, UMT5_ORIGINAL), folder / "models_t5_umt5-xxl-enc-bf16.pth")
    parts.tokenizer.save_pretrained(folder / "google" / "umt5-xxl")


def write_avatar(parts: Parts, folder: Path, config: bool = True) -> SkyReelsV3Transformer:
    """The flat layout: everything in the root."""
    model = transformer("a2v")
    write_original_transformer(model, folder, files=3, context_tokens=32, audio_window=5, model_type="i2v")
    if not config:
        (folder / "config.json").unlink()
    write_pth(parts, folder)
    clip = original(parts.image_encoder, CLIP_ORIGINAL, "vision_model.")
    clip["visual.cls_embedding"] = clip["visual.cls_embedding"][None, None]
    clip["visual.pos_embedding"] = clip["visual.pos_embedding"][None]
    clip |= {
        "visual.head": torch.zeros(2, 2),
        "log_scale": torch.zeros(()),
        "textual.token_embedding.weight": torch.ones(2),
    }
    torch.save(clip, folder / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth")
    parts.audio_encoder.save_pretrained(folder / "chinese-wav2vec2-base")
    (folder / "chinese-wav2vec2-base" / "preprocessor_config.json").write_text('{"do_normalize": false}')
    return model


def same_weights(loaded: nn.Module, written: nn.Module, dtype: torch.dtype = torch.float32) -> None:
    assert type(loaded) is type(written) and not loaded.training
    theirs = written.state_dict()
    assert list(loaded.state_dict()) == list(theirs)
    for key, value in loaded.state_dict().items():
        assert not value.is_meta and torch.equal(value, theirs[key].to(value.dtype)), key
        if value.dtype != dtype:
            assert value.dtype == torch.float32 and set(key.split(".")) & set(loaded._keep_in_fp32_modules), key


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_diffusers_folder(parts, tmp_path):
    """R2V as released: diffusers' own class name, every part in a folder of its own, the text encoder in shards."""
    model = transformer("r2v")
    model.save_pretrained(tmp_path / "transformer", max_shard_size="50KB")
    assert len(list((tmp_path / "transformer").glob("*.safetensors"))) > 1
    config = json.loads((tmp_path / "transformer" / "config.json").read_text())
    own = [key for key in config if key.startswith("audio_")] + ["variant", "vae_scale"]
    config = {key: value for key, value in config.items() if key not in own} | {"_class_name": "WanTransformer3DModel"}
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(config))
    parts.vae.save_pretrained(tmp_path / "vae")
    parts.text_encoder.save_pretrained(tmp_path / "text_encoder", max_shard_size="5KB")
    parts.tokenizer.save_pretrained(tmp_path / "tokenizer")

    layout = detect(str(tmp_path))
    assert (layout.variant, layout.original, layout.missing) == ("r2v", False, ())
    loaded = load_components(tmp_path, torch.float32)
    assert list(loaded) == ["transformer", "vae", "text_encoder", "tokenizer"]
    same_weights(loaded["transformer"], model)
    same_weights(loaded["vae"], parts.vae)
    same_weights(loaded["text_encoder"], parts.text_encoder)
    encode, expected = (
        UMT5TextEncoder(m, t)
        for m, t in [(loaded["text_encoder"], loaded["tokenizer"]), (parts.text_encoder, parts.tokenizer)]
    )
    assert_close(encode(["a red ball"]), expected(["a red ball"]), atol=1e-6, rtol=0)


def test_original_folder_with_two_networks(parts, tmp_path):
    """V2V as released."""
    extend, switch = transformer("v2v"), transformer("v2v", seed=9)
    write_original_transformer(extend, tmp_path / "transformer")
    write_original_transformer(switch, tmp_path / "shot_transformer", files=1)
    write_pth(parts, tmp_path)

    layout = detect(tmp_path)
    assert (layout.variant, layout.original, layout.missing) == ("v2v", True, ())
    loaded = load_components(tmp_path, torch.bfloat16)
    assert list(loaded) == ["transformer", "shot_transformer", "vae", "text_encoder", "tokenizer"]
    same_weights(loaded["transformer"], extend, torch.bfloat16)
    same_weights(loaded["shot_transformer"], switch, torch.bfloat16)
    assert loaded["transformer"].config.variant == "v2v" and loaded["transformer"].dtype == torch.bfloat16
    same_weights(loaded["vae"], parts.vae)
    same_weights(loaded["text_encoder"], parts.text_encoder, torch.bfloat16)

    (tmp_path / "transformer").rename(tmp_path / "elsewhere")
    only = load_components(tmp_path, torch.float32)
    assert only["transformer"] is None
    same_weights(only["shot_transformer"], switch)


@pytest.mark.parametrize("config", [True, False])
def test_flat_folder(parts, tmp_path, config):
    """A2V as released; without config.json the head width must be the released one."""
    model = write_avatar(parts, tmp_path, config)
    if not config:
        with pytest.raises(ValueError, match=r"width of 32 does not divide into 0 heads: config\.json must give"):
            detect(tmp_path)
        return
    layout = detect(tmp_path)
    assert (layout.variant, layout.original, layout.missing) == ("a2v", True, ())
    loaded = load_components(tmp_path, torch.float32)
    same_weights(loaded["transformer"], model)
    same_weights(loaded["image_encoder"], parts.image_encoder)
    assert load_components(tmp_path, torch.bfloat16)["image_encoder"].dtype == torch.float16  # as the release has it
    written = {key: value for key, value in parts.audio_encoder.state_dict().items() if key != "masked_spec_embed"}
    assert all(torch.equal(value, written[key]) for key, value in loaded["audio_encoder"].state_dict().items())
    wave = torch.linspace(-1, 1, 4000)
    expected = Wav2VecEncoder(parts.audio_encoder)
    expected.normalise = False
    assert_close(Wav2VecEncoder(loaded["audio_encoder"])(wave), expected(wave), atol=1e-6, rtol=0)
    pixels = torch.rand(1, 3, 28, 28)
    assert_close(loaded["image_encoder"](pixels)[0], parts.image_encoder(pixels)[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("variant", ["r2v", "v2v", "a2v"])
def test_converted_to_a_diffusers_folder(parts, tmp_path, variant):
    """What the converter writes is detected, loads to the same tensors, and by the pipeline's own `from_pretrained`."""
    components = {"transformer": transformer(variant), "vae": parts.vae}
    components |= {"text_encoder": parts.text_encoder, "tokenizer": parts.tokenizer}
    if variant == "v2v":
        components["shot_transformer"] = transformer("v2v", seed=9)
    if variant == "a2v":
        components |= {"image_encoder": parts.image_encoder, "audio_encoder": parts.audio_encoder}
    save_diffusers(components, tmp_path / "converted")
    layout = detect(tmp_path / "converted")
    assert (layout.variant, layout.original, layout.missing) == (variant, False, ())
    loaded = load_components(tmp_path / "converted", torch.float32)
    assert set(loaded) == set(components)
    for name in set(components) - {"tokenizer", "audio_encoder"}:
        same_weights(loaded[name], components[name])
    module, name = PIPELINES[variant]
    pipeline = getattr(import_module(module), name).from_pretrained(tmp_path / "converted")
    same_weights(pipeline.transformer, components["transformer"])


# --- one part at a time -----------------------------------------------------------------------------------------------


def test_variant_by_the_callers_word(tmp_path):
    transformer("r2v").save_pretrained(tmp_path)
    assert load_transformer(tmp_path, torch.float32, variant="v2v").config.variant == "v2v"


def test_text_encoder_in_float16_keeps_what_would_overflow(parts, tmp_path):
    parts.text_encoder.save_pretrained(tmp_path)
    model = load_text_encoder(tmp_path, torch.float16)
    assert model.encoder.block[0].layer[1].DenseReluDense.wo.weight.dtype == torch.float32
    assert model.shared.weight.dtype == torch.float16 and model.encoder.embed_tokens.weight is model.shared.weight


def test_older_spellings_of_wav2vec(parts, tmp_path):
    """pytorch_model.bin of a model for pretraining, weight norm as torch 1 wrote it."""
    parts.audio_encoder.config.save_pretrained(tmp_path)
    weights = {f"wav2vec2.{key}": value for key, value in parts.audio_encoder.state_dict().items()}
    conv = "wav2vec2.encoder.pos_conv_embed.conv."
    for index, letter in enumerate("gv"):
        weights[f"{conv}weight_{letter}"] = weights.pop(f"{conv}parametrizations.weight.original{index}")
    torch.save(
        weights | {"quantizer.codevectors": torch.zeros(2), "project_q.weight": torch.zeros(2)},
        tmp_path / "pytorch_model.bin",
    )
    model = load_audio_encoder(tmp_path)
    written = parts.audio_encoder.state_dict()
    assert all(torch.equal(value, written[key]) for key, value in model.state_dict().items())


def test_quantised_transformer(tmp_path):
    """GGUF in original names: matrices stay quantised, the rest is as it was."""
    gguf = pytest.importorskip("gguf")
    wide = {"num_attention_heads": 2, "attention_head_dim": 32, "text_dim": 32, "freq_dim": 32, "ffn_dim": 64}
    model = drawn(SkyReelsV3Transformer(**wide, num_layers=1, variant="v2v"), 0)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "wan")
    for key, value in original(model, TRANSFORMER_ORIGINAL).items():
        kind = gguf.GGMLQuantizationType.Q8_0 if value.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(key, gguf.quants.quantize(value.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (tmp_path / "config.json").write_text(json.dumps({"num_heads": 2, "in_dim": 16}))

    loaded = load_transformer(tmp_path / "model.gguf", torch.float32)
    assert loaded.blocks[0].attn1.to_q.weight.dtype == torch.uint8
    assert loaded.proj_out.weight.dtype == torch.float32
    assert len(weight_sample(loaded)) == 1 + len(list(loaded.parameters()))
    inputs = torch.randn(1, 16, 2, 4, 4), torch.tensor([500]), torch.randn(1, 3, 32)
    with torch.no_grad():
        expected = model(*inputs).sample
        assert (loaded(*inputs).sample - expected).abs().max() < 0.02 * expected.abs().max()


# --- what cannot be loaded --------------------------------------------------------------------------------------------


def test_bad_folders(parts, tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        detect(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no V3 checkpoint: no safetensors or GGUF file in it"):
        detect(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"not a Wan transformer: there is no patch_embedding\.weight"):
        detect(tmp_path)
    (tmp_path / "a.safetensors").unlink()
    write_original_transformer(transformer("v2v"), tmp_path)
    with pytest.raises(ValueError, match=r"is a v2v checkpoint without all its parts \(vae: vae or Wan2\.1_VAE\.pth"):
        load_components(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config\.json must hold a JSON object"):
        detect(tmp_path)


def test_every_key_is_accounted_for(tmp_path):
    weights = original(transformer("v2v"), TRANSFORMER_ORIGINAL)
    weights["blocks.0.self_attn.extra.weight"] = torch.zeros(1)
    weights["head.head.bias"] = torch.zeros(3)
    del weights["blocks.1.norm3.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(ValueError) as caught:
        load_transformer(tmp_path)
    for part in (
        "do not fit SkyReelsV3Transformer; missing: blocks.1.norm2.bias;",
        "unexpected: blocks.0.self_attn.extra.weight",
        "wrong shape: head.head.bias (3,) instead of (64,)",
    ):
        assert part in str(caught.value)


def test_a_config_of_another_network(tmp_path):
    write_original_transformer(transformer("v2v"), tmp_path, dim=64)
    with pytest.raises(ValueError, match=r"config\.json does not fit the weights: dim 64 \(the weights: 32\)"):
        load_transformer(tmp_path)


@pytest.mark.parametrize(
    ("load", "key"),
    [
        (load_vae, "conv1.weight"),
        (load_text_encoder, "token_embedding.weight"),
        (load_image_encoder, "visual.cls_embedding"),
    ],
)
def test_a_part_that_is_none(tmp_path, load, key):
    torch.save({key: torch.zeros(2, 2)}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"part\.pth is not what it should be: there is no"):
        load(tmp_path / "part.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"there is no config\.json"):
        load(tmp_path / "part.pth")
