"""The sentence on wanted kinds of sound: one for each choice, in two languages."""

from itertools import combinations

import pytest

from openreels.prompts import parse
from openreels.prompts.sounds import SWITCHED, sentence

CHOICES = [wanted for count in range(4) for wanted in combinations(SWITCHED, count)]


def test_every_choice_has_its_own_words():
    for language in ("en", "zh"):
        told = [sentence(wanted, language) for wanted in CHOICES]
        assert len(set(told)) == len(CHOICES)
        assert sentence(SWITCHED, language) == ""
        assert all(str(parse(each)) == each for each in told)


@pytest.mark.parametrize(
    "wanted, en, zh",
    [
        (("speech", "effects"), "Without music.", "没有音乐。"),
        (("effects",), "Only the sound effects are heard.", "只有音效。"),
        ((), "No sound is heard.", "没有任何声音。"),
    ],
)
def test_what_it_says(wanted, en, zh):
    assert sentence(wanted) == en and sentence(wanted[::-1], "zh") == zh


def test_unknown_kinds_and_languages_are_refused():
    with pytest.raises(ValueError, match="speech, effects, music, not 'noise'"):
        sentence(("noise",))
    with pytest.raises(ValueError, match="en or zh, not 'fr'"):
        sentence((), "fr")
