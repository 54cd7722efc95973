"""What a V3 request costs, by arithmetic: parameters, tokens, FLOPs, bytes. Imports neither torch nor diffusers.

Parameter counts, tokens and FLOPs are exact (tests compare them with the networks themselves). Bytes follow the
allocations of `models/wan_blocks.py` statement by statement and are tested against measured peaks; when that file
changes, `forward_bytes` must. Units: bytes are bytes, GB are 10^9 of them, FLOPs count a multiply-add as two.

Source of the sizes: shared/spec/v3.md, sections 1, 3 and 6.
Letters: D width, N tokens of all frames, S tokens of a frame, L text tokens, I image tokens, A audio tokens of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import Any

__all__ = [
    "A2V",
    "COMPONENTS",
    "R2V",
    "TOKENS_AT_ONCE",
    "V2V",
    "Component",
    "Network",
    "Sequence",
    "codec_bytes",
    "codec_flops",
    "forward_bytes",
    "forward_flops",
]

TOKENS_AT_ONCE = 8192  # `WanBlock.tokens_at_once`; a test holds the two equal
TEXT_TOKENS, IMAGE_TOKENS = 512, 257
FLOAT32 = 4


# -- networks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """Sizes of a `SkyReelsV3Transformer`, named as in its config; the defaults are R2V-14B and V2V-14B."""

    num_attention_heads: int = 40
    attention_head_dim: int = 128
    in_channels: int = 16
    out_channels: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    ffn_dim: int = 13824
    num_layers: int = 40
    patch_size: tuple[int, int, int] = (1, 2, 2)
    image_dim: int | None = None
    added_kv_proj_dim: int | None = None
    audio_dim: int | None = None
    audio_layers: int = 12
    audio_window: int = 5
    audio_hidden_dim: int = 512
    audio_token_dim: int = 768
    audio_tokens: int = 32
    vae_scale: int = 4

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Network:
        """From the config of a model; what has no bearing on its size is left out."""
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})

    @property
    def dim(self) -> int:
        return self.num_attention_heads * self.attention_head_dim

    @property
    def patch(self) -> int:
        return prod(self.patch_size)

    # -- parameters --

    @property
    def block_linear_parameters(self) -> int:
        """Weights and biases of a block's linear layers: what is stored in 8 bits where anything is."""
        dim, count = self.dim, 8 * _linear(self.dim, self.dim)
        count += _linear(dim, self.ffn_dim) + _linear(self.ffn_dim, dim)
        if self.added_kv_proj_dim is not None:
            count += 2 * _linear(self.added_kv_proj_dim, dim)
        if self.audio_dim is not None:
            count += 2 * _linear(dim, dim) + _linear(self.audio_token_dim, 2 * dim)
        return count

    @property
    def block_parameters(self) -> int:
        """Of one block: linear layers; modulation table; norms of q and k, twice; the norm before text attention."""
        norms = 6 + 4 + 2 + (self.added_kv_proj_dim is not None) + 2 * (self.audio_dim is not None)
        return self.block_linear_parameters + norms * self.dim

    @property
    def audio_embedder_linear_parameters(self) -> int:
        if self.audio_dim is None:
            return 0
        width, hidden = self.audio_layers * self.audio_dim, self.audio_hidden_dim
        first = _linear(self.audio_window * width, hidden)
        later = _linear((self.audio_window + self.vae_scale - 1) * width, hidden)
        return first + later + _linear(hidden, hidden) + _linear(hidden, self.audio_tokens * self.audio_token_dim)

    @property
    def outer_parameters(self) -> int:
        """Of everything around the blocks."""
        dim = self.dim
        count = _linear(self.in_channels * self.patch, dim) + self._time_parameters
        count += _linear(self.text_dim, dim) + _linear(dim, dim)
        count += 2 * dim + _linear(dim, self.out_channels * self.patch)
        if self.image_dim is not None:
            count += 2 * self.image_dim + _linear(self.image_dim, self.image_dim) + _linear(self.image_dim, dim)
            count += 2 * dim
        if self.audio_dim is not None:
            count += self.audio_embedder_linear_parameters + 2 * self.audio_token_dim
        return count

    @property
    def parameters(self) -> int:
        return self.num_layers * self.block_parameters + self.outer_parameters

    @property
    def _time_parameters(self) -> int:
        return _linear(self.freq_dim, self.dim) + _linear(self.dim, self.dim) + _linear(self.dim, 6 * self.dim)

    @property
    def outer_float32_parameters(self) -> int:
        """Those that stay float32 around the blocks whatever the rest has (`_keep_in_fp32_modules`)."""
        count = self._time_parameters + 2 * self.dim + _linear(self.dim, self.out_channels * self.patch)
        return count + (0 if self.image_dim is None else 2 * self.image_dim + 2 * self.dim)

    # -- bytes --

    def block_bytes(self, linear: float = 2) -> int:
        """Of one block's weights. linear: bytes of a linear layer's weight: 4, 2, 1 (8 bits), or less (GGUF).

        Tables and the norms before text and audio attention are float32; those of q and k have the model's dtype, 16
        bits where linear layers are in 8.
        """
        other, float32 = max(int(linear), 2), (8 if self.audio_dim is None else 10) * self.dim
        norms = self.block_parameters - self.block_linear_parameters - float32
        return round(linear * self.block_linear_parameters) + other * norms + FLOAT32 * float32

    def outer_bytes(self, linear: float = 2) -> int:
        """Of the weights around the blocks; of these, only the audio embedder is ever stored in 8 bits."""
        other, audio = max(int(linear), 2), self.audio_embedder_linear_parameters
        rest = self.outer_parameters - self.outer_float32_parameters - audio
        return round(linear * audio) + other * rest + FLOAT32 * self.outer_float32_parameters

    def weight_bytes(self, linear: float = 2) -> int:
        return self.num_layers * self.block_bytes(linear) + self.outer_bytes(linear)


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


