"""Rows as data: every one can be drawn and said, and source, target and references differ where they should, only."""

import re
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import pairwise, product

import pytest

from openreels.prompts import check_tags, parse
from openreels.world import held_out
from openreels.world.captions import _COLOUR_EN, _COLOUR_ZH, _KIND_EN, _KIND_ZH, _PLACE_EN, _PLACE_ZH
from openreels.world.examples import GROUPS, ROWS, sample_example
from openreels.world.films import CUTS
from openreels.world.motion import contacts

SEEDS = range(20)
SPLITS = ("train", "held_out")
TABLE = """
t2av t2i t2a-speech t2a-effects t2a-music t2a-singing first-frame last-frame first-and-last-frame key-frames extension
extension-cut-in extension-cut-out extension-multi-angle extension-shot-reverse-shot extension-cut-away references-1
references-2 references-3 references-4 storyboard motion-reference expression-reference background-and-clip
effect-reference inpaint-subject inpaint-attribute inpaint-background inpaint-moving inpaint-reference
inpaint-two-references remove-watermark remove-subtitle remove-logo remove-subject add-subject replace-subject recolour
repattern accessory edit-background style camera weather night tone sound-to-speech sound-to-impacts video-to-sound
voice-reference music-reference speakers multi-shot sounds-switched retake
"""
NAMES = TABLE.split()


@cache
def cases(name, splits=SPLITS):
    return [sample_example(name, seed, split=split) for split, seed in product(splits, SEEDS)]


def films(example):
    yield example.target
    if example.source is not None:
        yield example.source
    for reference in example.references:
        yield from reference.films


def scene(film):
    return film.shots[0].scene


def look(subject):
    """What makes it the same subject elsewhere."""
    names = ("kind", "colour", "size", "radius", "material", "accessory", "pattern")
    return tuple(getattr(subject, name) for name in names)


def triples(film):
    return {(s.colour, s.kind, s.motion.kind) for shot in film.shots for s in shot.scene.subjects}


def differences(one, other, path=""):
    """Names of the fields that differ; lists of different lengths are one field."""
    if is_dataclass(one) and type(one) is type(other):
        for field in fields(one):
            yield from differences(getattr(one, field.name), getattr(other, field.name), f"{path}.{field.name}")
    elif isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for a, b in zip(one, other, strict=True):
            yield from differences(a, b, path)
    elif one != other:
        yield path.removeprefix(".shots.")


# -- all rows ---------------------------------------------------------------------------------------------------------


def test_the_rows_are_those_of_the_table():
    assert set(ROWS) == set(NAMES)
    assert {row.group for row in ROWS.values()} == set(GROUPS)
    assert all(row.has_picture or row.has_sound for row in ROWS.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_case_is_a_function_of_its_arguments_and_can_be_said(name):
    prompts = []
    for example, (split, seed) in zip(cases(name), product(SPLITS, SEEDS), strict=True):
        assert example == sample_example(name, seed, split=split)
        tags = [reference.tag for reference in example.references]
        edited = ["video_1"] if example.source is not None and example.region is None else []
        tree = parse(example.prompt, tags + edited)
        check_tags(tree, tags + edited)
        assert set(tags) <= {mention.name for mention in tree.mentions}
        if not ROWS[name].still:
            assert example.target.duration == pytest.approx(33 / 16)
        prompts.append(example.prompt)
    assert len(set(prompts)) >= 4
    chinese = sum(bool(re.search("[\u4e00-\u9fff]", prompt)) for prompt in prompts)
    assert 3 <= chinese <= 22


@pytest.mark.parametrize("name", NAMES)
def test_cases_of_a_row_can_be_batched(name):
    """What is handed over besides frames of the clip has the same kinds and lengths."""
    signatures = {
        (
            tuple((each.tag, each.kind, each.kind == "image" or each.films[0].duration) for each in example.references),
            example.source is None,
            example.region is None,
            example.given,
        )
        for example in cases(name)
    }
    assert len(signatures) == 1


@pytest.mark.parametrize("name", NAMES)
def test_combinations_that_are_held_out(name):
    for example in cases(name, ("train",)):
        assert not any(held_out(*triple) for film in films(example) for triple in triples(film))
    for example in cases(name, ("held_out",)):
        assert any(held_out(*triple) for triple in triples(example.target))


@pytest.mark.parametrize("duration, frames", [(2.0, 33), (33 / 16, 33), (1.0, 17)])
def test_durations_are_whole_latent_frames(duration, frames):
    for name in ("t2av", "key-frames", "retake", "recolour", "speakers"):
        example = sample_example(name, 0, duration=duration)
        assert example.target.duration * 16 == pytest.approx(frames)


@pytest.mark.parametrize("aspect", [16 / 9, 9 / 16])
def test_other_aspects(aspect):
    for name in NAMES:
        example = sample_example(name, 1, aspect=aspect)
        assert all(film.aspect == aspect for film in films(example))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"row must be one of t2av, .*not 'colour'"):
        sample_example("colour", 0)
    with pytest.raises(ValueError, match=r"at least 1\.0 s, not 0\.5"):
        sample_example("t2av", 0, duration=0.5)
    with pytest.raises(ValueError, match=r"duration of multi-shot must be 1\.8 to 2\.6 s, not 4\.0625"):
        sample_example("multi-shot", 0, duration=4.0)


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_key_frames_are_single_frames_apart_from_each_other():
    for example in cases("key-frames"):
        places = [round(start * 16) for start, _ in example.kept]
        assert 2 <= len(places) <= 4 and places[0] >= 0 and places[-1] <= 32
        assert all(end - start == pytest.approx(1 / 16) for start, end in example.kept)
        assert all(b - a >= 4 for a, b in pairwise(places))


