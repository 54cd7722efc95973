"""HunyuanVideo's transformers as the video branch of a V4 model: which of their tensors becomes which of ours.

Names on the left are ours, on the right those of diffusers' `HunyuanVideo15Transformer3DModel` and
`HunyuanVideoTransformer3DModel`, which the released folders use. `#` stands for any block number, `*` for weight or
bias. Several names on the right are one tensor of ours, one after the other along the first axis. `CHANGES` says what
else happens to a tensor; everything else is taken as it is.

Conventions that the map settles, so that the model needs no second code path
    - their velocity is noise - data, ours data - noise: the sign goes into the output projection;
    - their patch embedding is a convolution without overlap, ours a linear layer over patched tokens (`nn/patches.py`);
    - their last modulation says scale, then shift; ours shift, then scale.
Time needs nothing: their timestep is 1000 (1 - t), which is what `TimeEmbedding` embeds.

Legend: D width, C latent channels, p patch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openreels.models.key_map import KeyMap

__all__ = ["CHANGES", "SOURCES", "Source", "transformer_config"]

Names = str | tuple[str, ...]
Rules = list[tuple[str, Names]]


def _prefixed(ours: str, theirs: str, rules: Rules) -> Rules:
    return [
        (ours + mine, theirs + names if isinstance(names, str) else tuple(theirs + name for name in names))
        for mine, names in rules
    ]


_TWO_LAYERS: Rules = [("0.*", "linear_1.*"), ("2.*", "linear_2.*")]
_FEED_FORWARD: Rules = [("0.*", "net.0.proj.*"), ("2.*", "net.2.*")]

_DUAL: Rules = [
    ("stream.modulation.up.*", "norm1.linear.*"),
    ("stream.to_qkv.*", ("attn.to_q.*", "attn.to_k.*", "attn.to_v.*")),
    ("stream.norm_qk.query.weight", "attn.norm_q.weight"),
    ("stream.norm_qk.key.weight", "attn.norm_k.weight"),
    ("stream.to_out.*", "attn.to_out.0.*"),
    *_prefixed("stream.mlp.", "ff.", _FEED_FORWARD),
    ("text.modulation.up.*", "norm1_context.linear.*"),
    ("text.to_qkv.*", ("attn.add_q_proj.*", "attn.add_k_proj.*", "attn.add_v_proj.*")),
    ("text.norm_qk.query.weight", "attn.norm_added_q.weight"),
    ("text.norm_qk.key.weight", "attn.norm_added_k.weight"),
    ("text.to_out.*", "attn.to_add_out.*"),
    *_prefixed("text.mlp.", "ff_context.", _FEED_FORWARD),
]

_SINGLE: Rules = [
    ("modulation.up.*", "norm.linear.*"),
    ("to_qkv_mlp.*", ("attn.to_q.*", "attn.to_k.*", "attn.to_v.*", "proj_mlp.*")),
    ("norm_qk.query.weight", "attn.norm_q.weight"),
    ("norm_qk.key.weight", "attn.norm_k.weight"),
    ("to_out.*", "proj_out.*"),
]

_REFINER: Rules = [
    ("embed.*", "proj_in.*"),
    *_prefixed("embed_time.mlp.", "time_text_embed.timestep_embedder.", _TWO_LAYERS),
    *_prefixed("embed_mean.", "time_text_embed.text_embedder.", _TWO_LAYERS),
    *_prefixed(
        "blocks.#.",
        "token_refiner.refiner_blocks.#.",
        [
            ("gates.up.*", "norm_out.linear.*"),
            ("norm_attention.*", "norm1.*"),
            ("to_qkv.*", ("attn.to_q.*", "attn.to_k.*", "attn.to_v.*")),
            ("to_out.*", "attn.to_out.0.*"),
            ("norm_mlp.*", "norm2.*"),
            *_prefixed("mlp.", "ff.", _FEED_FORWARD),
        ],
    ),
]

_COMMON: Rules = [
    ("video.embed.*", "x_embedder.proj.*"),
    *_prefixed("video.embed_text.", "context_embedder.", _REFINER),
    *_prefixed("layers.#.video.", "transformer_blocks.#.", _DUAL),
    ("video.modulation_out.up.*", "norm_out.linear.*"),
    ("video.to_velocity.*", "proj_out.*"),
]

_ONLY_15: Rules = [
    *_prefixed("video.embed_time.mlp.", "time_embed.timestep_embedder.", _TWO_LAYERS),
    ("video.sources.glyph.0.*", "context_embedder_2.norm.*"),
    ("video.sources.glyph.1.*", "context_embedder_2.linear_1.*"),
    ("video.sources.glyph.3.*", "context_embedder_2.linear_2.*"),
    ("video.sources.glyph.5.*", "context_embedder_2.linear_3.*"),
    ("video.sources.image.0.*", "image_embedder.norm_in.*"),
    ("video.sources.image.1.*", "image_embedder.linear_1.*"),
    ("video.sources.image.3.*", "image_embedder.linear_2.*"),
    ("video.sources.image.4.*", "image_embedder.norm_out.*"),
    ("video.sources.kind.weight", "cond_type_embed.weight"),
]

_ONLY_10: Rules = [
    *_prefixed("video.embed_time.mlp.", "time_text_embed.timestep_embedder.", _TWO_LAYERS),
    *_prefixed("video.embed_pooled.", "time_text_embed.text_embedder.", _TWO_LAYERS),
    *_prefixed("video.embed_guidance.mlp.", "time_text_embed.guidance_embedder.", _TWO_LAYERS),
]


def _singles(first: int, count: int) -> Rules:
    """Their single-stream blocks are counted from 0, ours go on after the dual-stream ones."""
    return [
        rule
        for index in range(count)
        for rule in _prefixed(f"layers.{first + index}.video.", f"single_transformer_blocks.{index}.", _SINGLE)
    ]


def _negated(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return -tensor


def _halves_swapped(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.cat(tensor.chunk(2)[::-1])


def _patch_embedding(kernel: Tensor, shape: Sequence[int]) -> Tensor:
    """(D, channels, 1, p, p) -> (D, 2 C p p + 1): columns for V, I and M, zero for those the source does not have.

    A token has one mask value, their patch p x p of them: where these are equal, their columns add up.
    """
    width, channels = kernel.shape[:2]
    area = kernel[0, 0].numel()
    latents = (shape[1] - 1) // (2 * area)
    given, mask = kernel.new_zeros(width, latents, area), kernel.new_zeros(width, 1)
    noisy, *others = kernel.flatten(2).split([latents] * (channels // latents) + [1] * (channels % latents), dim=1)
    if channels >= 2 * latents:
        given = others.pop(0)
    if others:
        mask = others.pop(0).float().sum(-1).to(mask.dtype)
    return torch.cat([noisy.flatten(1), given.flatten(1), mask], dim=1)


CHANGES: Mapping[str, Callable[[Tensor, Sequence[int]], Tensor]] = {
    "video.embed.weight": _patch_embedding,
    "video.modulation_out.up.weight": _halves_swapped,
    "video.modulation_out.up.bias": _halves_swapped,
    "video.to_velocity.weight": _negated,
    "video.to_velocity.bias": _negated,
}
"""Our name -> what makes our tensor, of the shape given, of theirs."""


@dataclass(frozen=True)
class Source:
    """A kind of model to start from.

    class_name: of diffusers. rules: ours -> theirs, besides the single-stream blocks. dropped: pattern of their names
    -> why nothing of ours takes them. settings: their argument -> ours, where it says the same.
    """

    title: str
    class_name: str
    rules: tuple[tuple[str, Names], ...]
    dropped: Mapping[str, str]
    settings: Mapping[str, str]

    def key_map(self, config: Mapping[str, object]) -> KeyMap:
        """From our names to theirs for a model of our `config`: `ours` of this map gives theirs."""
        singles = _singles(config["num_dual_layers"], config["num_single_layers"])
        return KeyMap([*self.rules, *singles])


_SETTINGS = {
    "num_attention_heads": "num_heads",
    "rope_axes_dim": "rope_axis_dims",
    "num_layers": "num_dual_layers",
    "num_refiner_layers": "text_refiner_layers",
    "mlp_ratio": "mlp_ratio",
    "rope_theta": "rope_theta",
    "text_embed_dim": "text_dim",
}

SOURCES: Mapping[str, Source] = {
    "hunyuanvideo-1.5": Source(
        title="HunyuanVideo-1.5",
        class_name="HunyuanVideo15Transformer3DModel",
        rules=(*_COMMON, *_ONLY_15),
        dropped={
            "time_embed.timestep_embedder_r.*": "the second time of mean-flow distillation (super-resolution models): "
            "V4 learns the velocity at one time"
        },
        settings=_SETTINGS | {"text_embed_2_dim": "glyph_dim", "image_embed_dim": "image_dim"},
    ),
    "hunyuanvideo-1.0": Source(
        title="HunyuanVideo-1.0",
        class_name="HunyuanVideoTransformer3DModel",
        rules=(*_COMMON, *_ONLY_10),
        dropped={},
        settings=_SETTINGS
        | {
            "num_single_layers": "num_single_layers",
            "pooled_projection_dim": "pooled_dim",
            "guidance_embeds": "guidance_embedding",
        },
    ),
}


def transformer_config(source: Source, settings: Mapping[str, object]) -> dict:
    """The arguments of `SkyReelsV4Transformer` that a source decides, from its config.json.

    HunyuanVideo-1.0 comes with 16 input channels (text to video; first frame by token replacement, which is a reference
    at frame 0 here), 32 (SkyReels-V1) or 33 (HunyuanVideo-I2V by concatenation); all become [V | I | M].
    Raises ValueError where the config is of another class, or of a layout that V4 does not have.
    """
    import diffusers

    name = settings.get("_class_name")
    if name != source.class_name:
        raise ValueError(f"{source.title} is a {source.class_name}, and this config.json is of {name}")
    parameters = inspect.signature(getattr(diffusers, source.class_name).__init__).parameters
    defaults = {key: value.default for key, value in parameters.items() if value.default is not inspect.Parameter.empty}
    theirs = defaults | dict(settings)

    patch, channels = theirs["patch_size"], theirs["out_channels"] or theirs["in_channels"]
    wanted = {
        "patch_size_t 1": theirs["patch_size_t"] == 1,
        "qk_norm rms_norm": theirs["qk_norm"] == "rms_norm",
        f"attention_head_dim {sum(theirs['rope_axes_dim'])}": theirs["attention_head_dim"]
        == sum(theirs["rope_axes_dim"]),
        f"in_channels {channels}, {2 * channels} or {2 * channels + 1}": theirs["in_channels"]
        in (channels, 2 * channels, 2 * channels + 1),
    }
    wrong = [what for what, fits in wanted.items() if not fits]
    if wrong:
        raise ValueError(f"a warm start needs a source with {', '.join(wrong)}; its config.json says otherwise")
    ours = {mine: theirs[key] for key, mine in source.settings.items()}
    ours["rope_axis_dims"] = tuple(ours["rope_axis_dims"])
    return {"num_single_layers": 0, **ours, "video_channels": channels * patch**2}
