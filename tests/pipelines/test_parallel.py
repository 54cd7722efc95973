"""Branches of guidance on several processes."""

import sys
from pathlib import Path

import pytest
import torch
from torch import multiprocessing
from torch.testing import assert_close

from openreels.flow.guidance import Guidance
from openreels.pipelines.parallel import share


@torch.no_grad()
def test_processes_share_the_branches_of_guidance(tiny, shaken, tmp_path, monkeypatch):
    """Three branches on two groups of two processes: the same velocities everywhere, each computes a part of them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    sys.modules.pop("shared_guidance", None)
    from shared_guidance import guided

    inputs = (
        tiny.with_references(tiny.video(batch=1)),
        tiny.audio(batch=1),
        *(tiny.context(1, seed=s) for s in (1, 9)),
    )
    torch.save((shaken, *inputs), tmp_path / "inputs.pt")
    multiprocessing.spawn(guided, (4, tmp_path), nprocs=4)
    expected = Guidance(3.0, 2.0)(shaken, *inputs)
    tokens = inputs[0].tokens + inputs[0].references
    for rank in range(4):
        velocities, computed = torch.load(tmp_path / f"{rank}.pt")
        assert len(computed) == 1 and computed[0][0] == 2 and computed[0][1] < tokens
        for made, wanted in zip(velocities, expected, strict=True):
            assert_close(made, wanted, atol=1e-5, rtol=1e-5)


def test_sharing_needs_processes(shaken):
    with pytest.raises(ValueError, match="needs a process group"):
        share(shaken)