@pytest.mark.parametrize("cut", CUTS)
def test_an_extension_goes_on_after_its_cut(cut):
    for example in cases(f"extension-{cut}"):
        assert example.target.cuts == (cut,)
        assert example.kept == ((0.0, pytest.approx(example.target.cut_times[0])),)


def test_a_retake_keeps_both_ends():
    for example in cases("retake"):
        (start, begin), (end, duration) = example.kept
        assert start == 0.0 and duration == example.target.duration
        assert 0.25 <= begin < end <= duration - 0.25 and 0.6 < end - begin < 1.1


# -- exact pairs ------------------------------------------------------------------------------------------------------

CHANGED = {
    "remove-watermark": {"scene.overlay"},
    "remove-subtitle": {"scene.overlay"},
    "remove-logo": {"scene.overlay"},
    "remove-subject": {"scene.subjects"},
    "add-subject": {"scene.subjects"},
    "recolour": {"scene.subjects.colour"},
    "repattern": {"scene.subjects.pattern"},
    "accessory": {"scene.subjects.accessory"},
    "edit-background": {"scene.background"},
    "style": {"scene.style"},
    "camera": {"move"},
    "weather": {"scene.weather"},
    "night": {"scene.night"},
    "tone": {"scene.tone"},
    "inpaint-background": {"scene.background"},
}


@pytest.mark.parametrize("name", CHANGED)
def test_an_edit_changes_one_thing(name):
    for example in cases(name):
        assert set(differences(example.source, example.target)) == CHANGED[name]


@pytest.mark.parametrize("name", ["replace-subject", "inpaint-subject", "inpaint-moving", "inpaint-reference"])
def test_a_replaced_subject_moves_as_the_old_one(name):
    what = {f"scene.subjects.{each}" for each in ("kind", "colour", "material", "accessory", "pattern")}
    for example in cases(name):
        found = set(differences(example.source, example.target))
        assert {"scene.subjects.kind", "scene.subjects.colour"} <= found <= what


def test_added_and_removed_subjects():
    for name, more in (("add-subject", "target"), ("remove-subject", "source")):
        for example in cases(name):
            full, less = (scene(example.target), scene(example.source))[:: 1 if more == "target" else -1]
            assert len(full.subjects) == 2 and set(less.subjects) < set(full.subjects)


def test_instructions_name_the_side():
    for example in cases("add-subject"):
        new, old = scene(example.target).subjects[0], scene(example.source).subjects[0]
        side = ("left", "左") if new.motion.x < old.motion.x else ("right", "右")
        assert any(word in example.prompt for word in side)


