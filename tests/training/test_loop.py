"""The training loop: schedules, averages, budgets, and that interruption leaves no trace in the weights."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch

from openreels.training.checkpoint import load_checkpoint
from openreels.training.loop import (
    CALIBRATION_STEPS,
    Interrupted,
    LoopConfig,
    learning_rate_factor,
    run,
    step_generator,
)

pytestmark = pytest.mark.usefixtures("one_thread")
WORKER = str(Path(__file__).with_name("worker.py"))
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def same(a, b) -> bool:
    """Bit-identical nested states."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a if key != "seconds")
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def rows(folder: Path, name: str = "regression") -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


# --- schedules and averages ------------------------------------------------------------------------------------------


def test_the_learning_rate_is_a_trapezoid_with_a_cosine_fall():
    factors = [learning_rate_factor(step, 100, warmup=0.1, decay=0.4) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert factors[10:61] == [1.0] * 51
    assert factors[80] == pytest.approx(0.505)
    assert all(a > b for a, b in pairwise(factors[60:]))
    assert factors[-1] < 0.02


def test_the_optimizer_runs_at_that_rate(worker, tmp_path):
    task = worker.Regression()
    run(task, LoopConfig(tmp_path, steps=20, warmup=0.2, decay=0.5))
    expected = [0.05 * learning_rate_factor(step, 20, 0.2, 0.5) for step in range(19)]
    assert task.rates[1:] == pytest.approx(expected)


def test_the_weights_left_behind_are_the_moving_average(worker, tmp_path):
    task = worker.Regression()
    run(task, LoopConfig(tmp_path, steps=30, ema_decay=0.6))
    raw = load_checkpoint(tmp_path / "regression.pt")["modules"]["line"]["weight"]
    average = task.weights[0]
    for step, weight in enumerate([*task.weights[1:], raw], start=1):
        decay = min(0.6, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(task.model.weight.detach(), average)
    assert not torch.allclose(raw, average, atol=1e-4)


def test_the_loss_falls_and_is_logged(worker, tmp_path):
    run(worker.Regression(), LoopConfig(tmp_path, steps=60, log_every=20))
    log = rows(tmp_path)
    assert [row["step"] for row in log] == [20, 40, 60]
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert log[-1]["error"] == pytest.approx(log[-1]["loss"], abs=1e-5) and log[-1]["samples_per_second"] > 0


# --- randomness ------------------------------------------------------------------------------------------------------


def test_every_seed_stage_step_and_process_draws_numbers_of_its_own():
    keys = list(product((0, 1, 2, 3), ("images", "video", "joint"), (0, 1, 2, 100_000), (0, 1, 2, 3)))
    draws = {torch.rand(2, generator=step_generator(seed, name, step, rank)) for seed, name, step, rank in keys}
    assert len({tuple(draw.tolist()) for draw in draws}) == len(keys)
    again = torch.rand(2, generator=step_generator(3, "joint", 2, 1))
    assert torch.equal(again, torch.rand(2, generator=step_generator(3, "joint", 2, 1)))


# --- budgets ---------------------------------------------------------------------------------------------------------


class Slow:
    """Wraps a task so that a step takes at least 10 ms."""

    def __init__(self, task):
        self.task = task

    def __getattr__(self, name):
        return getattr(self.task, name)

    def loss(self, drawn):
        time.sleep(0.01)
        return self.task.loss(drawn)


def test_minutes_become_a_fixed_number_of_steps(worker, tmp_path):
    run(Slow(worker.Regression()), LoopConfig(tmp_path, minutes=1 / 60))
    state = load_checkpoint(tmp_path / "regression.pt")
    assert state["step"] == state["steps"]
    assert CALIBRATION_STEPS + 1 < state["steps"] <= 100


def test_when_the_budget_ends_early_the_run_can_go_on_as_if_nothing_had_been(worker, tmp_path):
    config = {"steps": 40, "log_every": 5}
    run(worker.Regression(), LoopConfig(tmp_path / "whole", **config))
    with pytest.raises(Interrupted, match="of 40"):
        run(Slow(worker.Regression()), LoopConfig(tmp_path / "parts", minutes=0.1 / 60, **config))
    assert 0 < load_checkpoint(tmp_path / "parts" / "regression.pt")["step"] < 40
    run(worker.Regression(), LoopConfig(tmp_path / "parts", **config))
    assert same(*(load_checkpoint(tmp_path / folder / "regression.pt") for folder in ("whole", "parts")))


def test_a_run_without_any_budget_is_refused(worker, tmp_path):
    with pytest.raises(ValueError, match="steps or a number of minutes"):
        run(worker.Regression(), LoopConfig(tmp_path))


# --- trouble ---------------------------------------------------------------------------------------------------------


class Failing(Slow):
    """Goes wrong at a certain step."""

    def __init__(self, task, at: int, scale: float | None = None):
        super().__init__(task)
        self.at, self.scale = at, scale

    def loss(self, drawn):
        loss, logged = self.task.loss(drawn)
        step, _ = drawn
        if step < self.at:
            return loss, logged
        if self.scale is None:
            raise KeyboardInterrupt
        return loss * self.scale, logged


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights(worker, tmp_path, scale):
    task = worker.Regression()
    with pytest.raises(FloatingPointError, match=r"regression.*step 5"):
        run(Failing(task, 5, scale), LoopConfig(tmp_path, steps=9, checkpoint_minutes=0))
    assert torch.isfinite(task.model.weight).all()
    assert load_checkpoint(tmp_path / "regression.pt")["step"] == 5


@pytest.mark.parametrize("at", [1, 7, 19])
def test_resumed_anywhere_it_ends_bit_identical(worker, tmp_path, at):
    config = {"steps": 20, "checkpoint_minutes": 0, "log_every": 1}
    run(worker.Regression(), LoopConfig(tmp_path / "whole", **config))
    with pytest.raises(KeyboardInterrupt):
        run(Failing(worker.Regression(), at), LoopConfig(tmp_path / "parts", **config))
    task = worker.Regression()
    run(task, LoopConfig(tmp_path / "parts", **config))
    assert len(task.rates) == 20 - at
    assert same(*(load_checkpoint(tmp_path / folder / "regression.pt") for folder in ("whole", "parts")))


def test_steps_done_twice_are_logged_once(worker, tmp_path):
    """Work after the last checkpoint is lost and done again; the log must not show it twice."""
    config = {"steps": 20, "log_every": 1}
    with pytest.raises(Interrupted):
        run(Slow(worker.Regression()), LoopConfig(tmp_path, minutes=0.05 / 60, **config))
    saved = load_checkpoint(tmp_path / "regression.pt")["step"]
    with pytest.raises(KeyboardInterrupt):
        run(Failing(worker.Regression(), saved + 3), LoopConfig(tmp_path, **config))
    run(worker.Regression(), LoopConfig(tmp_path, **config))
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 21))


