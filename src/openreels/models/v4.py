"""The SkyReels-V4 transformer: a video tower and an audio tower of one shape, joined in every layer.

Notable features (paper: SkyReels-V4, arXiv 2602.21818)
    - M dual-stream then N single-stream layers in both towers, equal width, heads and depth;
    - text cross-attention after self-attention in the video tower;
    - in every layer audio attends to video, then video attends to the updated audio;
    - video input channels [V | I | M]; every task is a choice of I, M and reference tokens;
    - reference tokens stand before the generated ones at negative time, clean (t = 1), in both towers;
    - one timeline: audio positions are scaled to video latent frames; each stream has a time t of its own.

Legend: B batch, N tokens, R reference tokens, L text tokens, C latent channels, D width, G time groups, P position
axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from openreels.models.blocks import DualStreamBlock, SingleStreamBlock, StreamInputs
from openreels.models.context import ContextSources, TextRefiner, two_layers
from openreels.models.layout import (
    LayoutEmbedding,
    heard_numbers,
    nearest_numbers,
    seen_numbers,
    turned_numbers,
    waved_numbers,
)
from openreels.models.sketch import Sketch, likely_velocity
from openreels.models.surroundings import Surroundings
from openreels.nn.attention import CrossAttention, TimeDistanceBias, key_mask_bias
from openreels.nn.linear import ZeroLinear
from openreels.nn.modulation import AdaptiveNorm, NumberEmbedding, TimeEmbedding, per_token
from openreels.nn.rope import rotary_table
from openreels.types import Context, HiddenStates, StreamState

__all__ = ["SkyReelsV4Transformer"]


@dataclass(frozen=True)
class Entrances:
    """What of the context a tower reads besides one linear layer for the text; the default is nothing.

    refiner_layers, num_heads: of the text refiner. *_dim: widths of the sources. guidance: of a distilled model.
    """

    refiner_layers: int = 0
    num_heads: int = 1
    glyph_dim: int | None = None
    image_dim: int | None = None
    pooled_dim: int | None = None
    guidance: bool = False


class Tower(nn.Module):
    """The ends of one modality's branch: how its state and the context enter as tokens, and a velocity leaves."""

    def __init__(
        self,
        channels: int,
        dim: int,
        text_dim: int,
        modulation_rank: int | None,
        given: bool,
        gaussian_skip: bool,
        entrances: Entrances,
        clean_given: bool = False,
        layout_classes: tuple[int, ...] | None = None,
        sketch_width: int = 0,
        sketch_layers: int = 3,
        sketch_temperature: float = 1.0,
        sketch_trust: float = 0.0,
        sketch_doubt: float | None = None,
        brief_numbers: int = 0,
    ):
        super().__init__()
        self.given, self.gaussian_skip, self.clean_given = given, gaussian_skip, clean_given
        self.sketch_temperature, self.sketch_trust = sketch_temperature, sketch_trust
        self.sketch_doubt = float("inf") if sketch_doubt is None else sketch_doubt
        self.embed = nn.Linear(2 * channels + 1 if given else channels, dim)
        self.embed_layout = self.sketch = None
        if layout_classes is not None:
            numbers = (seen_numbers if given else heard_numbers)(layout_classes)
            waved, turned = (f(layout_classes) if given else () for f in (waved_numbers, turned_numbers))
            # The tower is told of the nearest subject, the sketch of the next one too.
            first = nearest_numbers(layout_classes) if given else numbers
            self.embed_layout = LayoutEmbedding(first, dim, [number for number in waved if number < first])
            self.sketch = Sketch(
                numbers,
                text_dim,
                channels,
                sketch_width,
                waved,
                turned,
                sketch_layers,
                sees=given,
                briefed=brief_numbers if given else 0,
            )
            self.embed_sketch, self.trust_sketch = ZeroLinear(channels, dim), ZeroLinear(dim, channels)
        self.embed_time = TimeEmbedding(dim)
        if entrances.refiner_layers:
            self.embed_text = TextRefiner(text_dim, dim, entrances.num_heads, entrances.refiner_layers)
        else:
            self.embed_text = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, dim))
        self.sources = self.embed_pooled = self.embed_guidance = None
        if entrances.glyph_dim or entrances.image_dim:
            self.sources = ContextSources(dim, entrances.glyph_dim, entrances.image_dim)
        if entrances.pooled_dim:
            self.embed_pooled = two_layers(entrances.pooled_dim, dim, dim)
        if entrances.guidance:
            self.embed_guidance = NumberEmbedding(dim)
        self.norm_out = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.modulation_out = AdaptiveNorm(dim, 2, modulation_rank)
        self.to_velocity = ZeroLinear(dim, channels)

    def sketched(self, state: StreamState, context: Context) -> StreamState:
        """The state with what the tokens to generate probably hold, by the layout they are told; as it is where they
        are told none, and where it was sketched before. Raises ValueError where this model has no entrance for it."""
        if state.layout_BNK is None or state.sketch_BNK is not None:
            return state
        if self.sketch is None:
            raise ValueError("the state holds a layout, for which this model has no entrance")
        sketched = self.sketch(state.layout_BNK, context, Surroundings.of(state))
        return replace(state, sketch_BNK=torch.cat(sketched, dim=-1))

    def tokens(self, state: StreamState) -> Tensor:
        """(B, R + N, D): references, then the tokens to generate."""
        dtype = self.embed.weight.dtype
        parts = (state.noisy_BNC, state.given_BNC, state.mask_BN1, state.reference_BRC)
        noisy, given, mask, reference = (part.to(dtype) for part in parts)
        if not self.given:
            tokens = self.embed(torch.cat([reference, noisy], dim=1))
            return self._told(tokens, state)
        if self.clean_given:
            noisy = torch.where(state.mask_BN1 >= 1, given, noisy)  # before rounding: a share of 1023/1024 is not all
        # M = 0 hides I: what is not given cannot leak, whatever the caller put there.
        generated = torch.cat([noisy, given * (mask > 0), mask], dim=-1)
        clean = torch.cat([reference, reference, torch.ones_like(reference[..., :1])], dim=-1)
        return self._told(self.embed(torch.cat([clean, generated], dim=1)), state)

    def _told(self, tokens_BND: Tensor, state: StreamState) -> Tensor:
        """With what the generated tokens are told of the layout."""
        if state.layout_BNK is None:
            return tokens_BND
        references_BRD, generated_BND = tokens_BND.split([state.references, state.tokens], dim=1)
        sketch_BND = self.embed_sketch(state.sketch_BNK[..., :-1].to(tokens_BND.dtype)) * state.layout_BNK[..., -1:]
        told_BND = self.embed_layout(state.layout_BNK) + sketch_BND.to(tokens_BND.dtype)
        return torch.cat([references_BRD, generated_BND + told_BND], dim=1)

    def text(self, context: Context, time_B: Tensor) -> HiddenStates:
        """The context's tokens at the model's width, (B, L, D): glyph and image states first where there are some."""
        refined = isinstance(self.embed_text, TextRefiner)
        text_BLD = self.embed_text(context, time_B) if refined else self.embed_text(context.hidden_BLD)
        text = HiddenStates(text_BLD, context.mask_BL)
        return text if self.sources is None else self.sources(text, context)

    def inputs(
        self,
        state: StreamState,
        axis_dims: tuple[int, ...],
        theta: float,
        text_mask_BL: Tensor,
        context: Context | None = None,
    ) -> StreamInputs:
        times_BG = state.time_B[:, None]
        if state.references:
            times_BG = torch.cat([torch.ones_like(times_BG), times_BG], dim=1)
        positions_NP = torch.cat([state.reference_positions_RP, state.positions_NP])
        # Flash attention takes no bias. On a CPU there is nothing to win, and kernels differ in the last bits.
        plain = text_mask_BL.device.type not in ("cpu", "meta") and bool(text_mask_BL.all())
        return StreamInputs(
            time_BGD=self._conditioned(self.embed_time(times_BG), context),
            counts=(state.references, state.tokens) if state.references else (state.tokens,),
            rotary=rotary_table(positions_NP, axis_dims, theta),
            text_bias=None if plain else key_mask_bias(text_mask_BL, torch.float32),
        )

    def _conditioned(self, time_BGD: Tensor, context: Context | None) -> Tensor:
        """The times' embeddings, with those of the whole prompt and of the guidance scale added."""
        if self.embed_pooled is not None and context is not None and context.pooled_BE is not None:
            time_BGD = time_BGD + self.embed_pooled(context.pooled_BE)[:, None]
        if self.embed_guidance is not None and context is not None and context.guidance_B is not None:
            # Only what is generated is guided: clean tokens have no scale (as in HunyuanVideo's token replacement).
            guided_B1D = time_BGD[:, -1:] + self.embed_guidance(1000 * context.guidance_B)[:, None]
            time_BGD = torch.cat([time_BGD[:, :-1], guided_B1D], dim=1)
        return time_BGD

    def velocity(self, hidden_states: Tensor, state: StreamState, inputs: StreamInputs) -> Tensor:
        """(B, N, C): d z / d t at the generated tokens, float32."""
        shift, scale = (per_token(m, inputs.counts) for m in self.modulation_out(inputs.time_BGD))
        hidden_states = (self.norm_out(hidden_states) * (1 + scale) + shift)[:, state.references :]
        out = self._skipped(self.to_velocity(hidden_states).float(), state)
        if state.layout_BNK is not None:
            # Two opinions of the same: of what follows from the layout, the tower need not find all anew in the noise.
            mean_BNC, variance_BN1 = state.sketch_BNK[..., :-1], state.sketch_BNK[..., -1:]
            trust_BNC = self.trust_sketch(hidden_states).float()
            if not self.training:
                # What a sketch cannot know (the place that a picture shows) is for the tower to find.
                is_sure_BN1 = variance_BN1 < self.sketch_doubt
                trust_BNC = trust_BNC + self.sketch_trust * is_sure_BN1
                variance_BN1 = torch.where(is_sure_BN1, variance_BN1 * self.sketch_temperature, variance_BN1)
            trust_BNC = torch.sigmoid(trust_BNC) * state.layout_BNK[..., -1:]
            likely_BNC = likely_velocity(state.noisy_BNC, state.time_B, mean_BNC, variance_BN1)
            out = out + trust_BNC * (likely_BNC - out)
        if not self.clean_given:
            return out
        left = (1 - state.time_B.float()).clamp(min=1e-4)[:, None, None]
        return torch.where(state.mask_BN1 >= 1, (state.given_BNC.float() - state.noisy_BNC.float()) / left, out)

    def _skipped(self, out: Tensor, state: StreamState) -> Tensor:
        if not self.gaussian_skip:
            return out
        # For unit-variance latents the best linear guess of the velocity is known; the network adds what it misses.
        t = state.time_B.float()[:, None, None]
        return likely_velocity(state.noisy_BNC, state.time_B) + out * (t**2 + (1 - t) ** 2).rsqrt()


