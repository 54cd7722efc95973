"""The released V3 checkpoints -> components, from any of the layouts they come in; and back into a diffusers folder.

Layouts (spec/v3.md, section 2):
    - a diffusers folder: transformer/, vae/, text_encoder/, tokenizer/ (R2V as released; what `save_diffusers` wrote);
    - an original-Wan folder: transformer/ and shot_transformer/, the other parts as .pth beside them (V2V);
    - a flat one: the transformer's files and all other parts directly in the folder (A2V).
A part is looked for by itself, so mixed folders work, and a transformer may be quantised (one GGUF file).

Everything is read strictly: see `models/checkpoint.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import init_empty_weights

from openreels.models.checkpoint import GGUFFile, TensorSource, load_strictly, open_tensors, read_json
from openreels.models.wan import SkyReelsV3Transformer
from openreels.models.wan_keys import (
    CLIP_ORIGINAL,
    TRANSFORMER_ORIGINAL,
    UMT5_ORIGINAL,
    VAE_ORIGINAL,
    is_original_transformer,
    transformer_config,
)
from openreels.pipelines.registry import V3
from openreels.pipelines.v3.budget import Network
from openreels.pipelines.v3.planning import MODELS, Model

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan, DiffusionPipeline
    from transformers import CLIPVisionModel, PreTrainedTokenizerBase, UMT5EncoderModel, Wav2Vec2Model

__all__ = [
    "Layout",
    "detect",
    "load_audio_encoder",
    "load_components",
    "load_image_encoder",
    "load_text_encoder",
    "load_tokenizer",
    "load_transformer",
    "load_vae",
    "pipeline_class",
    "planned",
    "save_diffusers",
]

# Where each part may lie in a folder, first match wins: diffusers' names, then those of the released checkpoints.
PLACES = {
    "vae": ("vae", "Wan2.1_VAE.pth", "*VAE*.pth"),
    "text_encoder": ("text_encoder", "models_t5_umt5-xxl-enc-bf16.pth", "models_t5*.pth"),
    "tokenizer": ("tokenizer", "google/umt5-xxl"),
    "image_encoder": ("image_encoder", "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", "models_clip*.pth"),
    "audio_encoder": ("audio_encoder", "chinese-wav2vec2-base", "*wav2vec2*"),
}
COMPONENTS = {
    "r2v": ("transformer", "vae", "text_encoder", "tokenizer"),
    "v2v": ("transformer", "shot_transformer", "vae", "text_encoder", "tokenizer"),
    "a2v": ("transformer", "vae", "text_encoder", "tokenizer", "image_encoder", "audio_encoder"),
}
PIPELINES = {
    "r2v": ("openreels.pipelines.v3.r2v", "SkyReelsV3ReferencePipeline"),
    "v2v": ("openreels.pipelines.v3.extension", "SkyReelsV3ExtensionPipeline"),
    "a2v": ("openreels.pipelines.v3.avatar", "SkyReelsV3AvatarPipeline"),
}
# Either network of a V2V folder may be left out by someone who needs only the other: network -> the task it is for.
ALTERNATIVES = {"transformer": "v2v", "shot_transformer": "v2v-shot"}


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    variant: "r2v", "v2v" or "a2v". original: whether the transformer has the original Wan names. config: the arguments
    of its class. components: where each part that the variant needs was found; parts that are missing are not in it.
    """

    folder: Path
    variant: str
    original: bool
    config: Mapping[str, Any]
    components: Mapping[str, Path]

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the networks that were found are for; one of V2V's two may be missing."""
        if self.variant != "v2v":
            return V3[self.variant].tasks
        return tuple(task for name, task in ALTERNATIVES.items() if name in self.components)

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts of the variant that were not found and cannot be done without."""
        return tuple(
            name for name in COMPONENTS[self.variant] if name not in self.components and name not in ALTERNATIVES
        )


def detect(folder: Path | str) -> Layout:
    """Which V3 model a folder holds and where its parts lie; reads names and shapes only.

    Raises ValueError, one sentence, for what is no folder or no V3 checkpoint.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder.")
    transformers = {name: folder / name for name in ("transformer", "shot_transformer") if _has_weights(folder / name)}
    if not transformers and _has_weights(folder):
        transformers["transformer"] = folder
    if not transformers:
        raise ValueError(
            f"{folder} holds no V3 checkpoint: no safetensors or GGUF file in it, in transformer/ or shot_transformer/."
        )
    first = next(iter(transformers.values()))
    config, original = _transformer_config(first, open_tensors(first))
    # The folder says so even where its weights were left on the hub.
    variant = "v2v" if (folder / "shot_transformer").is_dir() else config["variant"]
    others = {name: _find(folder, PLACES[name]) for name in COMPONENTS[variant] if name in PLACES}
    return Layout(
        folder, variant, original, config, transformers | {name: path for name, path in others.items() if path}
    )


