"""Captions of the cuts alone are the ends of whole captions."""

from openreels.world.film_captions import cut_captions, film_captions
from openreels.world.films import CUTS, sample_film


def test_cuts_are_told_as_in_the_whole_caption():
    for seed, kind in enumerate(CUTS * 3):
        film = sample_film(seed, cuts=(kind, ""))
        whole, cuts = film_captions(film, 7), cut_captions(film, 7)
        assert whole.en.endswith(f". {cuts.en}") and whole.zh.endswith(f"。{cuts.zh}")
        assert cuts.en.count(".") == cuts.zh.count("。") == len(film.cuts)


def test_a_single_shot_has_no_cuts_to_tell():
    film = sample_film(0, cuts=())
    assert cut_captions(film, 0).en == cut_captions(film, 0).zh == ""