class TwinLayer(nn.Module):
    """Layer i of both towers with the pair of cross-attentions that joins them."""

    def __init__(self, kind: type, dim: int, num_heads: int, mlp_ratio: float, modulation_rank: int | None, bias: dict):
        super().__init__()
        self.video = kind(dim, num_heads, mlp_ratio, modulation_rank, text_cross_attention=True)
        self.audio = kind(dim, num_heads, mlp_ratio, modulation_rank, text_cross_attention=False)
        time_bias = lambda: TimeDistanceBias(num_heads, **bias) if bias else None  # noqa: E731
        self.audio_from_video = CrossAttention(dim, num_heads, time_bias())
        self.video_from_audio = CrossAttention(dim, num_heads, time_bias())

    def forward(
        self,
        hidden_states: Tensor | None,
        encoder_hidden_states: Tensor | None,
        audio_hidden_states: Tensor | None,
        audio_encoder_hidden_states: Tensor | None,
        video_inputs: StreamInputs | None,
        audio_inputs: StreamInputs | None,
        join: _Join | None,
        video_listens: bool = True,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Video and its text (B, N, D), (B, L, D), then audio and its text; a stream that is None stays None.

        A whole layer is one call, so that sharding, checkpointing, offload and compilation can take it as their unit.
        """
        x, text_x, y, text_y = hidden_states, encoder_hidden_states, audio_hidden_states, audio_encoder_hidden_states
        if x is not None:
            x, text_x, video_pending = self.video.attend(x, text_x, video_inputs)
        if y is not None:
            y, text_y, audio_pending = self.audio.attend(y, text_y, audio_inputs)
        if join is not None:
            y = y + join.to_audio(self.audio_from_video, y, x)
            if video_listens:
                x = x + join.to_video(self.video_from_audio, x, y)
        if x is not None:
            x, text_x = self.video.feed_forward(x, text_x, video_pending)
        if y is not None:
            y, text_y = self.audio.feed_forward(y, text_y, audio_pending)
        return x, text_x, y, text_y


class SkyReelsV4Transformer(ModelMixin, ConfigMixin, PeftAdapterMixin, CacheMixin):
    """Joint velocity of video and audio latents.

    video_channels, audio_channels: of the codecs' latents. text_dim: width of the context's hidden states.
    rope_axis_dims: head channels for (frame, row, column); their sum is the head width, num_heads times it the width.
    modulation_rank: bottleneck of the time modulation (None: full, as in the open models).
    time_bias_slope: None = no audio-video time bias; 0 = learnable, starts at none; > 0 = starts looking nearby.
    layout_classes: of things in layouts (`models/layout.py`), which both towers can then be told; None: neither can.
    sketch_width, sketch_layers: of what sketches a told video (`models/sketch.py`); half of each for sound.
    sketch_temperature, sketch_trust: in eval mode, by what the variance of sketches is multiplied, and what is added to
    the logits of the trust in them. Below 1 and above 0 what is drawn stays nearer to them: tokens do not agree on how
    they differ from their sketches, so outlines that go through several of them would wobble (docs/log.md).
    sketch_doubt: the variance of a sketch of sound from which on both are left out: it does not know (say, what a
    thing is made of); None: they never are. Those of pictures look in all that is given, and are trusted.
    brief_numbers: of `Context.brief_BK`, which sketches of a video are told; 0: they are not.
    gaussian_skip: predict the residual of the best linear guess (for models trained from scratch).
    clean_given: tokens that are given entirely show their latents in V too, without noise, and keep them. Open models
    show noise there (False); a small one has more to learn that way (docs/log.md).
    text_refiner_layers: 0 = one linear layer reads the text; more = `TextRefiner` (HunyuanVideo's), in both towers.
    glyph_dim, image_dim, pooled_dim, guidance_embedding: entrances of the video tower for the parts of `Context` that
    HunyuanVideo reads besides text (None, False: no such entrance).
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["TwinLayer"]
    _repeated_blocks: ClassVar = ["TwinLayer"]
    # The ends of the towers ask their weights for the format to work in, which fp8 storage is not.
    _skip_layerwise_casting_patterns: ClassVar = ("^video", "^audio")

    @register_to_config
    def __init__(
        self,
        video_channels: int,
        audio_channels: int,
        text_dim: int,
        num_heads: int,
        rope_axis_dims: tuple[int, int, int],
        num_dual_layers: int,
        num_single_layers: int,
        mlp_ratio: float = 4.0,
        rope_theta: float = 256.0,
        modulation_rank: int | None = None,
        time_bias_slope: float | None = None,
        time_bias_reach: float = 4.0,
        gaussian_skip: bool = False,
        clean_given: bool = False,
        text_refiner_layers: int = 0,
        glyph_dim: int | None = None,
        image_dim: int | None = None,
        pooled_dim: int | None = None,
        guidance_embedding: bool = False,
        layout_classes: tuple[int, ...] | None = None,
        sketch_width: int = 256,
        sketch_layers: int = 3,
        sketch_temperature: float = 1.0,
        sketch_trust: float = 0.0,
        sketch_doubt: float | None = None,
        brief_numbers: int = 0,
    ):
        super().__init__()
        dim = num_heads * sum(rope_axis_dims)
        heard = Entrances(text_refiner_layers, num_heads)
        seen = replace(
            heard, glyph_dim=glyph_dim, image_dim=image_dim, pooled_dim=pooled_dim, guidance=guidance_embedding
        )
        shared = {
            "modulation_rank": modulation_rank,
            "gaussian_skip": gaussian_skip,
            "layout_classes": layout_classes,
            "sketch_temperature": sketch_temperature,
            "sketch_trust": sketch_trust,
            "brief_numbers": brief_numbers,
        }
        self.video = Tower(
            video_channels,
            dim,
            text_dim,
            given=True,
            entrances=seen,
            clean_given=clean_given,
            sketch_width=sketch_width,
            sketch_layers=sketch_layers,
            **shared,
        )
        self.audio = Tower(
            audio_channels,
            dim,
            text_dim,
            given=False,
            entrances=heard,
            sketch_doubt=sketch_doubt,
            sketch_width=sketch_width // 2,
            sketch_layers=max(1, sketch_layers // 2),
            **shared,
        )
        bias = (
            {}
            if time_bias_slope is None
            else {"reach": time_bias_reach, "knots_per_frame": 4, "slope": time_bias_slope}
        )
        kinds = [DualStreamBlock] * num_dual_layers + [SingleStreamBlock] * num_single_layers
        self.layers = nn.ModuleList(TwinLayer(kind, dim, num_heads, mlp_ratio, modulation_rank, bias) for kind in kinds)
        self.gradient_checkpointing = False

    def forward(
        self,
        video: StreamState | None,
        audio: StreamState | None,
        context: Context,
        cross_modal_B: Tensor | None = None,
        video_listens: bool = True,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Velocities (B, N, C) float32 of the streams given; a stream that is None is left out entirely.

        cross_modal_B: 1 = the streams see each other (default), 0 = they do not, per sample: training drops the tie now
        and then, and cross-modal guidance compares the two.
        video_listens: False = video does not attend to audio, so a frozen video tower stays outside the autograd graph
        while the audio tower learns to follow it.
        Raises ValueError where the context holds a source that this model has no entrance for.
        """
        self._check(context)
        context = context.to(self.dtype)
        head_dims = tuple(self.config.rope_axis_dims)
        theta = self.config.rope_theta
        x = text_x = y = text_y = video_inputs = audio_inputs = join = None
        video, audio = self._sketched(video, audio, context)
        if video is not None:
            x, text = self.video.tokens(video), self.video.text(context, video.time_B)
            text_x, video_inputs = text.hidden_BLD, self.video.inputs(video, head_dims, theta, text.mask_BL, context)
        if audio is not None:
            y, text = self.audio.tokens(audio), self.audio.text(context, audio.time_B)
            text_y, audio_inputs = text.hidden_BLD, self.audio.inputs(audio, (sum(head_dims),), theta, text.mask_BL)
        if video is not None and audio is not None:
            join = self._join(video, audio, cross_modal_B, x.dtype)

        for layer in self.layers:
            arguments = (x, text_x, y, text_y, video_inputs, audio_inputs, join, video_listens)
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x, text_x, y, text_y = self._gradient_checkpointing_func(layer, *arguments)
            else:
                x, text_x, y, text_y = layer(*arguments)

        return (
            self.video.velocity(x, video, video_inputs) if video is not None else None,
            self.audio.velocity(y, audio, audio_inputs) if audio is not None else None,
        )

    @apply_forward_hook  # offloading moves the weights
    def sketched(
        self, video: StreamState | None, audio: StreamState | None, context: Context
    ) -> tuple[StreamState | None, StreamState | None]:
        """The states with what follows from the layouts they are told, which is the same at all times: worth finding
        once, before sampling. Raises ValueError where this model has no entrance for layouts."""
        return self._sketched(video, audio, context.to(self.dtype))

    @torch.no_grad()  # it learns by itself
    def _sketched(self, video, audio, context):
        towers = ((self.video, video), (self.audio, audio))
        return tuple(state and tower.sketched(state, context) for tower, state in towers)

    def _check(self, context: Context) -> None:
        config = self.config
        sources = {
            "glyph": config.glyph_dim,
            "image": config.image_dim,
            "pooled_BE": config.pooled_dim,
            "guidance_B": config.guidance_embedding,
        }
        refused = [name for name, entrance in sources.items() if not entrance and getattr(context, name) is not None]
        if refused:
            raise ValueError(f"the context holds {', '.join(refused)}, for which this model has no entrance")

    def _join(self, video: StreamState, audio: StreamState, cross_modal_B: Tensor | None, dtype: torch.dtype) -> _Join:
        head_dim = sum(self.config.rope_axis_dims)
        times = [torch.cat([s.reference_positions_RP, s.positions_NP])[:, 0] for s in (video, audio)]
        # Only time is common to both: here all channels of the head rotate with it, in both streams.
        video_table, audio_table = (rotary_table(t[:, None], (head_dim,), self.config.rope_theta) for t in times)
        biases = [self.layers[0].audio_from_video.time_bias, self.layers[0].video_from_audio.time_bias]
        return _Join(
            video_table,
            audio_table,
            biases[0].basis(times[1], times[0]) if biases[0] is not None else None,
            biases[1].basis(times[0], times[1]) if biases[1] is not None else None,
            None if cross_modal_B is None else cross_modal_B[:, None, None].to(dtype),
        )


class _Join:
    """Rotary tables and time-distance bases of the audio-video cross-attentions, the same in all layers."""

    def __init__(self, video_table, audio_table, audio_basis, video_basis, scale_B11):
        self.audio_rotary, self.video_rotary = (audio_table, video_table), (video_table, audio_table)
        self.audio_basis, self.video_basis, self.scale_B11 = audio_basis, video_basis, scale_B11

    def to_audio(self, layer: CrossAttention, audio_BND: Tensor, video_BND: Tensor) -> Tensor:
        return self._attend(layer, audio_BND, video_BND, self.audio_rotary, self.audio_basis)

    def to_video(self, layer: CrossAttention, video_BND: Tensor, audio_BND: Tensor) -> Tensor:
        return self._attend(layer, video_BND, audio_BND, self.video_rotary, self.video_basis)

    def _attend(self, layer, query, context, rotary, basis) -> Tensor:
        bias = layer.time_bias(basis, query.shape[1]) if basis is not None else None
        out = layer(query, context, rotary, bias)
        return out if self.scale_B11 is None else out * self.scale_B11