def planned(layout: Layout, new_shot: bool = False) -> Model:
    """What `planning` needs to know of a checkpoint: its network's sizes, and how it is stored.

    Parts beside the transformer are taken for the released ones. new_shot: which of V2V's two networks.
    """
    model = MODELS["v2v-shot" if new_shot and layout.variant == "v2v" else layout.variant]
    model = replace(model, network=Network.of(layout.config))
    path = next(layout.components[name] for name in ALTERNATIVES if name in layout.components)
    quantised = sum(file.stat().st_size for file in path.glob("*.gguf"))
    if quantised:
        inside = model.network.num_layers * model.network.block_linear_parameters
        model = replace(model, stored=(quantised - model.network.outer_bytes()) / inside)
    return model


def load_components(
    folder: Path | str,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    tasks: Collection[str] | None = None,
) -> dict[str, Any]:
    """All components of a checkpoint by the names its pipeline takes.

    Transformers and text encoder in `dtype`; VAE and audio encoder in float32, the image encoder in float16 where
    `dtype` is not float32, as released. One of V2V's two transformers is None where the folder lacks it, or where its
    task ("v2v", "v2v-shot") is not among `tasks`.

    Raises ValueError: a bad folder, missing parts, weights that do not fit.
    """
    layout = detect(folder)
    if layout.missing:
        places = "; ".join(f"{name}: {' or '.join(PLACES[name])}" for name in layout.missing)
        raise ValueError(f"{layout.folder} is a {layout.variant} checkpoint without all its parts ({places}).")
    at = layout.components
    networks = [name for name in COMPONENTS[layout.variant] if name in ALTERNATIVES]
    if layout.variant == "v2v" and tasks is not None:
        if not set(tasks) & set(layout.tasks):
            there, wanted = (", ".join(names) for names in (layout.tasks, tasks))
            raise ValueError(f"{layout.folder} has the network for {there}, not that for {wanted}.")
        at = {name: path for name, path in at.items() if ALTERNATIVES.get(name) in (None, *tasks)}
    components: dict[str, Any] = {
        name: load_transformer(at[name], dtype, device, layout.variant) if name in at else None for name in networks
    }
    components["vae"] = load_vae(at["vae"], torch.float32, device)
    components["text_encoder"] = load_text_encoder(at["text_encoder"], dtype, device)
    components["tokenizer"] = load_tokenizer(at["tokenizer"])
    if layout.variant == "a2v":
        half = dtype if dtype is torch.float32 else torch.float16
        components["image_encoder"] = load_image_encoder(at["image_encoder"], half, device)
        components["audio_encoder"] = load_audio_encoder(at["audio_encoder"], torch.float32, device)
    return components


def save_diffusers(components: Mapping[str, Any], folder: Path | str) -> None:
    """Write components (as `load_components` gives them) as one diffusers folder, which `detect` and the pipelines'
    `from_pretrained` read. The transformers keep diffusers' names: those of R2V and V2V load into its own Wan class.
    """
    present = [components.get(name) for name in ("transformer", "shot_transformer")]
    variant = next(network for network in present if network is not None).config.variant
    pipeline_class(variant)(**components).save_pretrained(folder)


def pipeline_class(variant: str) -> type[DiffusionPipeline]:
    """The pipeline of "r2v", "v2v" or "a2v", imported only now: it brings everything else with it."""
    module, name = PIPELINES[variant]
    return getattr(import_module(module), name)


# -- parts -----------------------------------------------------------------------------------------------------------


