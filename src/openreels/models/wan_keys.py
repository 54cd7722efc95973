"""Key maps (`key_map.py`) between the released V3 checkpoints' names and the classes that hold them.

Source: spec/v3.md section 8 and 3.1; the full-size key tables of the official classes are a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from openreels.models.key_map import KeyMap

__all__ = [
    "CLIP_ORIGINAL",
    "TRANSFORMER_ORIGINAL",
    "UMT5_ORIGINAL",
    "VAE_ORIGINAL",
    "is_original_transformer",
    "transformer_config",
]


def _prefixed(theirs: str, ours: str, rules: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(theirs + a, ours + b) for a, b in rules]


_ATTENTION = [("q.*", "to_q.*"), ("k.*", "to_k.*"), ("v.*", "to_v.*"), ("o.*", "to_out.0.*")]
_ATTENTION += [("norm_q.*", "norm_q.*"), ("norm_k.*", "norm_k.*")]

# The transformer: original Wan names -> diffusers' names, which are ours.
TRANSFORMER_ORIGINAL = KeyMap(
    [
        ("patch_embedding.*", "patch_embedding.*"),
        ("text_embedding.0.*", "condition_embedder.text_embedder.linear_1.*"),
        ("text_embedding.2.*", "condition_embedder.text_embedder.linear_2.*"),
        ("time_embedding.0.*", "condition_embedder.time_embedder.linear_1.*"),
        ("time_embedding.2.*", "condition_embedder.time_embedder.linear_2.*"),
        ("time_projection.1.*", "condition_embedder.time_proj.*"),
        ("img_emb.proj.0.*", "condition_embedder.image_embedder.norm1.*"),
        ("img_emb.proj.1.*", "condition_embedder.image_embedder.ff.net.0.proj.*"),
        ("img_emb.proj.3.*", "condition_embedder.image_embedder.ff.net.2.*"),
        ("img_emb.proj.4.*", "condition_embedder.image_embedder.norm2.*"),
        ("audio_proj.proj1.*", "audio_embedder.proj_first.*"),
        ("audio_proj.proj1_vf.*", "audio_embedder.proj_later.*"),
        ("audio_proj.proj2.*", "audio_embedder.proj_hidden.*"),
        ("audio_proj.proj3.*", "audio_embedder.proj_tokens.*"),
        ("audio_proj.norm.*", "audio_embedder.norm.*"),
        ("blocks.#.modulation", "blocks.#.scale_shift_table"),
        *_prefixed("blocks.#.self_attn.", "blocks.#.attn1.", _ATTENTION),
        *_prefixed("blocks.#.cross_attn.", "blocks.#.attn2.", _ATTENTION),
        ("blocks.#.cross_attn.k_img.*", "blocks.#.attn2.add_k_proj.*"),
        ("blocks.#.cross_attn.v_img.*", "blocks.#.attn2.add_v_proj.*"),
        ("blocks.#.cross_attn.norm_k_img.*", "blocks.#.attn2.norm_added_k.*"),
        ("blocks.#.norm3.*", "blocks.#.norm2.*"),  # the norm before text attention; norm1 and norm2 hold no weights
        ("blocks.#.norm_x.*", "blocks.#.norm_audio.*"),
        ("blocks.#.audio_cross_attn.q_linear.*", "blocks.#.attn_audio.to_q.*"),
        ("blocks.#.audio_cross_attn.kv_linear.*", "blocks.#.attn_audio.to_kv.*"),
        ("blocks.#.audio_cross_attn.proj.*", "blocks.#.attn_audio.to_out.*"),
        ("blocks.#.ffn.0.*", "blocks.#.ffn.net.0.proj.*"),
        ("blocks.#.ffn.2.*", "blocks.#.ffn.net.2.*"),
        ("head.modulation", "scale_shift_table"),
        ("head.head.*", "proj_out.*"),
    ]
)

# `Wan2.1_VAE.pth` -> diffusers' `AutoencoderKLWan`.
_RESIDUAL = [("residual.0.gamma", "norm1.gamma"), ("residual.2.*", "conv1.*")]
_RESIDUAL += [("residual.3.gamma", "norm2.gamma"), ("residual.6.*", "conv2.*"), ("shortcut.*", "conv_shortcut.*")]
_SAMPLER = [("resample.*", "resample.*"), ("time_conv.*", "time_conv.*")]


def _vae_half(half: str) -> list[tuple[str, str]]:
    return [
        (f"{half}.conv1.*", f"{half}.conv_in.*"),
        *_prefixed(f"{half}.middle.0.", f"{half}.mid_block.resnets.0.", _RESIDUAL),
        (f"{half}.middle.1.*", f"{half}.mid_block.attentions.0.*"),
        *_prefixed(f"{half}.middle.2.", f"{half}.mid_block.resnets.1.", _RESIDUAL),
        (f"{half}.head.0.gamma", f"{half}.norm_out.gamma"),
        (f"{half}.head.2.*", f"{half}.conv_out.*"),
    ]


VAE_ORIGINAL = KeyMap(
    [
        ("conv1.*", "quant_conv.*"),
        ("conv2.*", "post_quant_conv.*"),
        *_vae_half("encoder"),
        *_vae_half("decoder"),
        *_prefixed("encoder.downsamples.#.", "encoder.down_blocks.#.", _RESIDUAL + _SAMPLER),
        # Upwards, each of the four levels is three residual blocks and an upsampler (the last level has none).
        *(
            rule
            for level in range(4)
            for index in range(3)
            for rule in _prefixed(
                f"decoder.upsamples.{4 * level + index}.", f"decoder.up_blocks.{level}.resnets.{index}.", _RESIDUAL
            )
        ),
        *(
            rule
            for level in range(3)
            for rule in _prefixed(
                f"decoder.upsamples.{4 * level + 3}.", f"decoder.up_blocks.{level}.upsamplers.0.", _SAMPLER
            )
        ),
    ]
)

# `models_t5_umt5-xxl-enc-*.pth` -> transformers' `UMT5EncoderModel`.
UMT5_ORIGINAL = KeyMap(
    [
        ("token_embedding.weight", "shared.weight"),
        ("norm.weight", "encoder.final_layer_norm.weight"),
        ("blocks.#.norm1.weight", "encoder.block.#.layer.0.layer_norm.weight"),
        ("blocks.#.attn.q.weight", "encoder.block.#.layer.0.SelfAttention.q.weight"),
        ("blocks.#.attn.k.weight", "encoder.block.#.layer.0.SelfAttention.k.weight"),
        ("blocks.#.attn.v.weight", "encoder.block.#.layer.0.SelfAttention.v.weight"),
        ("blocks.#.attn.o.weight", "encoder.block.#.layer.0.SelfAttention.o.weight"),
        (
            "blocks.#.pos_embedding.embedding.weight",
            "encoder.block.#.layer.0.SelfAttention.relative_attention_bias.weight",
        ),
        ("blocks.#.norm2.weight", "encoder.block.#.layer.1.layer_norm.weight"),
        ("blocks.#.ffn.gate.0.weight", "encoder.block.#.layer.1.DenseReluDense.wi_0.weight"),
        ("blocks.#.ffn.fc1.weight", "encoder.block.#.layer.1.DenseReluDense.wi_1.weight"),
        ("blocks.#.ffn.fc2.weight", "encoder.block.#.layer.1.DenseReluDense.wo.weight"),
    ]
)

# `models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth` -> transformers' `CLIPVisionModel`. The prefix of the image
# tower's names is left out on our side: it changed within transformers 5.
CLIP_ORIGINAL = KeyMap(
    [
        ("visual.cls_embedding", "embeddings.class_embedding"),
        ("visual.pos_embedding", "embeddings.position_embedding.weight"),
        ("visual.patch_embedding.weight", "embeddings.patch_embedding.weight"),
        ("visual.pre_norm.*", "pre_layrnorm.*"),
        ("visual.post_norm.*", "post_layernorm.*"),
        ("visual.transformer.#.norm1.*", "encoder.layers.#.layer_norm1.*"),
        ("visual.transformer.#.norm2.*", "encoder.layers.#.layer_norm2.*"),
        (
            "visual.transformer.#.attn.to_qkv.*",
            (
                "encoder.layers.#.self_attn.q_proj.*",
                "encoder.layers.#.self_attn.k_proj.*",
                "encoder.layers.#.self_attn.v_proj.*",
            ),
        ),
        ("visual.transformer.#.attn.proj.*", "encoder.layers.#.self_attn.out_proj.*"),
        ("visual.transformer.#.mlp.0.*", "encoder.layers.#.mlp.fc1.*"),
        ("visual.transformer.#.mlp.2.*", "encoder.layers.#.mlp.fc2.*"),
    ]
)

# What config.json calls things: their name (original Wan, spec/v3.md section 2) -> ours.
_SETTINGS = {
    "in_dim": "in_channels",
    "out_dim": "out_channels",
    "num_heads": "num_attention_heads",
    "intermediate_dim": "audio_hidden_dim",
    "output_dim": "audio_token_dim",
    "context_tokens": "audio_tokens",
}
_HEAD_DIM = 128  # of all released networks; the only number that neither shapes nor, sometimes, a config tells
_AUDIO_LAYERS = 12  # of the speech encoder; its width follows from the shapes


def is_original_transformer(keys: Sequence[str]) -> bool:
    """Whether a transformer's keys are the original Wan names (else: diffusers', which are ours)."""
    return "head.head.weight" in keys


def transformer_config(
    shapes: Mapping[str, Sequence[int]],
    settings: Mapping[str, object] | None = None,
    *,
    original: bool,
    variant: str | None = None,
) -> dict:
    """The arguments of `SkyReelsV3Transformer` for a checkpoint.

    Args:
        shapes: of its tensors, under our names. original: whether its own names were the original ones.
        settings: its config.json in either naming; needed only for what shapes cannot tell (heads, eps).
        variant: "r2v", "v2v", "a2v"; None = by settings, sound (A2V), names (original: V2V, diffusers': R2V).

    Raises ValueError where tensors are missing that say what the network is, or where settings contradict the shapes.
    """
    settings = {_SETTINGS.get(name, name): value for name, value in (settings or {}).items()}
    told = _from_shapes(shapes, settings)
    dim = told.pop("dim")
    heads = settings.get("num_attention_heads", dim // _HEAD_DIM)
    if not heads or dim % heads:
        raise ValueError(f"a width of {dim} does not divide into {heads} heads: config.json must give num_heads.")
    told |= {"num_attention_heads": heads, "attention_head_dim": dim // heads}
    wrong = [
        f"{name} {settings[name]} (the weights: {value})"
        for name, value in {**told, "dim": dim}.items()
        if settings.get(name) is not None and _plain(settings[name]) != _plain(value)
    ]
    if wrong:
        raise ValueError(f"config.json does not fit the weights: {', '.join(wrong)}.")
    by_names = "a2v" if "audio_dim" in told else "v2v" if original else "r2v"
    told["variant"] = variant or settings.get("variant") or by_names
    return told | {name: settings[name] for name in ("eps",) if name in settings}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value


def _from_shapes(shapes: Mapping[str, Sequence[int]], settings: Mapping[str, object]) -> dict:
    def shape(name: str) -> Sequence[int]:
        if name not in shapes:
            raise ValueError(f"not a Wan transformer: there is no {name}.")
        return shapes[name]

    dim, in_channels, *patch_size = shape("patch_embedding.weight")
    told = {
        "dim": dim,
        "in_channels": in_channels,
        "patch_size": patch_size,
        "out_channels": shape("proj_out.weight")[0] // prod(patch_size),
        "text_dim": shape("condition_embedder.text_embedder.linear_1.weight")[1],
        "freq_dim": shape("condition_embedder.time_embedder.linear_1.weight")[1],
        "ffn_dim": shape("blocks.0.ffn.net.0.proj.weight")[0],
        "num_layers": 1 + max(int(key.split(".")[1]) for key in shapes if key.startswith("blocks.")),
    }
    if "condition_embedder.image_embedder.norm1.weight" in shapes:
        told["image_dim"] = shape("condition_embedder.image_embedder.norm1.weight")[0]
        told["added_kv_proj_dim"] = dim
    if "audio_embedder.norm.weight" in shapes:
        told |= _audio_from_shapes(shape, settings)
    return told


def _audio_from_shapes(shape, settings: Mapping[str, object]) -> dict:
    """The first window has W rows, the later ones W + vae_scale - 1, of layers x width numbers each."""
    hidden_dim, first = shape("audio_embedder.proj_first.weight")
    later = shape("audio_embedder.proj_later.weight")[1]
    vae_scale, layers = settings.get("vae_scale", 4), settings.get("audio_layers", _AUDIO_LAYERS)
    row = (later - first) // (vae_scale - 1)
    token_dim = shape("audio_embedder.norm.weight")[0]
    return {
        "audio_dim": row // layers,
        "audio_layers": layers,
        "audio_window": first // row,
        "audio_hidden_dim": hidden_dim,
        "audio_token_dim": token_dim,
        "audio_tokens": shape("audio_embedder.proj_tokens.weight")[0] // token_dim,
        "vae_scale": vae_scale,
    }
