"""One process of several that share the branches of guidance (see test_parallel.py)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from openreels.flow.guidance import Guidance
from openreels.pipelines.parallel import BatchParallel


@torch.no_grad()
def guided(rank: int, processes: int, folder: Path) -> None:
    """Reads `inputs.pt`, writes the guided velocities and how many samples this process computed to `<rank>.pt`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=processes)
    model, video, audio, prompt, negative = torch.load(folder / "inputs.pt", weights_only=False)
    computed = []

    def counting(video, audio, context, tie):
        computed.append(context.hidden_BLD.shape[0])
        return model(video, audio, context, tie)

    velocities = Guidance(3.0, 2.0)(BatchParallel(counting), video, audio, prompt, negative)
    torch.save((velocities, computed), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
