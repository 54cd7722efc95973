"""The Wan transformer block, modulated per frame: one implementation for all three SkyReels-V3 networks.

Notable features
    - hidden states are (B, F, S, D) throughout, so a modulation of one vector per frame broadcasts over the frame's
      tokens; diffusers' Wan blocks spread it to every token (17.7 GB at 720p, spec/v3.md 5.1);
    - everything but self-attention treats frames independently and runs a few frames at a time, so its temporaries
      stay small next to the hidden states;
    - rotary tables and image, audio and speaker inputs come from the caller, computed once for all blocks.

Source: spec/v3.md sections 4-6; parameter names are those of diffusers' `WanTransformer3DModel`.
Legend: B batch, F latent frames, S tokens of a frame, N = F S, K keys, L text tokens, I image tokens, D width, H heads,
d head width, G groups of frames modulated alike (1 or F).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers.models.attention import AttentionModuleMixin, FeedForward
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor, nn

from openreels.models.wan_audio import AudioAttention, AudioInputs
from openreels.models.wan_rope import rotate
from openreels.nn.attention import attention
from openreels.nn.norms import LayerNorm, RMSNorm

__all__ = ["BlockInputs", "WanBlock", "by_frames", "modulate"]


@dataclass(frozen=True)
class BlockInputs:
    """What is the same for all blocks of one forward pass.

    modulation_BG6D: float32, six vectors per group of frames, before the block's own table is added.
    rotary_1FS1d2: float32 cosine and sine of every token's angles, (1, F, S, 1, d / 2, 2).
    image_BID: projected CLIP tokens, or None. audio: None for the networks without sound.
    """

    modulation_BG6D: Tensor
    rotary_1FS1d2: Tensor
    image_BID: Tensor | None = None
    audio: AudioInputs | None = None


def modulate(x_BFSD: Tensor, shift_BG1D: Tensor, scale_BG1D: Tensor) -> Tensor:
    """x (1 + scale) + shift; a group of frames shares its vectors."""
    return torch.addcmul(shift_BG1D, x_BFSD, 1 + scale_BG1D)


def by_frames(function: Callable, tokens_at_once: int, *tensors: Tensor | None) -> tuple[Tensor, ...]:
    """`function(*tensors)`, computed for a few frames at a time where nothing is differentiated.

    tensors have the frames on axis 1, or 1 there, which every call sees. function returns a tuple of tensors
    with the frames on axis 1, each frame depending on itself alone.
    """
    frames, tokens = tensors[0].shape[1:3]
    count = max(1, tokens_at_once // tokens)
    if torch.is_grad_enabled() or count >= frames:
        return function(*tensors)
    outputs = ()
    for start in range(0, frames, count):
        part = slice(start, min(start + count, frames))
        pieces = function(*(x if x is None or x.shape[1] == 1 else x[:, part] for x in tensors))
        outputs = outputs or tuple(p.new_empty((p.shape[0], frames, *p.shape[2:])) for p in pieces)
        for output, piece in zip(outputs, pieces, strict=True):
            output[:, part] = piece
    return outputs


class AttentionDispatch:
    """One module's attention: the package's own choice until a user picks a backend or parallelism.

    diffusers' `set_attention_backend` and `enable_parallelism` write to the two attributes.
    """

    def __init__(self):
        self._attention_backend = None
        self._parallel_config = None

    def __call__(self, q_BNHd: Tensor, k_BKHd: Tensor, v_BKHd: Tensor, *, whole: bool = False) -> Tensor:
        """whole: all keys are on this device (cross-attention), even if the queries are spread over several."""
        parallel = None if whole else self._parallel_config
        if self._attention_backend is None and parallel is None:
            return attention(q_BNHd, k_BKHd, v_BKHd)
        return dispatch_attention_fn(q_BNHd, k_BKHd, v_BKHd, backend=self._attention_backend, parallel_config=parallel)


class WanAttention(nn.Module, AttentionModuleMixin):
    """Projections and norms of one attention; `added_kv_proj_dim` adds keys and values of image tokens."""

    _default_processor_cls = AttentionDispatch
    _available_processors: ClassVar = [AttentionDispatch]
    _supports_qkv_fusion = False

    def __init__(self, dim: int, num_heads: int, eps: float, added_kv_proj_dim: int | None = None):
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])  # a list only because of its name in checkpoints
        self.norm_q = RMSNorm(dim, eps)
        self.norm_k = RMSNorm(dim, eps)
        if added_kv_proj_dim is not None:
            self.add_k_proj = nn.Linear(added_kv_proj_dim, dim)
            self.add_v_proj = nn.Linear(added_kv_proj_dim, dim)
            self.norm_added_k = RMSNorm(dim, eps)
        self.set_processor(AttentionDispatch())

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1))

    def rotated(self, x_BFSD: Tensor, rotary_1FS1d2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v of self-attention, each (B, F, S, H, d); norm and turn are in float32."""

        def turned(x: Tensor, norm: RMSNorm) -> Tensor:
            # A token's norm is one number: scaling its turns instead of all its channels saves a pass over them.
            weighted, inverse = norm(x, apart=True)
            return rotate(self._heads(weighted), rotary_1FS1d2 * inverse[..., None, None]).to(x.dtype)

        q, k = turned(self.to_q(x_BFSD), self.norm_q), turned(self.to_k(x_BFSD), self.norm_k)
        return q, k, self._heads(self.to_v(x_BFSD))

    def text_keys(self, text_BLD: Tensor) -> tuple[Tensor, Tensor]:
        k, v = self.norm_k(self.to_k(text_BLD)).to(text_BLD.dtype), self.to_v(text_BLD)
        return self._heads(k), self._heads(v)

    def image_keys(self, image_BID: Tensor) -> tuple[Tensor, Tensor]:
        k, v = self.norm_added_k(self.add_k_proj(image_BID)).to(image_BID.dtype), self.add_v_proj(image_BID)
        return self._heads(k), self._heads(v)

    def forward(self, x_BFSD: Tensor, keys: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Cross-attention to each pair of (k, v) on its own, summed before the output projection."""
        q_BNHd = self._heads(self.norm_q(self.to_q(x_BFSD)).to(x_BFSD.dtype)).flatten(1, 2)
        attended = sum(self.processor(q_BNHd, k, v, whole=True) for k, v in keys)
        return self.to_out[0](attended.flatten(2).view_as(x_BFSD))


class WanBlock(nn.Module):
    """Modulated self-attention, attention to text (and image), attention to sound, modulated MLP."""

    # Temporaries of 8,192 tokens are 6 % of a 720p clip's hidden states and keep the matrix products busy.
    tokens_at_once = 8192

    def __init__(
        self,
        dim: int,
        ffn_dim: int,
        num_heads: int,
        eps: float,
        added_kv_proj_dim: int | None = None,
        audio_token_dim: int | None = None,
    ):
        super().__init__()
        self.norm1 = LayerNorm(dim, eps, elementwise_affine=False)
        self.attn1 = WanAttention(dim, num_heads, eps)
        self.norm2 = LayerNorm(dim, eps)
        self.attn2 = WanAttention(dim, num_heads, eps, added_kv_proj_dim)
        if audio_token_dim is not None:
            self.norm_audio = LayerNorm(dim, eps)
            self.attn_audio = AudioAttention(dim, num_heads, audio_token_dim)
        self.norm3 = LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, inputs: BlockInputs) -> Tensor:
        """hidden_states (B, F, S, D), encoder_hidden_states (B, L, D) -> (B, F, S, D), both of one dtype.

        The residual is added in float32 and rounded to that dtype after each sublayer.
        """
        dtype = hidden_states.dtype
        table_116D = self.scale_shift_table.float()[:, None]
        vectors = (table_116D + inputs.modulation_BG6D)[:, :, :, None].unbind(2)
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = vectors

        def self_attention_inputs(x, shift, scale, rotary):
            return self.attn1.rotated(modulate(self.norm1(x), shift, scale).to(dtype), rotary)

        q, k, v = by_frames(
            self_attention_inputs, self.tokens_at_once, hidden_states, shift, scale, inputs.rotary_1FS1d2
        )
        attended = self.attn1.processor(*(x.flatten(1, 2) for x in (q, k, v))).flatten(2).view_as(hidden_states)
        speakers = audio_k = audio_v = None
        if inputs.audio is not None:
            speakers = inputs.audio.rotary_of_tokens(q, k)
            audio_k, audio_v = self.attn_audio.keys(inputs.audio)
        del q, k, v

        keys = [self.attn2.text_keys(encoder_hidden_states)]
        if inputs.image_BID is not None:
            keys.append(self.attn2.image_keys(inputs.image_BID))

        def frame_by_frame(x, attended, gate, speakers, audio_k, audio_v, ffn_shift, ffn_scale, ffn_gate):
            x = torch.addcmul(x.float(), self.attn1.to_out[0](attended).float(), gate).to(dtype)
            x = x + self.attn2(self.norm2(x).to(dtype), keys)
            if audio_k is not None:
                x = x + self.attn_audio(self.norm_audio(x).to(dtype), audio_k, audio_v, speakers)
            mlp = self.ffn(modulate(self.norm3(x), ffn_shift, ffn_scale).to(dtype))
            return (torch.addcmul(x.float(), mlp.float(), ffn_gate).to(dtype),)

        frames = (hidden_states, attended, gate, speakers, audio_k, audio_v, ffn_shift, ffn_scale, ffn_gate)
        return by_frames(frame_by_frame, self.tokens_at_once, *frames)[0]
