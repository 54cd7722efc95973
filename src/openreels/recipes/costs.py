"""What a preset costs: parameters, tokens, FLOPs and memory, counted on the real classes on the meta device.

Counts are exact. The plans made of them (`request_plan.py`, `training_plan.py`) give seconds, days and money too, which
follow from what `ASSUMPTIONS` names; none was measured on the GPUs in question.

Legend: N video tokens, A audio tokens, L text tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, cached_property

import numpy as np
import torch
from accelerate import init_empty_weights

from openreels import hardware
from openreels.media.aspect import canvas_size
from openreels.media.timing import audio_tokens, latent_frames, padded_frames, samples_for
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.nn.metering import flops_by_part, flops_of, parameters_of, peak_of
from openreels.recipes.presets import Preset, preset
from openreels.tasks.states import audio_state, video_state
from openreels.training.stages import part_of
from openreels.types import AudioShape, Context, VideoShape

__all__ = ["ASSUMPTIONS", "BF16", "FLOAT32", "Cost", "Costs", "Size", "costs_of"]

TEXT_TOKENS = 300  # of a structured caption
ASSUMPTIONS = {**hardware.ASSUMPTIONS, "text_tokens": TEXT_TOKENS}
BF16, FLOAT32 = 2, 4
TILE, TILE_STRIDE = 256 // 16, 192 // 16  # tokens; diffusers' defaults


@dataclass(frozen=True)
class Cost:
    """flops: a multiply-add as two. peak: bytes."""

    flops: int
    peak: int


@dataclass(frozen=True)
class Size:
    """A clip as the transformer sees it. grid: latent frames, rows, columns, none without video; audio: tokens, 0 =
    none. reference: grid of reference tokens before it. text: tokens of the prompt."""

    grid: tuple[int, int, int] | None
    audio: int = 0
    reference: tuple[int, int, int] | None = None
    text: int = TEXT_TOKENS

    @property
    def video(self) -> int:
        """Video tokens, references included."""
        return sum(frames * rows * columns for frames, rows, columns in filter(None, (self.grid, self.reference)))


class Costs:
    """A preset, counted. Layers of one kind are alike, so one or two of each are run and the rest is added up."""

    def __init__(self, preset: Preset):
        self.preset = preset
        arguments = preset.transformer
        self.layers = {
            name: arguments[name] for name in ("num_dual_layers", "num_single_layers") if arguments.get(name)
        }

    def size(self, frames: int, height: int, width: int, video: bool = True, audio: bool = True) -> Size:
        """Of a clip of `frames` frames; height, width: of what the user sees, in pixels."""
        canvas = canvas_size(height, width, 16)
        sound = self.preset.audio
        samples = samples_for(frames, Fraction(self.preset.fps), sound.sample_rate)
        grid = (latent_frames(padded_frames(frames)), canvas[0] // 16, canvas[1] // 16)
        return Size(grid if video else None, audio_tokens(samples, sound.samples_per_token) if audio else 0)

    # -- counting -----------------------------------------------------------------------------------------------------

    def _model(self, **layers: int) -> SkyReelsV4Transformer:
        """With so many layers of a kind, one of each other kind that the preset has."""
        counts = dict.fromkeys(self.layers, 1) | layers
        with torch.device("meta"):
            model = SkyReelsV4Transformer(**{**self.preset.transformer, **counts})
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
        return model

    def _added_up(self, count) -> int:
        """Of all layers, from `count(model)` of small ones."""
        one = count(self._one)
        return one + sum((number - 1) * (count(self._two[kind]) - one) for kind, number in self.layers.items())

    @cached_property
    def _one(self) -> SkyReelsV4Transformer:
        return self._model()

    @cached_property
    def _two(self) -> dict[str, SkyReelsV4Transformer]:
        return {kind: self._model(**{kind: 2}) for kind in self.layers}

    @cached_property
    def parameters(self) -> dict[str, int]:
        """Part ("video", "audio", "cross") -> parameters; sketches count with their towers."""

        def is_of(name: str, part: str) -> bool:
            return part == (name.split(".")[0] if part_of(name) == "sketch" else part_of(name))

        def of(part: str):
            return lambda model: sum(p.numel() for name, p in model.named_parameters() if is_of(name, part))

        return {part: self._added_up(of(part)) for part in ("video", "audio", "cross")}

    @property
    def total_parameters(self) -> int:
        return sum(self.parameters.values())

    @cached_property
    def layer_parameters(self) -> int:
        """Of the largest layer: what is gathered at once where weights are sharded, or moved where they stay in RAM."""
        return max(parameters_of(layer) for layer in self._one.layers)

    @cache  # noqa: B019 - lives as long as a plan
    def _polynomial(self, video: bool, audio: bool, references: bool, text: int) -> np.ndarray:
        """FLOPs of one sample: coefficients of `monomials`, which are whole numbers.

        A quadratic in the tokens, by construction of the network; so a few small sizes say all (a test compares).
        """
        joint = [(8, 4), (16, 4), (32, 4), (8, 12), (8, 20), (32, 20)]
        sizes = joint if video and audio else [(8, 8), (16, 16), (32, 32)]
        rows, counted = [], []
        for tokens, sound in sizes:
            size = Size(
                (1, 1, tokens) if video else None, sound if audio else 0, (1, 1, 4) if references else None, text
            )
            rows.append(monomials(size))
            counted.append(self._counted_flops(size))
        return np.rint(np.linalg.lstsq(np.array(rows, dtype=np.float64), np.array(counted, dtype=np.float64))[0])

    def _counted_flops(self, size: Size) -> int:
        inputs = self._inputs(size, 1)
        total, of_layers = flops_by_part(lambda: forward(self._one, inputs), list(self._one.layers))
        return total + sum((n - 1) * flops for n, flops in zip(self.layers.values(), of_layers, strict=True))

    def _inputs(self, size: Size, batch: int) -> tuple:
        """Video, audio and context, bfloat16, on the meta device."""
        arguments, dtype = self.preset.transformer, torch.bfloat16
        with torch.device("meta"):
            video = audio = None
            frames = size.grid[0] if size.grid else 1
            if size.grid:
                shape = VideoShape(0, 0, 0, Fraction(16), *size.grid, arguments["video_channels"])
                video = video_state(shape, batch).to(dtype=dtype)
                if size.reference:
                    count = size.video - video.tokens
                    video = replace(
                        video,
                        reference_BRC=torch.zeros(batch, count, arguments["video_channels"], dtype=dtype),
                        reference_positions_RP=torch.zeros(count, 3),
                    )
            if size.audio:
                shape = AudioShape(0, 0, size.audio, arguments["audio_channels"])
                audio = audio_state(shape, frames, batch).to(dtype=dtype)
            hidden = torch.zeros(batch, size.text, arguments["text_dim"], dtype=dtype)
            return video, audio, Context(hidden, torch.ones(batch, size.text, dtype=torch.bool))

    def forward_flops(self, size: Size, batch: int = 1) -> int:
        """Of one evaluation of the transformer. A training step takes three times as many, four with checkpointing."""
        coefficients = self._polynomial(size.grid is not None, size.audio > 0, size.reference is not None, size.text)
        return batch * sum(int(c) * m for c, m in zip(coefficients, monomials(size), strict=True))

    @cache  # noqa: B019
    def forward_bytes(self, size: Size, batch: int = 1) -> int:
        """Peak of activations during an evaluation without gradients, bfloat16; it does not grow with depth."""
        inputs = self._inputs(size, batch)
        return max(peak_of(lambda model=model: forward(model, inputs)) for model in self._two.values())

    @cache  # noqa: B019
    def training_bytes(self, size: Size, batch: int = 1) -> int:
        """Peak of activations in a training step with every layer checkpointed: the inputs of all layers, and all that
        the largest layer and the ends of the model make, gradients of one layer of each kind included."""
        width = self._one.config.num_heads * sum(self._one.config.rope_axis_dims)
        texts = size.text * (bool(size.video) + bool(size.audio))
        kept = BF16 * width * batch * (size.video + size.audio + texts)
        others = sum(self.layers.values()) - len(self.layers)
        inputs = self._inputs(size, batch)
        return others * kept + peak_of(lambda: checkpointed_step(self._one, inputs))

    # -- codecs -------------------------------------------------------------------------------------------------------

    @cached_property
    def video_vae(self) -> torch.nn.Module:
        """The video codec at its released size, without weights."""
        import diffusers

        from openreels.codecs.video import PocketVideoVAE

        name = self.preset.video.class_name
        with torch.device("meta"):
            vae = (PocketVideoVAE if name == "PocketVideoVAE" else getattr(diffusers, name))()
        return vae.to(torch.bfloat16)

    @cached_property
    def codec_parameters(self) -> int:
        """Of the video codec, the audio codec and the vocoder, where these are released classes."""
        import diffusers

        sound = [getattr(diffusers, name, None) for name in self.preset.audio.class_names]
        with init_empty_weights():  # not the meta device: they compute filters while they are built
            return parameters_of(self.video_vae) + sum(parameters_of(part()) for part in sound if part is not None)

    @cached_property
    def _decoding(self) -> tuple[np.ndarray, np.ndarray]:
        """FLOPs and peak bytes of the video codec as coefficients of (S, F S, (F S)^2), S tokens of a frame, F latent
        frames: convolutions grow with the first two, attention in the middle with the last."""
        grids = ((2, 2, 2), (3, 2, 2), (3, 4, 4))
        counted = [self._decoded(grid) for grid in grids]
        basis = np.array([self._basis(grid) for grid in grids], dtype=np.float64)
        return tuple(np.linalg.solve(basis, [getattr(cost, name) for cost in counted]) for name in ("flops", "peak"))

    @staticmethod
    def _basis(grid: tuple[float, float, float]) -> tuple[float, float, float]:
        frames, rows, columns = grid
        frame, clip = rows * columns, frames * rows * columns
        return frame, clip, clip**2

    def _decoded(self, grid: tuple[int, int, int]) -> Cost:
        frames, rows, columns = grid
        codec, vae = self.preset.video, self.video_vae
        shape = (1, codec.channels, frames, rows * codec.patch, columns * codec.patch)
        latents = torch.empty(shape, dtype=torch.bfloat16, device="meta")

        def decode() -> None:
            with torch.no_grad():
                vae.decode(latents)

        return Cost(flops_of(decode), peak_of(decode))

    def decoding(self, grid: tuple[int, int, int], tiled: bool) -> Cost:
        """Of the video codec, latents to pixels, in bfloat16: from three sizes that were counted.

        grid: latent frames, rows and columns of tokens. tiled: tiles of 256 pixels every 192, over the whole length.
        """
        flops, peak = self._decoding
        frames, rows, columns = grid
        pixels = BF16 * 3 * 16 * 16 * self._basis(grid)[1] * self.preset.video.temporal
        tiles = [(frames, r, c) for r in _tiles(rows) for c in _tiles(columns)] if tiled else [grid]
        working = max(peak @ self._basis(tile) for tile in tiles)
        return Cost(
            round(sum(flops @ self._basis(tile) for tile in tiles)), round(working + (2 * pixels if tiled else 0))
        )


@cache
def costs_of(name: str) -> Costs:
    """Of the preset with this name, counted once in a process. Raises ValueError for a name that is no preset."""
    return Costs(preset(name))


def _tiles(tokens: int) -> list[int]:
    """Lengths of the tiles along a side of 16-pixel tokens; the last ones end where it does."""
    return [min(TILE, tokens - start) for start in range(0, tokens, TILE_STRIDE)]


def monomials(size: Size) -> tuple[int, ...]:
    """Of what FLOPs are a quadratic in; those of an absent stream are 0."""
    video, audio = size.video, size.audio
    return (1, video, video**2, audio, audio**2, video * audio)


@torch.no_grad()
def forward(model: SkyReelsV4Transformer, inputs: tuple) -> None:
    model(*inputs)


def checkpointed_step(model: SkyReelsV4Transformer, inputs: tuple) -> None:
    """Forward and backward; the model is left as it was."""
    model.enable_gradient_checkpointing()
    sum(velocity.sum() for velocity in model(*inputs) if velocity is not None).backward()
    model.disable_gradient_checkpointing()
    model.zero_grad()
