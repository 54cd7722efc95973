"""The transformer of SkyReels-V3: references to video (R2V), extension (V2V) and talking avatar (A2V) in one class.

Notable features
    - every frame has its own place in time and may have its own timestep, both given by the caller: clean prefixes,
      reference slots and shots at position 1024 and beyond are all just frames;
    - modulation stays one vector per frame (see `wan_blocks.py`);
    - image tokens and speech are options of the same block.

What the three official networks compute in which precision differs in two places only, `ANGLES` and `SINUSOIDS` below;
everything else follows one rule: weights and products in the model's dtype, the time path, modulation and norms in
float32, residuals rounded to the model's dtype after each sublayer, attention in the model's dtype, output float32.

Source: spec/v3.md sections 4.1, 5.1, 6.1. Parameter names are diffusers' `WanTransformer3DModel`'s, so its weights, and
LoRAs for it, load as they are; `wan_keys.py` maps the original ones.
Legend: B batch, F latent frames, h w rows and columns of tokens, S = h w, L text tokens, I image tokens, D width,
G groups of frames modulated alike (1 or F), further letters in `wan_audio.py`.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.attention import FeedForward
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.embeddings import PixArtAlphaTextProjection, TimestepEmbedding
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from einops import rearrange
from torch import Tensor, nn

from openreels.models.wan_audio import AudioEmbedder, AudioInputs, audio_windows, speaker_masks_of_tokens
from openreels.models.wan_blocks import BlockInputs, WanBlock, by_frames, modulate
from openreels.models.wan_rope import WanRotary
from openreels.nn.norms import LayerNorm

__all__ = ["SkyReelsV3Transformer"]

# Precision of rotary angles, and of the time sinusoids before rounding, as each official network has them.
ANGLES = {"r2v": torch.float64, "v2v": torch.float32, "a2v": torch.float64}
SINUSOIDS = {"r2v": torch.float32, "v2v": torch.float64, "a2v": torch.float64}


def time_sinusoids(timestep: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """(..., dim): cosines, then sines of t at dim / 2 frequencies. On the CPU: not every device has float64."""
    half = dim // 2
    frequency = torch.exp(-math.log(10_000) * torch.arange(half, dtype=dtype) / half)
    angles = timestep.to("cpu", dtype)[..., None] * frequency
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ImageEmbedder(nn.Module):
    """CLIP tokens (B, I, image_dim) -> (B, I, D)."""

    def __init__(self, image_dim: int, dim: int):
        super().__init__()
        self.norm1 = LayerNorm(image_dim)
        self.ff = FeedForward(image_dim, dim, mult=1, activation_fn="gelu")
        self.norm2 = LayerNorm(dim)

    def forward(self, image: Tensor, dtype: torch.dtype) -> Tensor:
        return self.norm2(self.ff(self.norm1(image).to(dtype))).to(dtype)


class ConditionEmbedder(nn.Module):
    """Time, text and image as the blocks take them."""

    def __init__(self, dim: int, freq_dim: int, text_dim: int, image_dim: int | None):
        super().__init__()
        self.time_embedder = TimestepEmbedding(freq_dim, dim)
        self.time_proj = nn.Linear(dim, 6 * dim)
        self.text_embedder = PixArtAlphaTextProjection(text_dim, dim, act_fn="gelu_tanh")
        self.image_embedder = None if image_dim is None else ImageEmbedder(image_dim, dim)

    def time(self, sinusoids_BGQ: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, G, D) and six modulation vectors (B, G, 6, D), float32."""
        time_BGD = self.time_embedder(sinusoids_BGQ.to(self.time_embedder.linear_1.weight.dtype))
        vectors = self.time_proj(nn.functional.silu(time_BGD).to(self.time_proj.weight.dtype))
        return time_BGD.float(), vectors.float().unflatten(-1, (6, -1))