def load_transformer(
    path: Path | str,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    variant: str | None = None,
) -> SkyReelsV3Transformer:
    """A transformer from a folder or file, in original or diffusers' names, its config from shapes and config.json.

    GGUF: matrices stay quantised and are multiplied in `dtype`. variant: overrides what names and shapes suggest (a
    V2V network under diffusers' names looks like R2V).
    """
    path = Path(path)
    source = open_tensors(path)
    config, original = _transformer_config(path, source, variant)
    with init_empty_weights():
        model = SkyReelsV3Transformer(**config)
    names = TRANSFORMER_ORIGINAL.ours if original else _same
    if isinstance(source, GGUFFile):
        _prepare_gguf(model, source, names, dtype)
    return load_strictly(
        model, source, names, dtype=dtype, device=device, keep_in_fp32=SkyReelsV3Transformer._keep_in_fp32_modules
    )


def load_vae(
    path: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> AutoencoderKLWan:
    """The VAE from a diffusers folder or `Wan2.1_VAE.pth`."""
    from diffusers import AutoencoderKLWan

    path = Path(path)
    source = open_tensors(path)
    original = "conv1.weight" in source.shapes
    if original:
        settings = {"base_dim": _shape(source, "encoder.conv1.weight")[0], "z_dim": _shape(source, "conv2.weight")[0]}
    else:
        settings = _settings(path)
    with init_empty_weights():
        model = AutoencoderKLWan.from_config(settings)
    return load_strictly(model, source, VAE_ORIGINAL.ours if original else _same, dtype=dtype, device=device)


def load_text_encoder(
    path: Path | str, dtype: torch.dtype = torch.bfloat16, device: torch.device | str = "cpu"
) -> UMT5EncoderModel:
    """umT5's encoder from a transformers folder or `models_t5_umt5-xxl-enc-*.pth`."""
    from transformers import UMT5Config, UMT5EncoderModel

    path = Path(path)
    source = open_tensors(path)
    original = "token_embedding.weight" in source.shapes
    config = UMT5Config.from_dict(_umt5_settings(source) if original else _settings(path))
    with init_empty_weights():
        model = UMT5EncoderModel(config)
    # transformers' rule: in float16 the MLP's output leaves its range.
    keep = ("wo",) if dtype is torch.float16 else ()
    tied = {"encoder.embed_tokens.weight": "shared.weight"}
    names = UMT5_ORIGINAL.ours if original else _same
    return load_strictly(model, source, names, dtype=dtype, device=device, keep_in_fp32=keep, tied=tied)


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerBase:
    """The tokenizer of the text encoder, from a folder."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"the tokenizer in {path} cannot be read: {str(error).splitlines()[0]}") from error


def load_image_encoder(
    path: Path | str,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    num_attention_heads: int = 16,
) -> CLIPVisionModel:
    """CLIP's image tower from a transformers folder or `models_clip_*.pth` (whose text tower is not read).

    num_attention_heads: of a .pth, which does not say; 16 in ViT-H.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModel

    path = Path(path)
    source = open_tensors(path)
    original = "visual.cls_embedding" in source.shapes
    settings = _clip_settings(source, num_attention_heads) if original else _settings(path)
    with init_empty_weights():
        model = CLIPVisionModel(CLIPVisionConfig.from_dict(settings))
    # Within transformers 5 the model lost the prefix that its files still have.
    prefix = "vision_model." if next(iter(model.state_dict())).startswith("vision_model.") else ""

    def names(key: str) -> tuple[str, ...] | None:
        ours = CLIP_ORIGINAL.ours(key) if original else (key.removeprefix("vision_model."),)
        return ours and tuple(prefix + name for name in ours)

    # The projection behind the pooled token, the text tower, and a buffer that older files carry.
    ignore = ("visual.head", "textual.*", "log_scale", "*embeddings.position_ids")
    return load_strictly(model, source, names, dtype=dtype, device=device, ignore=ignore)


def load_audio_encoder(
    path: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Wav2Vec2Model:
    """wav2vec2 from a transformers folder. `config.do_normalize` says whether its waveforms are to be normalised."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    path = Path(path)
    source = open_tensors(path)
    # Masks of training, whose vector some files lack.
    config = Wav2Vec2Config.from_dict(_settings(path) | {"mask_time_prob": 0.0, "mask_feature_prob": 0.0})
    front_end = path / "preprocessor_config.json"
    if front_end.is_file():
        config.do_normalize = bool(read_json(front_end).get("do_normalize", True))
    with init_empty_weights():
        model = Wav2Vec2Model(config)
    # Heads of pretraining are left out; weight norm changed its spelling with torch 2.
    ignore = ("*masked_spec_embed", "quantizer.*", "project_q.*", "project_hid.*", "lm_head.*")

    def names(key: str) -> tuple[str]:
        key = key.removeprefix("wav2vec2.")
        key = key.replace("conv.weight_g", "conv.parametrizations.weight.original0")
        return (key.replace("conv.weight_v", "conv.parametrizations.weight.original1"),)

    return load_strictly(model, source, names, dtype=dtype, device=device, ignore=ignore)


# -- how -------------------------------------------------------------------------------------------------------------


def _has_weights(folder: Path) -> bool:
    patterns = ("*.safetensors", "*.safetensors.index.json", "*.gguf")
    return folder.is_dir() and any(any(folder.glob(pattern)) for pattern in patterns)


def _find(folder: Path, places: tuple[str, ...]) -> Path | None:
    return next((path for place in places for path in sorted(folder.glob(place))), None)


def _same(key: str) -> tuple[str]:
    return (key,)


def _settings(path: Path) -> dict:
    """config.json beside the weights. Raises ValueError if there is none."""
    folder = path if path.is_dir() else path.parent
    if not (folder / "config.json").is_file():
        raise ValueError(f"there is no config.json in {folder}.")
    return read_json(folder / "config.json")


def _transformer_config(path: Path, source: TensorSource, variant: str | None = None) -> tuple[dict, bool]:
    """Arguments of the transformer whose weights lie at `path`, and whether they have the original names."""
    shapes = source.shapes
    original = is_original_transformer(shapes)
    if original:
        renamed = {key: TRANSFORMER_ORIGINAL.ours(key) for key in shapes}
        shapes = {names[0]: shapes[key] for key, names in renamed.items() if names}
    folder = path if path.is_dir() else path.parent
    settings = _settings(path) if (folder / "config.json").is_file() else None
    try:
        return transformer_config(shapes, settings, original=original, variant=variant), original
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _shape(source: TensorSource, key: str) -> tuple[int, ...]:
    if key not in source.shapes:
        raise ValueError(f"{source.where} is not what it should be: there is no {key}.")
    return source.shapes[key]


def _count(source: TensorSource, prefix: str) -> int:
    """Number of blocks whose keys start with `prefix` and a number."""
    return 1 + max(int(key.removeprefix(prefix).split(".")[0]) for key in source.shapes if key.startswith(prefix))


def _umt5_settings(source: TensorSource) -> dict:
    vocabulary, width = _shape(source, "token_embedding.weight")
    buckets, heads = _shape(source, "blocks.0.pos_embedding.embedding.weight")
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": _shape(source, "blocks.0.attn.q.weight")[0] // heads,
        "d_ff": _shape(source, "blocks.0.ffn.fc1.weight")[0],
        "num_layers": _count(source, "blocks."),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
    }


def _clip_settings(source: TensorSource, heads: int) -> dict:
    patch = _shape(source, "visual.patch_embedding.weight")[-1]
    return {
        "hidden_size": _shape(source, "visual.cls_embedding")[-1],
        "intermediate_size": _shape(source, "visual.transformer.0.mlp.0.weight")[0],
        "num_hidden_layers": _count(source, "visual.transformer."),
        "num_attention_heads": heads,
        "patch_size": patch,
        "image_size": patch * math.isqrt(_shape(source, "visual.pos_embedding")[1] - 1),
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    }


def _prepare_gguf(model: SkyReelsV3Transformer, source: GGUFFile, names, dtype: torch.dtype) -> None:
    """Layers that multiply by quantised matrices; whatever else the file has quantised is spread out."""
    from diffusers.quantizers.gguf.utils import GGUFParameter, _replace_with_gguf_linear, dequantize_gguf_tensor

    keep = model._keep_in_fp32_modules
    quantised = {}
    for key, value in source.state.items():
        name = (names(key) or (key,))[0]
        if not isinstance(value, GGUFParameter):
            continue
        parent = name.rpartition(".")[0]
        layer = model.get_submodule(parent) if parent in dict(model.named_modules()) else None
        if isinstance(layer, torch.nn.Linear) and name.endswith(".weight") and not set(keep) & set(name.split(".")):
            quantised[name] = value
        else:
            source.state[key] = dequantize_gguf_tensor(value)
    _replace_with_gguf_linear(model, dtype, quantised, modules_to_not_convert=list(keep))
