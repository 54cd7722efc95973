"""The V4 dual-stream block against diffusers' HunyuanVideo-1.5 block at equal weights, and what sound costs.

Ratios are of this run, on this machine: smaller is better. Processor time on one thread, fastest of several turns taken
in alternation, so that other work on the machine counts as little as possible.

python benchmarks/v4_block.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import torch
from diffusers import HunyuanVideo15Transformer3DModel
from torch import Tensor

from openreels.models.blocks import StreamInputs
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.models.warm_start import plan_warm_start, write_warm_start
from openreels.nn.attention import key_mask_bias
from openreels.nn.rope import rotary_table
from openreels.recipes.presets import preset
from openreels.tasks.states import audio_state, video_state
from openreels.types import AudioShape, Context, VideoShape

# A quarter of the released width in heads of the released width; prompts of 256 tokens, of which 160 are real.
HEADS, AXES, TEXT, REAL = 4, (16, 56, 56), 256, 160
WIDTH = HEADS * sum(AXES)
LATENT_FRAMES, AUDIO_TOKENS = 21, 218  # the paper's example: 5 s
GRIDS = {"256p": (16, 16), "480p": (30, 52), "720p": (45, 80), "1080p": (68, 120)}


def fastest(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """Processor seconds of each, taken in turn; the first turn is not counted."""
    times = [[] for _ in works]
    for _ in range(repeats + 1):
        for taken, work in zip(times, works, strict=True):
            begin = time.process_time()
            work()
            taken.append(time.process_time() - begin)
    return [min(taken[1:]) for taken in times]


def pair() -> tuple[SkyReelsV4Transformer, HunyuanVideo15Transformer3DModel]:
    """One layer each, ours warm-started from theirs."""
    torch.manual_seed(0)
    theirs = HunyuanVideo15Transformer3DModel(
        num_attention_heads=HEADS, num_layers=1, num_refiner_layers=1, text_embed_dim=64, image_embed_dim=64
    )
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        plan = plan_warm_start("hunyuanvideo-1.5", Path(folder), {"audio_channels": 40})
        write_warm_start(plan, Path(folder) / "ours")
        return SkyReelsV4Transformer.from_pretrained(Path(folder) / "ours").eval(), theirs.eval()


def blocks(repeats: int) -> None:
    our_model, their_model = pair()
    ours, theirs = our_model.layers[0].video, their_model.transformer_blocks[0]
    text_cross = ours.text_cross
    mask_BL = torch.arange(TEXT)[None] < REAL
    for grid in ((4, 16, 16), (8, 16, 16), (16, 16, 16)):
        axes = torch.meshgrid(*(torch.arange(n).float() for n in grid), indexing="ij")
        positions_NP = torch.stack(axes, -1).reshape(-1, 3)
        tokens = len(positions_NP)
        x, text, time_1D = torch.randn(1, tokens, WIDTH), torch.randn(1, TEXT, WIDTH), torch.randn(1, WIDTH)
        inputs = StreamInputs(
            time_1D[:, None], (tokens,), rotary_table(positions_NP, AXES, 256.0), key_mask_bias(mask_BL, torch.float32)
        )
        table = their_model.rope(torch.empty(1, 1, *grid))

        def ours_once(x=x, text=text, inputs=inputs) -> tuple[Tensor, Tensor]:
            return ours.feed_forward(*ours.attend(x, text, inputs))

        def ours_without(work=ours_once) -> tuple[Tensor, Tensor]:
            ours.text_cross = None
            out = work()
            ours.text_cross = text_cross
            return out

        def theirs_once(x=x, text=text, time_1D=time_1D, table=table) -> tuple[Tensor, Tensor]:
            return theirs(x, text, time_1D, mask_BL, table)

        with torch.no_grad():
            difference = max((work()[0] - theirs_once()[0]).abs().max() for work in (ours_once, ours_without))
            without, with_cross, their_time = fastest([ours_without, ours_once, theirs_once], repeats)
        print(
            f"block, {tokens} + {TEXT} tokens of {WIDTH}: text cross-attention off {without / their_time:.2f} x "
            f"diffusers', on (at zero) {with_cross / their_time:.2f} x ({without:.3f}, {with_cross:.3f}, "
            f"{their_time:.3f} s; outputs differ by {difference:.1e})"
        )


def layer_flops(dim: int, tokens: int, audio: int, text: int = TEXT) -> tuple[int, int]:
    """Of one dual-stream layer: (video alone, what sound adds). Multiply-adds count two; norms and gates nothing.

    A block's matrices are 12 D^2 a token (QKV 3, output 1, MLP 8), a cross-attention's 2 D^2 a query and 2 D^2 a key.
    """

    def block(count: int) -> int:
        return 2 * 12 * dim**2 * (count + text) + 4 * dim * (count + text) ** 2

    def cross(queries: int, keys: int) -> int:
        return 2 * 2 * dim**2 * (queries + keys) + 4 * dim * queries * keys

    return block(tokens) + cross(tokens, text), block(audio) + cross(audio, tokens) + cross(tokens, audio)


def sound_by_arithmetic() -> None:
    chosen = preset("full").transformer
    dim = chosen["num_heads"] * sum(chosen["rope_axis_dims"])
    for name, (rows, columns) in GRIDS.items():
        tokens = LATENT_FRAMES * rows * columns
        alone, added = layer_flops(dim, tokens, AUDIO_TOKENS)
        print(
            f"sound, full at {name}, 5 s: {tokens:,} + {AUDIO_TOKENS} tokens, {chosen['num_dual_layers'] * alone:.3g} "
            f"FLOPs a forward pass for video, {added / alone:+.1%} with sound"
        )


def sound_measured(repeats: int) -> None:
    """Steps at the paper's proportions of tokens to width and of sound to picture, scaled down."""
    full_dim = 2048
    for name, heads, side in (("480p", 4, 14), ("720p", 2, 15)):
        dim, tokens = heads * 64, LATENT_FRAMES * side**2
        whole = LATENT_FRAMES * GRIDS[name][0] * GRIDS[name][1]
        audio_tokens, text = round(AUDIO_TOKENS * tokens / whole), round(TEXT * tokens / whole)
        torch.manual_seed(0)
        model = SkyReelsV4Transformer(8, 8, 32, heads, (8, 28, 28), 2, 0).eval()
        shape = VideoShape(81, 16 * side, 16 * side, Fraction(16), LATENT_FRAMES, side, side, 8)
        video = video_state(shape, 1)
        audio = audio_state(AudioShape(1, 44_100, audio_tokens, 8), LATENT_FRAMES, 1)
        context = Context(torch.randn(1, text, 32), torch.ones(1, text, dtype=torch.bool))
        for training in (False, True):

            def step(sound, training=training, video=video, context=context, model=model) -> None:
                with torch.set_grad_enabled(training):
                    velocities = model(video, sound, context)
                    if training:
                        sum(v.square().mean() for v in velocities if v is not None).backward()

            alone, joint = fastest([lambda: step(None), lambda audio=audio: step(audio)], repeats)
            flops = layer_flops(dim, tokens, audio_tokens, text)
            print(
                f"sound, {name} scaled to width {dim} ({tokens} + {audio_tokens} tokens; tokens / width "
                f"{tokens / dim:.1f}, at full size {whole / full_dim:.1f}), {'training' if training else 'forward'}: "
                f"{joint / alone - 1:+.1%} ({alone:.2f} s and {joint:.2f} s; arithmetic {flops[1] / flops[0]:+.1%})"
            )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=5)
    repeats = arguments.parse_args().repeats
    torch.set_num_threads(1)
    blocks(repeats)
    sound_by_arithmetic()
    sound_measured(repeats)


if __name__ == "__main__":
    main()