R2V = Network()
V2V = Network()
A2V = Network(in_channels=36, image_dim=1280, added_kv_proj_dim=5120, audio_dim=768)


@dataclass(frozen=True)
class Component:
    """A part beside the transformer. bytes: of its weights as this package keeps them (the VAE in float32)."""

    name: str
    parameters: int
    bytes: int


COMPONENTS = {
    "text_encoder": Component("text_encoder", 5_680_910_336, 2 * 5_680_910_336),  # umt5-xxl, bf16
    "vae": Component("vae", 126_892_531, 4 * 126_892_531),
    "image_encoder": Component("image_encoder", 630_766_080, 2 * 630_766_080),  # image tower of CLIP ViT-H/14, 16 bits
    "audio_encoder": Component("audio_encoder", 94_371_712, 4 * 94_371_712),  # wav2vec2-base, float32, on the CPU
}


# -- one forward pass of the transformer ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sequence:
    """What one forward pass sees. frames: latent ones, with prefix and references; frame_tokens: of one of them."""

    frames: int
    frame_tokens: int
    text_tokens: int = TEXT_TOKENS
    image_tokens: int = 0
    speakers: int = 0
    batch: int = 1

    @property
    def tokens(self) -> int:
        return self.batch * self.frames * self.frame_tokens


def forward_flops(network: Network, sequence: Sequence) -> int:
    """Of one evaluation: all matrix products. Norms, modulation, rotation and the time path (< 0.1 %) not counted."""
    dim, tokens, batch = network.dim, sequence.tokens, sequence.batch
    text, image = batch * sequence.text_tokens, batch * sequence.image_tokens
    audio = sequence.speakers * network.audio_tokens
    layer = 4 * _matmul(tokens, dim, dim) + 2 * _attention(tokens, sequence.frames * sequence.frame_tokens, dim)
    layer += 2 * _matmul(tokens, dim, dim) + 2 * _matmul(text, dim, dim)
    layer += 2 * _attention(tokens, sequence.text_tokens, dim)
    layer += 2 * _matmul(tokens, dim, network.ffn_dim)
    if image:
        layer += 2 * _matmul(image, network.added_kv_proj_dim, dim) + 2 * _attention(tokens, sequence.image_tokens, dim)
    if audio:
        layer += 2 * _matmul(tokens, dim, dim) + 2 * _attention(tokens, audio, dim)
        layer += _matmul(batch * sequence.frames * audio, network.audio_token_dim, 2 * dim)
    outer = _matmul(tokens, network.in_channels * network.patch, dim)
    outer += _matmul(tokens, dim, network.out_channels * network.patch)
    outer += _matmul(text, network.text_dim, dim) + _matmul(text, dim, dim)
    return network.num_layers * layer + outer


