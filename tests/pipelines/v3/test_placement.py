"""Placements carried out on the CPU with tiny networks: the result stays what it was."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.hooks.group_offloading import _get_group_onload_device, _is_group_offload_enabled

from openreels.hardware import Placement
from openreels.pipelines.placement import CONFIGURED, WhileWorking, apply_placement, check, pin_exactly
from openreels.pipelines.v3.parallel import enable_context_parallel


@pytest.fixture
def fresh(r2v):
    """Its own copy of the pipeline: a placement cannot be undone."""
    parts = {name: copy.deepcopy(part) for name, part in r2v.components.items()}
    return type(r2v)(**parts)


@pytest.fixture(scope="module")
def ask(make):
    """One short request with a text, so that every component works."""
    options = {"num_frames": 5, "num_inference_steps": 2, "generator": None, **make.SIZE}

    def run(pipeline) -> np.ndarray:
        return pipeline(make.picture(), "a red ball bounces", **options).frames.astype(int)

    return run


@pytest.fixture(scope="module")
def plain(r2v, ask) -> np.ndarray:
    return ask(r2v)


@pytest.mark.parametrize("where", ["resident", "offload", "group"])
def test_where_weights_are_does_not_change_the_result(fresh, ask, plain, where):
    apply_placement(fresh, Placement(where), "cpu")
    for _ in range(2):  # a second call finds everything in its place again
        np.testing.assert_array_equal(ask(fresh), plain)


@pytest.mark.parametrize("where", ["resident", "group"])
def test_eight_bit_weights(fresh, ask, plain, where):
    apply_placement(fresh, Placement(where, weights="fp8"), "cpu")
    block = fresh.transformer.blocks[0]
    stored = {p.dtype for m in block.modules() if isinstance(m, torch.nn.Linear) for p in m.parameters()}
    assert stored == {torch.float8_e4m3fn}
    assert block.scale_shift_table.dtype == torch.float32
    difference = np.abs(ask(fresh) - plain)
    assert 0 < difference.mean() < 8  # of 255: near, not equal
    assert {p.dtype for p in block.ffn.parameters()} == {torch.float8_e4m3fn}


def test_groups(fresh):
    apply_placement(fresh, Placement("group", tiling=True), "cpu")
    assert _is_group_offload_enabled(fresh.transformer)
    assert _get_group_onload_device(fresh.transformer) == torch.device("cpu")
    assert fresh._execution_device == torch.device("cpu")
    assert isinstance(fresh.text_encoder._hf_hook, WhileWorking)
    assert not hasattr(fresh.vae, "_hf_hook")
    assert fresh.vae.use_tiling


@pytest.mark.parametrize(
    ("placement", "device", "sentence"),
    [
        (Placement("group", prefetch=True), "cpu", "prefetch needs a CUDA device, not cpu"),
        (Placement("group", prefetch=True), "mps", "prefetch needs a CUDA device, not mps"),
        (Placement(weights="fp8"), "mps", "fp8 weights need a CUDA device or the CPU"),
    ],
)
def test_what_a_device_cannot_do(placement, device, sentence):
    with pytest.raises(ValueError, match=sentence):
        check(placement, torch.device(device))


def test_pinned_memory_is_not_rounded_up(monkeypatch):
    for name in CONFIGURED:
        monkeypatch.delenv(name, raising=False)
    pin_exactly()
    settings = os.environ.pop("PYTORCH_ALLOC_CONF", None)
    assert settings == "pinned_max_round_threshold_mb:1"
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    pin_exactly()  # the user's own settings stay
    assert "PYTORCH_ALLOC_CONF" not in os.environ


def test_sharing_needs_processes(r2v):
    with pytest.raises(ValueError, match="process group of two or more"):
        enable_context_parallel(r2v.transformer)


def test_processes_share_a_forward_pass(tmp_path):
    """Two and four processes, tokens that divide and that do not, and sound: equal to one process."""
    script = Path(__file__).parent / "shared_forward.py"
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    differences = json.loads(done.stdout.rsplit("DIFFERENCES", 1)[1])
    assert set(differences) == {"dividing", "uneven", "four", "sound"}
    assert max(differences.values()) < 1e-5, differences
