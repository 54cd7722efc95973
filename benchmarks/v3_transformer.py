"""The V3 transformer against diffusers' `WanTransformer3DModel` at equal weights: time of a step, memory of a block.

Ratios are of this run, on this machine: ours / diffusers', smaller is better. Processor time on one thread, fastest of
several turns taken in alternation, so that other work on the machine counts as little as possible.

python benchmarks/v3_transformer.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from diffusers import WanTransformer3DModel
from torch.profiler import ProfilerActivity, profile

from openreels.models.wan import SkyReelsV3Transformer
from openreels.models.wan_blocks import BlockInputs, WanBlock

# A tenth of the released width, the released proportions; 9 latent frames of 112 tokens, 512 tokens of text.
SIZES = {"num_attention_heads": 4, "attention_head_dim": 128, "ffn_dim": 1408, "text_dim": 256, "num_layers": 2}
FRAMES, HEIGHT, WIDTH, TEXT = 9, 16, 28, 512


def pair(**sizes) -> tuple[SkyReelsV3Transformer, WanTransformer3DModel]:
    torch.manual_seed(0)
    theirs = WanTransformer3DModel(**sizes).eval()
    ours = SkyReelsV3Transformer(**sizes).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def fastest(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """Processor seconds of each, taken in turn; the first turn is not counted."""
    times = [[] for _ in works]
    for _ in range(repeats + 1):
        for taken, work in zip(times, works, strict=True):
            begin = time.process_time()
            work()
            taken.append(time.process_time() - begin)
    return [min(taken[1:]) for taken in times]


def peak_bytes(work: Callable[[], object]) -> int:
    """Most memory held at once beyond what was held before, by the allocator's own record."""
    work()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    changes = [(e.start_ns(), e.nbytes()) for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for _, change in sorted(changes):
        held += change
        most = max(most, held)
    return most


def step_times(repeats: int) -> None:
    ours, theirs = pair(**SIZES)
    latents, text = torch.randn(1, 16, FRAMES, HEIGHT, WIDTH), torch.randn(1, TEXT, SIZES["text_dim"])
    per_frame = torch.tensor([[0] * 3 + [700] * (FRAMES - 3)])
    per_token = per_frame.repeat_interleave(HEIGHT * WIDTH // 4, dim=1)
    cases = {
        "one time for all frames": (torch.tensor([700]), torch.tensor([700])),
        "a time per frame": (per_frame, per_token),
    }
    for name, (our_time, their_time) in cases.items():
        with torch.no_grad():
            difference = (ours(latents, our_time, text).sample - theirs(latents, their_time, text).sample).abs().max()
            taken = fastest(
                [lambda t=our_time: ours(latents, t, text), lambda t=their_time: theirs(latents, t, text)], repeats
            )
        print(
            f"step, {name}: {taken[0] / taken[1]:.2f} x diffusers' ({taken[0]:.2f} s and {taken[1]:.2f} s; "
            f"outputs differ by {difference:.1e})"
        )


def block_memory(frames: int = 40, tokens: int = 64, dim: int = 256) -> None:
    """V2V's shape of 40 latent frames; a block's inputs, outputs and everything in between, without its weights."""
    head = 64
    sizes = {"num_attention_heads": dim // head, "attention_head_dim": head, "ffn_dim": int(2.7 * dim), "num_layers": 1}
    ours, theirs = (model.blocks[0] for model in pair(**sizes, text_dim=32))
    text = torch.randn(1, TEXT, dim)
    table = torch.randn(1, frames, tokens, 1, head // 2, 2)
    turns = torch.randn(2, 1, frames * tokens, 1, head)
    # As many frames at once, of all frames, as at 720p (3,600 tokens a frame).
    WanBlock.tokens_at_once = max(1, WanBlock.tokens_at_once // 3600) * tokens

    def ours_once() -> None:
        hidden, vectors = torch.empty(1, frames, tokens, dim).normal_(), torch.randn(1, frames, 6, dim)
        ours(hidden, text, BlockInputs(vectors, table))

    def theirs_once() -> None:
        hidden, vectors = torch.empty(1, frames * tokens, dim).normal_(), torch.randn(1, frames * tokens, 6, dim)
        theirs(hidden, text, vectors, tuple(turns))

    with torch.no_grad():
        peaks = [peak_bytes(work) for work in (ours_once, theirs_once)]
    unit = frames * tokens * dim * 4
    print(
        f"block, a time per frame, float32: peak {peaks[1] / peaks[0]:.1f} times below diffusers' per-token "
        f"modulation; in units of the hidden states: {peaks[0] / unit:.1f} and {peaks[1] / unit:.1f}"
    )
    full = 40 * 3600 * 5120 * 4
    print(
        f"  at 720p (144,000 tokens of 5,120 channels, {full / 1e9:.2f} GB in float32): "
        f"{peaks[0] / unit * full / 1e9:.0f} GB and {peaks[1] / unit * full / 1e9:.0f} GB, of which the modulation "
        f"{6 * 40 * 5120 * 4 / 1e9:.3f} GB and {6 * full / 1e9:.1f} GB (twice: as given, and with the block's table)"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=5)
    torch.set_num_threads(1)
    step_times(arguments.parse_args().repeats)
    block_memory()


if __name__ == "__main__":
    main()