# -- references -------------------------------------------------------------------------------------------------------

PORTRAITS = ["references-1", "references-2", "references-3", "references-4", "inpaint-reference"]


@pytest.mark.parametrize("name", [*PORTRAITS, "inpaint-two-references"])
def test_references_show_the_same_subject_elsewhere(name):
    for example in cases(name):
        target, shown = scene(example.target), set()
        for reference in example.references:
            there = scene(reference.films[0])
            who = [look(each) for each in target.subjects]
            same = [each for each in there.subjects if look(each) in who]
            if not same:  # the place
                assert (there.background, there.night, there.floor) == (target.background, target.night, target.floor)
                assert there.variant != target.variant
                continue
            shown.add(look(same[0]))
            assert there.background != target.background
            assert all((each.motion, each.speech) != (same[0].motion, same[0].speech) for each in target.subjects)
        assert len(shown) == (1 if name in ("references-1", "inpaint-reference") else len(target.subjects))


def count_of(name):
    return int(name[-1])


@pytest.mark.parametrize("name", [name for name in PORTRAITS if name[-1].isdigit()])
def test_a_prompt_does_not_tell_what_a_reference_shows(name):
    for example in cases(name):
        assert len(example.references) == count_of(name)
        visual = parse(example.prompt).visual.lower()
        for place in (*sum(_PLACE_EN.values(), ()), *sum(_PLACE_ZH.values(), ())):
            visual = visual.replace(place, "")
        for subject in scene(example.target).subjects:
            for word in (*_COLOUR_EN[subject.colour], *_KIND_EN[subject.kind]):
                assert not re.search(rf"\b{word}\b", visual), example.prompt
            for word in (*_COLOUR_ZH[subject.colour], *_KIND_ZH[subject.kind]):
                assert word not in visual.replace("绕圈", "").replace("转圈", "").replace("圆圈", ""), example.prompt


def test_tags_do_not_tell_the_sides():
    first_left = 0
    for example in cases("inpaint-two-references"):
        left = min(scene(example.target).subjects, key=lambda each: each.motion.x)
        first_left += look(scene(example.references[0].films[0]).subjects[0]) == look(left)
    assert 8 < first_left < 32


def test_a_motion_is_taken_from_a_clip():
    for example in cases("motion-reference"):
        portrait, clip = (scene(reference.films[0]).subjects[0] for reference in example.references)
        (target,) = scene(example.target).subjects
        assert look(portrait) == look(target) and portrait.motion != target.motion
        assert clip.motion == target.motion and (clip.kind, clip.colour) != (target.kind, target.colour)


def test_an_expression_is_taken_from_a_clip():
    for example in cases("expression-reference"):
        portrait, clip = (scene(reference.films[0]).subjects[0] for reference in example.references)
        (target,) = scene(example.target).subjects
        assert look(portrait) == look(target) and portrait.speech != target.speech
        assert (clip.speech, clip.blinks) == (target.speech, target.blinks) and clip.kind != target.kind


def test_background_and_clip():
    for example in cases("background-and-clip"):
        place, clip = (scene(reference.films[0]) for reference in example.references)
        target = scene(example.target)
        assert clip.subjects == target.subjects and clip.background != target.background == place.background


def test_an_effect_is_taken_from_a_clip():
    for example in cases("effect-reference"):
        first, clip = example.references
        assert first.films == (example.target,) and first.moment == 0.0
        target, other = scene(example.target), scene(clip.films[0])
        assert target.effect == other.effect is not None and target.subjects != other.subjects


