"""The detector on a few held-out films: sane minimums, and a report that counts what it says. Figures: benchmarks."""

import pytest

from openreels.shots import CUT_KINDS, SINGLE_SHOT
from openreels.world import cut_frames, sample_film

pytest.importorskip("scenedetect", reason="the extra `shots` is not installed")

from openreels.evaluation.shots import ShotReport, measure_shots, score_film


def test_held_out_films_are_cut_where_they_are():
    report = measure_shots(range(500, 516))
    assert report.films == 16 and report.cuts > 15
    assert report.recall >= 0.9 and report.precision >= 0.9 and report.accuracy >= 0.75


def test_films_of_one_shot_stay_whole():
    report = measure_shots(range(600, 608), cuts=())
    assert report.cuts == 0 and report.uncut_films == 8
    assert report.accuracy_of(SINGLE_SHOT) >= 0.85


def test_a_report_counts_hits_misses_and_false_cuts():
    film = sample_film(0, cuts=["cut-in", "multi-angle"])
    first, second = cut_frames(film, 16)
    report = ShotReport()
    score_film(report, film, 16, {first + 1: "cut-in", second + 2: "cut-out"})
    assert report.confusion == {("cut-in", "cut-in"): 1, (film.cuts[1], SINGLE_SHOT): 1, (SINGLE_SHOT, "cut-out"): 1}
    assert (report.cuts, report.recall, report.precision, report.accuracy) == (2, 0.5, 0.5, 0.5)
    score_film(report, sample_film(0, cuts=()), 16, {})
    score_film(report, sample_film(1, cuts=()), 16, {5: "cut-away"})
    assert report.accuracy_of(SINGLE_SHOT) == 0.5 and report.accuracy_of("cut-in") == 1.0
    table = report.table().splitlines()
    assert len(table) == 1 + 1 + len(CUT_KINDS) and table[2].startswith("cut-in") and table[2].endswith("1.000")
