"""Bucket tables and the choice among them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreels.media.aspect import ASPECTS
from openreels.pipelines.v3.sizes import AVATAR_BUCKETS, BUCKETS, exact_aspect, nearest_bucket, pick_size

ALL = [*BUCKETS.values(), *AVATAR_BUCKETS.values()]


@pytest.mark.parametrize("table", ALL)
def test_every_size_is_a_multiple_of_16_and_near_its_key(table):
    assert list(table) == sorted(table)
    for key, (height, width) in table.items():
        assert height % 16 == 0 and width % 16 == 0
        assert height / width == pytest.approx(key, rel=0.05)


def test_tables_have_as_many_entries_as_the_release():
    assert [len(table) for table in BUCKETS.values()] == [17, 27, 17]
    assert [len(table) for table in AVATAR_BUCKETS.values()] == [17, 27, 23]


@pytest.mark.parametrize(
    ("picture", "resolution", "expected"),
    [
        ((1080, 1920), "720P", (720, 1280)),
        ((1080, 1920), "480P", (480, 848)),
        ((1080, 1920), "540P", (544, 960)),
        ((1000, 1000), "720P", (960, 960)),
        ((10, 1000), "720P", (576, 1568)),
        ((1000, 10), "720P", (1376, 656)),
        ((552, 1000), "720P", (720, 1280)),  # by the printed keys .54 and .56; by the sizes' own ratios as well
        ((606, 1000), "720P", (752, 1200)),
    ],
)
def test_official_sizes(picture, resolution, expected):
    assert pick_size(picture, BUCKETS, resolution) == expected


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from(ALL))
def test_the_bucket_has_the_nearest_printed_key(height, width, table):
    size = nearest_bucket(height, width, table)
    key = next(key for key, value in table.items() if value == size)
    assert all(abs(key - height / width) <= abs(other - height / width) for other in table)


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("tables", [BUCKETS, AVATAR_BUCKETS])
def test_every_aspect_may_be_asked_for_at_every_resolution(aspect, tables):
    for resolution in tables:
        height, width = pick_size((64, 64), tables, resolution, aspect)
        assert width / height == pytest.approx(float(ASPECTS[aspect]), rel=0.02)
        exact = exact_aspect(height, width, aspect)
        assert exact[0] <= height and exact[1] <= width and exact[0] % 2 == exact[1] % 2 == 0
        assert abs(exact[1] - exact[0] * float(ASPECTS[aspect])) <= 1.8 and exact[0] * exact[1] > 0.97 * height * width


def test_a_size_may_be_given():
    assert pick_size((64, 64), BUCKETS, "720P", None, 32, 48) == (32, 48)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"resolution": "1080P"}, "resolution must be one of 480P, 540P, 720P"),
        ({"aspect": "2:1"}, "aspect must be one of 16:9"),
        ({"height": 32}, "given together"),
        ({"height": 32, "width": 32, "aspect": "1:1"}, "either aspect or height"),
        ({"height": 40, "width": 32}, "multiples of 16"),
        ({"height": 0, "width": 32}, "multiples of 16"),
    ],
)
def test_bad_sizes(wish, sentence):
    with pytest.raises(ValueError, match=sentence):
        pick_size((64, 64), BUCKETS, **wish)
