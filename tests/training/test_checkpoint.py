"""Checkpoints: at any moment the old file or the new one, never half of one."""

import pickle
from pathlib import Path

import pytest
import torch

from openreels.training.checkpoint import load_checkpoint, save_checkpoint


def test_round_trip(tmp_path):
    state = {"step": 3, "weights": {"a": torch.arange(4.0)}, "steps": None}
    save_checkpoint(tmp_path / "new" / "x.pt", state)
    loaded = load_checkpoint(tmp_path / "new" / "x.pt")
    assert loaded["step"] == 3 and loaded["steps"] is None
    assert torch.equal(loaded["weights"]["a"], torch.arange(4.0))


def test_no_file_is_no_state(tmp_path):
    assert load_checkpoint(tmp_path / "x.pt") is None


def test_a_failing_save_leaves_the_old_file_and_no_litter(tmp_path):
    save_checkpoint(tmp_path / "x.pt", {"step": 1})
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save_checkpoint(tmp_path / "x.pt", {"weights": torch.ones(1000), "step": lambda: 2})
    assert load_checkpoint(tmp_path / "x.pt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"step": Path}, tmp_path / "x.pt")
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(tmp_path / "x.pt")