def test_killed_with_signal_9_it_ends_bit_identical(worker, before_joint):
    """The joint stage of the tiny plan in a process of its own, killed once a checkpoint is there."""
    other = before_joint.with_name("other")
    shutil.copytree(before_joint, other)
    checkpoint, steps = before_joint / "joint.pt", 25
    process = subprocess.Popen([sys.executable, WORKER, "stage", before_joint, str(steps)], env=ONE_THREAD)
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 1 <= load_checkpoint(checkpoint)["step"] < steps

    worker.run_joint(before_joint, steps)
    worker.run_joint(other, steps)
    assert same(load_checkpoint(checkpoint), load_checkpoint(other / "joint.pt"))


# --- drawing ahead ---------------------------------------------------------------------------------------------------


def test_drawing_ahead_in_other_processes_changes_nothing(worker, tmp_path):
    for folder, workers in (("here", 0), ("ahead", 2)):
        run(worker.AheadRegression(), LoopConfig(tmp_path / folder, steps=15, workers=workers))
    assert same(*(load_checkpoint(tmp_path / folder / "regression.pt") for folder in ("here", "ahead")))


# --- several processes -----------------------------------------------------------------------------------------------


def test_two_processes_learn_what_one_learns_from_all_points(worker, tmp_path):
    pair = [subprocess.Popen([sys.executable, WORKER, "pair", tmp_path, str(rank)], env=ONE_THREAD) for rank in (0, 1)]
    assert [process.wait(timeout=120) for process in pair] == [0, 0]
    run(worker.Regression(noise=0.0), LoopConfig(tmp_path / "alone", steps=10, warmup=0.2))
    together, alone = (load_checkpoint(folder / "regression.pt") for folder in (tmp_path, tmp_path / "alone"))
    for key, value in alone["modules"]["line"].items():
        torch.testing.assert_close(together["modules"]["line"][key], value)
    assert rows(tmp_path)[-1]["step"] == 10 and len(rows(tmp_path)) == 1
