"""Branches of guidance on several processes."""

import sys
from pathlib import Path

import torch
from torch import multiprocessing
from torch.testing import assert_close

from openreels.flow.guidance import Guidance


@torch.no_grad()
def test_processes_share_the_branches_of_guidance(tiny, shaken, tmp_path, monkeypatch):
    """Three branches on two processes: the same velocities everywhere, and neither computes all of them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    sys.modules.pop("shared_guidance", None)
    from shared_guidance import guided

    inputs = (
        tiny.with_references(tiny.video(batch=1)),
        tiny.audio(batch=1),
        *(tiny.context(1, seed=s) for s in (1, 9)),
    )
    torch.save((shaken, *inputs), tmp_path / "inputs.pt")
    multiprocessing.spawn(guided, (2, tmp_path), nprocs=2)
    expected = Guidance(3.0, 2.0)(shaken, *inputs)
    for rank in range(2):
        velocities, computed = torch.load(tmp_path / f"{rank}.pt")
        assert computed == [2]
        for made, wanted in zip(velocities, expected, strict=True):
            assert_close(made, wanted, atol=1e-5, rtol=1e-5)