def test_a_storyboard_has_its_panels_in_order():
    for example in cases("storyboard"):
        (board,) = example.references
        shots = example.target.shots
        assert len(shots) in (2, 3) and len(board.films) in (len(shots), 2 * len(shots))
        each = len(board.films) // len(shots)
        for index, panel in enumerate(board.films):
            shot, drawn = shots[index // each], panel.shots[0]
            assert (drawn.camera, drawn.scene.subjects) == (shot.camera, shot.scene.subjects)
            assert drawn.scene.variant != shot.scene.variant
            assert shot.start <= drawn.start <= shot.start + shot.duration


def test_a_storyboard_tells_directions_as_they_are_seen():
    told = 0
    for example in cases("storyboard"):
        parts = re.split("，然后|, then ", example.prompt)
        for shot, part in zip(example.target.shots, parts, strict=True):
            seen = [shot.scene.subjects[i] for i in shot.seen]
            if len(seen) == 1 and seen[0].motion.kind in ("slide", "roll") and shot.camera.mirrored:
                right = seen[0].motion.distance < 0
                to_right = re.search("to the right|to right|(slides|rolls) right|向右|右边$|到右边|滚向右|滑向右", part)
                assert bool(to_right) == right, part
                told += 1
    assert told


# -- sounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["voice-reference", "speakers"])
def test_a_voice_says_something_else(name):
    for example in cases(name):
        voices = {}
        for reference in example.references:
            there = scene(reference.films[0])
            assert set(there.muted) == {"effects", "music", "ambience"}
            speech = there.subjects[0].speech
            voices[speech.voice, speech.pitch] = speech.syllables
        faces = scene(example.target).subjects
        assert len(voices) == len(faces)
        for face in faces:
            assert voices[face.speech.voice, face.speech.pitch] != face.speech.syllables
        assert not re.search("(low|deep|high|high-pitched) voice|低沉|低音|高音|高高|尖细|浑厚", example.prompt)


def test_speakers_take_turns_at_their_places():
    beginners = set()
    for example in cases("speakers"):
        left, right = scene(example.target).subjects
        assert left.motion.x + left.radius * 1.2 < right.motion.x - right.radius * 1.2 + 0.1
        spoken = sorted((each.start, who) for who, face in enumerate((left, right)) for each in face.speech.syllables)
        order = [who for _, who in spoken]
        assert order == sorted(order, reverse=order[0] == 1) and set(order) == {0, 1}
        beginners.add(order[0])
        told = re.search("<dialogue>(.*)</dialogue>", example.prompt)[1]
        first = min(("left", 0), ("左边", 0), ("right", 1), ("右边", 1), key=lambda each: told.find(each[0]) % 10**6)
        assert first[1] == order[0]
    assert beginners == {0, 1}


def test_music_of_the_same_mood():
    for example in cases("music-reference"):
        theme, target = scene(example.references[0].films[0]).melody, scene(example.target).melody
        assert theme.mood == target.mood and theme.notes != target.notes
        assert not re.search("cheer|happy|lively|sad|melanch|欢快|轻快|忧伤|悲伤", example.prompt)


def test_kinds_of_sound_that_are_switched_off():
    for example in cases("sounds-switched"):
        target = scene(example.target)
        audible = {"music"} | {"speech" for each in target.subjects if each.speech}
        audible |= {"effects"} if contacts(target) else set()
        assert audible & set(target.muted) and audible - set(target.muted)
        assert ("effects" in target.muted) == ("ambience" in target.muted)


def test_what_is_given_decides_the_rest():
    for example in cases("sound-to-impacts"):
        assert example.given == "sound" and contacts(scene(example.target))
    for example in cases("sound-to-speech"):
        assert example.given == "sound" and scene(example.target).subjects[0].speech.syllables
    assert all(example.given == "picture" for example in cases("video-to-sound"))


def test_singers_sing():
    for example in cases("t2a-singing"):
        assert scene(example.target).subjects[0].speech.is_sung


def test_subjects_are_dressed_now_and_then_but_never_behind_a_mask():
    worn = [
        (subject.accessory, subject.pattern) != (None, "plain")
        for name in ("references-1", "recolour", "first-frame")
        for example in cases(name)
        for subject in scene(example.target).subjects
    ]
    assert 0.1 < sum(worn) / len(worn) < 0.45
    for example in cases("inpaint-attribute"):
        (subject,) = scene(example.target).subjects
        assert subject.accessory is None and (subject.pattern == "plain" or subject.pattern in patterns_told(example))


def patterns_told(example):
    told = {"dots": ("dot", "圆点"), "stripes": ("stripe", "条纹")}
    return [name for name, words in told.items() if any(word in example.prompt for word in words)]
