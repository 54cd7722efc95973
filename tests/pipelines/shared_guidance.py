"""One process of several that share the branches of guidance (see test_parallel.py)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from openreels.flow.guidance import Guidance
from openreels.pipelines.parallel import share


@torch.no_grad()
def guided(rank: int, processes: int, folder: Path) -> None:
    """Reads `inputs.pt`; writes guided velocities, and how many samples and tokens it computed, to `<rank>.pt`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=processes)
    model, video, audio, prompt, negative = torch.load(folder / "inputs.pt", weights_only=False)
    computed = []
    model.layers[0].register_forward_pre_hook(lambda layer, inputs: computed.append(inputs[0].shape[:2]))
    velocities = Guidance(3.0, 2.0)(share(model, context=2), video, audio, prompt, negative)
    torch.save((velocities, computed), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
