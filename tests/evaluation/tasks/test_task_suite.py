"""The table of rows, with reels whose rates are known; and with a real pipeline of random weights."""

from __future__ import annotations

import json

import pytest

from openreels.cli import making
from openreels.cli.__main__ import main
from openreels.evaluation.tasks import case_of, chosen_rows, evaluate_tasks, print_task_report, save_task_report
from openreels.pipelines import registry
from openreels.pipelines.reel import Reel
from openreels.world.examples import ROWS

PAIRS = ("recolour", "tone")


class PerfectReel:
    """Knows the answers: what a perfect model would make."""

    name, weight_hash = "perfect", "0123456789abcdef"
    answer = "target"

    def __init__(self):
        self.asked = []

    def generate_batch(self, requests, media=None):
        assert all(path in media for request in requests for path in request.files.values())
        self.asked += requests
        rows = [next(iter(request.files.values())).split()[0] for request in requests]
        return [getattr(case_of(row, r.seed), self.answer) for row, r in zip(rows, requests, strict=True)]


class IdleReel(PerfectReel):
    """Does nothing."""

    name, weight_hash, answer = "idle", "fedcba9876543210", "nothing"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder, calls = tmp_path_factory.mktemp("tasks"), []
    report = evaluate_tasks(PerfectReel(), PAIRS, 3, 1, 5, folder, lambda done, total: calls.append((done, total)))
    return report, folder, calls


def test_a_perfect_reel_and_an_idle_one(measured):
    report, _, calls = measured
    assert [row.name for row in report.rows] == list(PAIRS) and calls == [(3, 6), (6, 6)]
    for row in report.rows:
        assert (row.generated.value, row.truth.value, row.nothing.value) == (1.0, 1.0, 0.0)
        assert row.generated.count == 3 and row.parts == {"changed": 1.0, "kept": 1.0} and row.seconds > 0
    idle = evaluate_tasks(IdleReel(), ("recolour",), 3, 1)
    assert (idle.row("recolour").generated.value, idle.row("recolour").truth.value) == (0.0, 1.0)
    assert idle.row("recolour").parts == {"changed": 0.0, "kept": 1.0}


def test_an_interrupted_measurement_goes_on(measured):
    report, folder, _ = measured
    assert {path.name for path in folder.iterdir()} == {f"{row}.{kind}" for row in PAIRS for kind in ("json", "png")}
    again = PerfectReel()
    assert evaluate_tasks(again, PAIRS, 3, 1, 5, folder) == report and not again.asked
    assert evaluate_tasks(again, PAIRS[:1], 4, 1, 5, folder).rows[0].generated.count == 4
    assert [request.seed for request in again.asked] == [1_000_003]
    other = IdleReel()  # other weights: nothing of it counts
    assert evaluate_tasks(other, PAIRS[1:], 2, 1, 5, folder).rows[0].generated.value == 0.0 and len(other.asked) == 2


def test_the_table(measured, tmp_path, capsys):
    report = measured[0]
    print_task_report(report)
    printed = capsys.readouterr().out
    assert "recolour" in printed and "2 of 2 rows at 0.80 or more" in printed
    saved = json.loads(save_task_report(report, tmp_path / "new").read_text())
    assert saved["rows"][0]["generated"]["value"] == 1.0 and saved["steps"] == 5


def test_rows_are_chosen_by_name():
    assert chosen_rows(None) == tuple(ROWS) and chosen_rows("tone, night") == ("tone", "night")
    with pytest.raises(ValueError, match=r"rows must be of t2av, .* not 'teleport'"):
        chosen_rows("tone,teleport")


def test_the_verb(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(making, "loaded", lambda model: PerfectReel())
    monkeypatch.setattr(registry, "find", lambda model: None)
    arguments = ["eval", "tasks", "--rows", "tone", "--count", "1", "--json", "--save", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["name"] == "tone"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"tone.json", "tone.png", "tasks.json"}


@pytest.mark.parametrize("arguments", [["--rows", "teleport"], ["--count", "0"], ["--seed", "x"]])
def test_bad_flags_are_one_sentence(arguments, capsys):
    assert main(["eval", "tasks", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("row", ["inpaint-moving", "storyboard"])
def test_a_real_pipeline_is_measured(row, tiny_pipeline, one_thread):
    report = evaluate_tasks(Reel(tiny_pipeline, "tiny", "00"), (row,), 1, steps=1)
    assert report.rows[0].truth.count == 1 and report.rows[0].generated.value == 0.0