class SkyReelsV3Transformer(ModelMixin, ConfigMixin, PeftAdapterMixin, CacheMixin):
    """Velocity of video latents; SkyReels-V3's three networks by their configs.

    Args (names up to `pos_embed_seq_len` as diffusers' Wan; defaults are R2V-14B and V2V-14B at full size):
        patch_size: frames, rows, columns of a token; the first must be 1.
        num_attention_heads, attention_head_dim: their product is the width D.
        in_channels: 16, or 36 for A2V (16 noisy, 4 mask, 16 condition). out_channels: 16.
        text_dim, freq_dim, ffn_dim, num_layers, eps: as named.
        cross_attn_norm, qk_norm, pos_embed_seq_len: only the values all Wan 2.1 networks have.
        image_dim, added_kv_proj_dim: width of CLIP tokens and D, for A2V; None = no image tokens.
        rope_max_seq_len: not used, positions have no upper limit; kept because diffusers' configs carry it.
        variant: "r2v", "v2v" or "a2v": whose precision rules to follow.
        audio_dim, audio_layers: width and number of layers of the speech features; None = a network without sound.
        audio_window: video frames in a window. audio_hidden_dim, audio_token_dim, audio_tokens: the audio projection.
        vae_scale: video frames per latent frame.
    """

    # With several speakers, follow the official code's order of tokens (see `AudioInputs`): for its goldens.
    official_speaker_order = False

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["WanBlock"]
    _repeated_blocks: ClassVar = ["WanBlock"]
    _keep_in_fp32_modules: ClassVar = [
        "time_embedder",
        "time_proj",
        "scale_shift_table",
        "norm1",
        "norm2",
        "norm_audio",
        "proj_out",
    ]
    _skip_layerwise_casting_patterns: ClassVar = ["patch_embedding", "condition_embedder", "norm", "proj_out"]
    # Each device holds some tokens of every frame, so per-frame modulation and audio need no exchange.
    _cp_plan: ClassVar = {
        "rope": {0: ContextParallelInput(split_dim=2, expected_dims=6, split_output=True)},
        "blocks.0": {"hidden_states": ContextParallelInput(split_dim=2, expected_dims=4)},
        "proj_out": ContextParallelOutput(gather_dim=2, expected_dims=4),
    }

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 16,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        qk_norm: str = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
        variant: str = "r2v",
        audio_dim: int | None = None,
        audio_layers: int = 12,
        audio_window: int = 5,
        audio_hidden_dim: int = 512,
        audio_token_dim: int = 768,
        audio_tokens: int = 32,
        vae_scale: int = 4,
    ):
        super().__init__()
        fixed = (patch_size[0], cross_attn_norm, qk_norm, pos_embed_seq_len)
        if fixed != (1, True, "rms_norm_across_heads", None):
            raise ValueError(
                "SkyReels-V3 networks have patch_size[0] 1, cross_attn_norm True, qk_norm 'rms_norm_across_heads' and "
                f"pos_embed_seq_len None; got {fixed}."
            )
        if variant not in ANGLES:
            raise ValueError(f"variant must be one of {', '.join(ANGLES)}; got {variant!r}.")
        dim = num_attention_heads * attention_head_dim
        self.rope = WanRotary(attention_head_dim, ANGLES[variant])
        self.patch_embedding = nn.Conv3d(in_channels, dim, kernel_size=tuple(patch_size), stride=tuple(patch_size))
        self.condition_embedder = ConditionEmbedder(dim, freq_dim, text_dim, image_dim)
        self.audio_embedder = None
        if audio_dim is not None:
            self.audio_embedder = AudioEmbedder(
                audio_dim, audio_layers, audio_window, audio_hidden_dim, audio_token_dim, audio_tokens, vae_scale
            )
        self.blocks = nn.ModuleList(
            WanBlock(
                dim,
                ffn_dim,
                num_attention_heads,
                eps,
                added_kv_proj_dim,
                None if audio_dim is None else audio_token_dim,
            )
            for _ in range(num_layers)
        )
        self.norm_out = LayerNorm(dim, eps, elementwise_affine=False)
        self.proj_out = nn.Linear(dim, out_channels * math.prod(patch_size))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.gradient_checkpointing = False

    def enable_cache(self, config) -> None:
        """Step caching of diffusers (`CacheMixin`), which must be told what a block of ours returns."""
        from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry

        TransformerBlockRegistry.register(
            WanBlock, TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=None)
        )
        super().enable_cache(config)

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        *,
        frame_positions: Tensor | None = None,
        encoder_hidden_states_image: Tensor | None = None,
        audio_hidden_states: Tensor | None = None,
        speaker_masks: Tensor | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Velocity (noise minus data) of every frame given; callers drop those of references, prefixes and contexts.

        Args:
            hidden_states: (B, in_channels, F, H, W) normalised latents; H and W divide by the patch.
            timestep: 0 (data) to 1000 (noise), (B,) or, for each frame, (B, F).
            encoder_hidden_states: (B, L, text_dim), zero beyond each prompt; all L are attended to (official L = 512).
            frame_positions: (F,) places in time, in latent frames; None = 0 .. F-1. References of R2V follow the video
                directly; the context of a shot switch starts at 1024.
            encoder_hidden_states_image: (B, I, image_dim) CLIP tokens; None = no image attention.
            audio_hidden_states: speech features for V = 1 + vae_scale (F - 1) video frames: (B, P, V, Y, C) with P
                speakers and Y layers of width C, or (B, P, V, window, Y, C) with each frame's window already taken
                (`audio_windows`; needed where the clip is a piece of a longer one). None = no audio attention.
            speaker_masks: (P + 1, any height, any width): each speaker's region of the first frame, then the
                background; needed for P > 1 only.

        Returns: `.sample` (B, out_channels, F, H, W) float32, or a tuple of it.

        Raises ValueError where shapes do not fit each other or the network.
        """
        batch, _, frames, height, width = hidden_states.shape
        _, patch_rows, patch_columns = self.config.patch_size
        if height % patch_rows or width % patch_columns:
            raise ValueError(
                f"latents of {height} x {width} do not divide into patches of {patch_rows} x {patch_columns}."
            )
        if timestep.shape not in ((batch,), (batch, frames)):
            raise ValueError(f"timestep must be ({batch},) or ({batch}, {frames}); got {tuple(timestep.shape)}.")
        if frame_positions is None:
            frame_positions = torch.arange(frames)
        elif frame_positions.shape != (frames,):
            raise ValueError(f"frame_positions must be ({frames},); got {tuple(frame_positions.shape)}.")
        rows, columns = height // patch_rows, width // patch_columns
        device, dtype = hidden_states.device, self.patch_embedding.weight.dtype

        time_BGD, modulation_BG6D = self._time(timestep.view(batch, -1), device, dtype)
        inputs = BlockInputs(
            modulation_BG6D,
            self.rope(frame_positions, rows, columns, device),
            self._image(encoder_hidden_states_image, dtype),
            self._audio(audio_hidden_states, speaker_masks, (frames, rows, columns), dtype),
        )
        text_BLD = self.condition_embedder.text_embedder(encoder_hidden_states.to(dtype))
        x_BFSD = rearrange(self.patch_embedding(hidden_states.to(dtype)), "b d f h w -> b f (h w) d").contiguous()

        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x_BFSD = self._gradient_checkpointing_func(block, x_BFSD, text_BLD, inputs)
            else:
                x_BFSD = block(x_BFSD, text_BLD, inputs)

        shift, scale = (self.scale_shift_table.float()[:, None] + time_BGD[:, :, None])[:, :, :, None].unbind(2)
        x_BFSP = self.proj_out(self._normalised(x_BFSD, shift, scale)).float()
        sample = rearrange(
            x_BFSP,
            "b f (h w) (y x c) -> b c f (h y) (w x)",
            h=rows,
            y=patch_rows,
            x=patch_columns,
        )
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _time(self, timestep_BG: Tensor, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        precision = SINUSOIDS[self.config.variant]
        sinusoids = time_sinusoids(timestep_BG, self.config.freq_dim, precision)
        if precision is torch.float64:
            # The networks of the original Wan code round them to the weights' dtype before float32 takes over.
            sinusoids = sinusoids.to(dtype)
        return self.condition_embedder.time(sinusoids.to(device))

    def _image(self, image_BIC: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        if image_BIC is None:
            return None
        if self.condition_embedder.image_embedder is None:
            raise ValueError("encoder_hidden_states_image was given, but this network has no image attention.")
        return self.condition_embedder.image_embedder(image_BIC, dtype)

    def _audio(
        self, features: Tensor | None, masks: Tensor | None, shape: tuple[int, int, int], dtype: torch.dtype
    ) -> AudioInputs | None:
        if features is None:
            return None
        if self.audio_embedder is None:
            raise ValueError("audio_hidden_states was given, but this network has no audio attention.")
        config, (frames, rows, columns) = self.config, shape
        if features.ndim == 5:
            features = audio_windows(features, config.audio_window)
        expected = (1 + config.vae_scale * (frames - 1), config.audio_window, config.audio_layers, config.audio_dim)
        if features.shape[2:] != expected:
            raise ValueError(
                f"audio_hidden_states for {frames} latent frames must be (batch, speakers, {expected[0]}, layers "
                f"{expected[2]}, width {expected[3]}), with or without windows of {expected[1]} before the layers; got "
                f"{tuple(features.shape)} with windows."
            )
        speakers = features.shape[1]
        if speakers > 1 and masks is None:
            raise ValueError(f"speaker_masks must say where each of the {speakers} speakers is.")
        if speakers > 1:
            masks = speaker_masks_of_tokens(masks, speakers, rows, columns).to(features.device)
        return AudioInputs(self.audio_embedder(features.to(dtype)), speakers, masks, self.official_speaker_order)

    def _normalised(self, x_BFSD: Tensor, shift_BG1D: Tensor, scale_BG1D: Tensor) -> Tensor:
        dtype = self.proj_out.weight.dtype

        def normalise(x, shift, scale):
            return (modulate(self.norm_out(x), shift, scale).to(dtype),)

        return by_frames(normalise, WanBlock.tokens_at_once, x_BFSD, shift_BG1D, scale_BG1D)[0]
