"""The benchmark with reels that need no weights: one that paints the truth, one that ignores its prompts."""

from __future__ import annotations

import json
import math

import pytest

from openreels.cli import making
from openreels.cli.__main__ import main
from openreels.evaluation.measures import figure
from openreels.evaluation.suite import cases, evaluate, print_report, save_report
from openreels.pipelines import registry
from openreels.world import sample_scene


class TrueReel:
    """Reads the scene's number from the request's seed: what a perfect model would make."""

    name, weight_hash = "perfect", "0123456789abcdef"
    shift = 0

    def __init__(self, clips_of):
        self.clips_of, self.batches = clips_of, []

    def generate_batch(self, requests):
        self.batches.append(requests)
        return self.clips_of([sample_scene(r.seed + self.shift, duration=2.0, split="held_out") for r in requests])


class DeafReel(TrueReel):
    name, shift = "deaf", 500_000


@pytest.fixture(scope="module")
def reports(clips_of):
    calls = []
    return (
        evaluate(TrueReel(clips_of), count=20, seed=3, progress=lambda done, count: calls.append((done, count))),
        evaluate(DeafReel(clips_of), count=20, seed=3),
        calls,
    )


def test_a_perfect_reel_scores_like_truth(reports):
    report, _, calls = reports
    for row in report.rows:
        assert row.generated.value == pytest.approx(row.truth.value, abs=1e-9, nan_ok=True)
    assert report.row("colour").generated.value >= 0.97
    assert calls == [(16, 20), (20, 20)]


def test_a_reel_that_ignores_its_prompts_does_not(reports):
    _, report, _ = reports
    for name in ("background", "colour", "shape"):
        assert report.row(name).generated.value <= 0.5
        assert (
            report.row(name).truth.value >= 0.95
        )  # one of 20 clips may be missed; test_oracle asks more of more clips
    # Its sound still belongs to its picture: that is measured on the clip itself.
    assert report.row("background").generated.count == 20


def test_prompts_are_fixed_by_the_seed_and_held_out():
    first, again, other = cases(30, 1), cases(30, 1), cases(30, 2)
    assert [case.request for case in first] == [case.request for case in again]
    assert {case.request.prompt for case in first}.isdisjoint(case.request.prompt for case in other)
    assert {case.form for case in cases(60)} == {"structured_en", "structured_zh", "long_en"}
    assert all(case.request.seed == case.expected.scene.seed for case in first)
    assert all(case.request.steps == 7 for case in cases(2, 0, steps=7))


def test_sides_matter_only_where_a_prompt_names_them():
    two = [case for case in cases(200) if len(case.expected.scene.subjects) == 2]
    for case in two:
        named = "on the left" in case.request.prompt.lower() or "左边" in case.request.prompt
        assert case.expected.ordered == named
    assert {case.expected.ordered for case in two} == {True, False}


def test_the_report_is_json_and_a_picture(reports, tmp_path, capsys):
    report = reports[0]
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["rows"][0]["generated"]["count"] == 20
    figures, sheet = save_report(report, tmp_path / "new")
    assert json.loads(figures.read_text())["model"] == "perfect"
    assert sheet.stat().st_size > 1000
    print_report(report)
    assert "contacts" in capsys.readouterr().out


def test_the_verb(clips_of, monkeypatch, capsys, tmp_path):
    reel = TrueReel(clips_of)
    monkeypatch.setattr(making, "loaded", lambda model: reel)
    monkeypatch.setattr(registry, "find", lambda model: None)
    assert main(["eval", "pocket", "--count", "3", "--steps", "5", "--json", "--save", str(tmp_path / "out")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["clips"] == 3 and printed["steps"] == 5
    assert [request.steps for request in reel.batches[0]] == [5, 5, 5]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "sheet.png"}


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--count", "many"], ["--seed", "-1"], ["--steps", "0"]])
def test_bad_flags_are_one_sentence(arguments, capsys):
    assert main(["eval", "pocket", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_intervals():
    wilson = figure([1.0] * 9 + [0.0])
    assert (wilson.value, wilson.count) == (0.9, 10)
    assert wilson.low == pytest.approx(0.5958, abs=1e-3) and wilson.high == pytest.approx(0.9821, abs=1e-3)
    bootstrap = figure([0.2, 0.4, 0.6, 0.8])
    assert 0.2 <= bootstrap.low < 0.5 < bootstrap.high <= 0.8
    assert math.isnan(figure([]).value) and figure([]).count == 0
