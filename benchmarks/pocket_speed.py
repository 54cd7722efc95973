"""How fast the pocket model is here: one clip, a batch, and attention's two paths. Ratios are of this run, on this
machine.

python benchmarks/pocket_speed.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from openreels.nn.attention import reference_attention
from openreels.pipelines import load
from openreels.request import Request


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Fastest of a few runs: the others were disturbed."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def attention_paths(tokens: int) -> float:
    """Forward and backward through PyTorch's SDPA, relative to the written-out reference."""
    q, k, v = (torch.randn(16, tokens, 6, 32, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))

    def fused() -> None:
        heads_first = [x.transpose(1, 2) for x in (q, k, v)]
        torch.nn.functional.scaled_dot_product_attention(*heads_first).sum().backward()

    return seconds(fused) / seconds(lambda: reference_attention(q, k, v).sum().backward())


def main() -> None:
    begin = time.perf_counter()
    reel = load("pocket")
    print(f"load: {time.perf_counter() - begin:.1f} s; threads: {torch.get_num_threads()}")
    request = Request(prompt="A red rubber ball bounces on the grass", duration=2.0)
    one = seconds(lambda: reel(request))
    print(f"one clip of 2.0 s: {one:.2f} s ({one / 2:.2f} x its length)")
    for change in ({"modality": "video"}, {"modality": "audio"}, {"duration": 4.0}, {"aspect": "16:9"}, {"steps": 10}):
        changed = request.model_copy(update=change)
        print(f"  {change}: {seconds(partial(reel, changed)) / one:.2f} x")
    batch = seconds(lambda: reel.generate_batch([request] * 8), repeats=1) / 8
    print(f"  in a batch of 8: {batch / one:.2f} x per clip")
    for tokens in (64, 128, 256, 512):
        print(f"attention, {tokens} tokens, both ways: SDPA takes {attention_paths(tokens):.2f} x the plain product")


if __name__ == "__main__":
    main()