def _matmul(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns


def _attention(queries: int, keys: int, dim: int) -> int:
    """One of its two products."""
    return 2 * queries * keys * dim


def forward_bytes(
    network: Network,
    sequence: Sequence,
    dtype_bytes: int = 2,
    frame_times: bool = False,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> int:
    """Peak bytes alive during one forward pass without gradients, beyond weights and inputs.

    frame_times: whether each frame has its own timestep (extension), so that modulation is held per frame.
    Not counted: scratch inside kernels, which fused attention and cuBLAS keep small.
    """
    dim, b, f = network.dim, dtype_bytes, FLOAT32
    cast = 0 if b == f else 1  # whether a change to float32 or back makes a copy
    frames = sequence.frames
    count = max(1, tokens_at_once // sequence.frame_tokens)
    per_frame = sequence.batch * sequence.frame_tokens * dim  # elements
    full = frames * per_frame  # of the hidden states
    first = min(count, frames) * per_frame  # of the first piece
    second = min(count, frames - count) * per_frame if count < frames else 0  # of the largest that follows
    hidden = network.ffn_dim / dim  # elements of the MLP per element of the hidden states
    groups = frames if frame_times else 1

    held = frames * sequence.frame_tokens * network.attention_head_dim * f  # rotary table
    held += sequence.batch * groups * 6 * dim * f * 2  # modulation: of the network, and with the block's table added
    held += sequence.batch * groups * dim * f
    text = sequence.batch * sequence.text_tokens * dim * b
    image = sequence.batch * sequence.image_tokens * dim * b
    audio = sequence.batch * frames * sequence.speakers * network.audio_tokens
    held += text + image + audio * network.audio_token_dim * b
    keys = 2 * text + 2 * image + 2 * audio * dim * b  # k and v of the block's cross-attentions

    def pieces(per_element: float, results: int) -> float:
        """Peak of `by_frames`: the first piece alone; later ones beside the outputs and the piece before."""
        later = results * b * (full + first) + per_element * second if second else 0
        return max(per_element * first, later)

    # self_attention_inputs: the norm and modulation; q's norm; k's norm, q in float32; the rotation, both in float32.
    before = pieces(3 * b + 2 * f + cast * b, results=3)
    # Fused attention: q, k, v and its output; the logarithms of its sums, one float32 per token and head.
    attention = 4 * full * b + sequence.tokens * network.num_attention_heads * f
    if sequence.speakers > 1:  # once more, over the first frame's keys, to find whose each token is
        held += sequence.tokens * network.attention_head_dim * f
        attention = 5 * full * b + per_frame * b
    # frame_by_frame: q's norm in cross-attention; that attention with image keys; the MLP; the last residual.
    after = max(3 * b + 2 * f, 6 * b, 2 * b + 2 * hidden * b, 2 * b + (3 * f if cast else f))
    after = keys + full * b + pieces(after, results=1)
    head = pieces(2 * f + cast * b, results=1)
    return round(held + full * b + max(before, attention, after, head))


# -- the autoencoder --------------------------------------------------------------------------------------------------

# Wan 2.1's in float32, per pixel (height x width), counted on diffusers' AutoencoderKLWan (the tests count again).
# It works on 4 frames at a time, so its temporaries do not grow with the clip: bytes of them at the peak,
PASS_BYTES = {"decode": 19_520, "encode": 14_140}
FRAME_BYTES = 3 * FLOAT32  # and of each frame of the clip, as pixels.
FIRST_FRAME_FLOPS = {"decode": 10_750_000, "encode": 6_657_000}  # one frame alone
FRAME_FLOPS = {"decode": 8_445_000, "encode": 5_003_000}  # each further one
TILE, TILE_STRIDE = 256, 192  # pixels; diffusers' defaults


def codec_bytes(what: str, frames: int, height: int, width: int, tiled: bool = False) -> int:
    """Peak bytes of decoding to, or encoding from, `frames` frames, beyond weights; with the clip itself.

    what: "decode" or "encode". tiled: diffusers' tiles of 256 pixels every 192; it keeps all decoded tiles, and joins
    them into rows and those into the clip at the end.
    """
    clip = FRAME_BYTES * frames * height * width
    if not tiled or max(height, width) <= TILE:
        return PASS_BYTES[what] * height * width + clip
    covered = sum(_tiles(height)) * sum(_tiles(width))
    working = PASS_BYTES[what] * min(height, TILE) * min(width, TILE)
    if what == "encode":
        return working + clip
    kept = FRAME_BYTES * frames * covered
    return kept + max(working, 2 * clip)


def codec_flops(what: str, frames: int, height: int, width: int, tiled: bool = False) -> int:
    """Of its convolutions. The overlap of tiles is computed twice."""
    covered = height * width
    if tiled and max(height, width) > TILE:
        covered = sum(_tiles(height)) * sum(_tiles(width))
    return covered * (FIRST_FRAME_FLOPS[what] + (frames - 1) * FRAME_FLOPS[what])


def _tiles(side: int) -> list[int]:
    """Lengths of the tiles along a side, in pixels; the last ones end where it does."""
    return [min(TILE, side - start) for start in range(0, side, TILE_STRIDE)]
