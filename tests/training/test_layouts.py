"""Layouts of films, held against the world's truth; and the training of planner and reader. Legend: see
models/layout.py."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from openreels.models.layout import (
    CLASSES,
    MOUTH,
    RADIUS,
    THERE,
    TOUCH,
    TURN,
    WAYS,
    X,
    Y,
    layout_numbers,
    left_to_right,
    sounding,
)
from openreels.training.briefs import new_brief
from openreels.training.latents import Bucket, LatentSet
from openreels.training.layouts import COLOUR_NAMES, KINDS, LAYOUT_CLASSES, layout_of, shown_layouts
from openreels.training.loop import Task
from openreels.training.plan import load_components
from openreels.training.planner import INSTRUCTED, PlannerTask, case, in_order_of, new_planner, planned_rows
from openreels.training.reader import MOUTH_WEIGHT, Drawn, ReaderTask, new_reader, views_of
from openreels.types import VideoShape
from openreels.world import Camera, CameraMove, Film, Shot, contacts, sample_film, sample_scene, truth
from openreels.world.examples import ROWS, sample_example

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES = 33
SECONDS = FRAMES / 16
SHAPE = VideoShape(FRAMES, 64, 64, Fraction(16), 9, 4, 4, 32)


def shown(scene, **shot) -> Film:
    return Film(0, (Shot(scene, **{"camera": Camera(), "start": 0.0, "duration": SECONDS} | shot),), ())


def scene_with(wanted):
    return next(s for s in (sample_scene(i, duration=SECONDS) for i in range(10_000)) if wanted(s))


def by_frame(layout_FK: torch.Tensor, columns: slice) -> torch.Tensor:
    """The four moments of every latent frame as frames of the clip, (T,)."""
    found_FM = layout_FK[:, columns]
    assert (found_FM[0] == found_FM[0, 0]).all()  # the first latent frame is one frame
    return torch.cat([found_FM[0, :1], found_FM[1:].flatten()])


@pytest.mark.parametrize("kind", ["orbit", "bounce", "roll", "collide"])
def test_places_are_those_of_every_frame(kind):
    scene = scene_with(lambda s: s.subjects[0].motion.kind == kind)
    layout_SFK = layout_of(shown(scene), SHAPE)
    assert layout_SFK.shape == (2, 9, layout_numbers(LAYOUT_CLASSES)) and layout_SFK.dtype == torch.float32
    known = truth(scene, fps=16, frames=FRAMES).subjects
    for subject, true, own_FK in zip(scene.subjects, known, layout_SFK, strict=False):
        assert_close(by_frame(own_FK, slice(0, 4)) + 0.5, torch.tensor(true.x).float(), atol=1e-4, rtol=1e-4)
        assert_close(by_frame(own_FK, slice(4, 8)) + 0.5, torch.tensor(true.y).float(), atol=1e-4, rtol=1e-4)
        assert (own_FK[:, THERE] == 1).all() and (own_FK[:, RADIUS] - subject.radius).abs().max() < 1e-6
        kinds, colours = own_FK[0, CLASSES:].split(LAYOUT_CLASSES)
        assert KINDS[int(kinds.argmax())] == subject.kind and COLOUR_NAMES[int(colours.argmax())] == subject.colour
        assert kinds.sum() == colours.sum() == 1
    assert not layout_SFK[len(scene.subjects) :].any()
    turns = by_frame(layout_SFK[0], slice(TURN.start + 4, TURN.stop))
    assert (turns.abs().max() > 0.1) == (kind == "roll")


def test_touches_and_mouths_are_where_the_world_has_them():
    scene = scene_with(lambda s: len(contacts(s)) >= 2 and len(s.subjects) == 1)
    touch_T = by_frame(layout_of(shown(scene), SHAPE)[0], TOUCH)
    for contact in contacts(scene):
        if contact.time < SECONDS - 0.1:
            assert touch_T[round(contact.time * 16)] >= 0.5 - 1e-5
    near = torch.tensor([min(abs(t / 16 - c.time) for c in contacts(scene)) for t in range(FRAMES)]) < 1 / 16
    assert not touch_T[~near].any()

    scene = scene_with(lambda s: len(s.subjects) == 1 and s.subjects[0].speech is not None)
    mouth_T = torch.tensor(truth(scene, fps=16, frames=FRAMES).subjects[0].mouth).float()
    assert_close(by_frame(layout_of(shown(scene), SHAPE)[0], MOUTH), mouth_T, atol=1e-4, rtol=1e-4)


def test_cameras_take_everything_along():
    scene = scene_with(lambda s: len(s.subjects) == 1 and s.subjects[0].motion.kind == "roll")
    plain_FK = layout_of(shown(scene), SHAPE)[0]
    mirrored_FK = layout_of(shown(scene, camera=Camera(mirrored=True)), SHAPE)[0]
    assert_close(mirrored_FK[:, 0:4], -plain_FK[:, 0:4])
    sines = slice(TURN.start + 4, TURN.stop)
    assert_close(mirrored_FK[:, sines], -plain_FK[:, sines])
    nearer_FK = layout_of(shown(scene, camera=Camera(zoom=2.0)), SHAPE)[0]
    assert_close(nearer_FK[:, [0, 4, RADIUS]], 2 * plain_FK[:, [0, 4, RADIUS]])
    panned_FK = layout_of(shown(scene, move=CameraMove("pan-left", 0.3)), SHAPE)[0]
    assert (panned_FK[-1, 3] - plain_FK[-1, 3]) > 0.1 and panned_FK[0, 0] == plain_FK[0, 0]


def test_of_more_subjects_than_there_is_room_for_those_are_told_that_the_shot_shows():
    film = next(
        f
        for f in map(sample_film, range(1000))
        if any(len(shot.scene.subjects) == 3 and len(shot.seen) in (1, 2) and 0 not in shot.seen for shot in f.shots)
    )
    frames = int(film.duration * 16) // 4 * 4 + 1
    shape = replace(SHAPE, frames=frames, latent_frames=frames // 4 + 1)
    layout_SFK = layout_of(film, shape)
    starts = np.array((0.0, *film.cut_times))
    for latent in range(shape.latent_frames):
        shot = film.shots[int(np.searchsorted(starts, 4 * latent / 16, side="right")) - 1]
        told = {KINDS[int(own[CLASSES : CLASSES + len(KINDS)].argmax())] for own in layout_SFK[:, latent]}
        assert {shot.scene.subjects[index].kind for index in shot.seen[:2]} <= told


def test_all_rows_with_a_picture_are_planned():
    clips, stills = planned_rows(still=False), planned_rows(still=True)
    assert {*clips} == {row.name for row in ROWS.values() if row.has_picture and not row.still}
    assert {"t2i", "references-1", "references-4"} <= {*stills} and "recolour" not in stills
    for row in ROWS.values():
        example = sample_example(row.name, 3)
        shows = example.source or any(r.kind != "audio" for r in example.references)
        assert example.is_unseen == (not shows and not example.kept and not example.given)


def first_seen(layout_SFK: torch.Tensor) -> list[tuple]:
    """Kind, colour and place of all who are in a layout, when they are first seen."""
    found = []
    for own in layout_SFK:
        there = own[own[:, THERE] > 0.5]
        if len(there):
            kind, colour = there[0, CLASSES:].split(LAYOUT_CLASSES)
            found.append((KINDS[int(kind.argmax())], COLOUR_NAMES[int(colour.argmax())], float(there[0, 0])))
    return found


def test_layouts_of_references_show_whom_the_prompt_speaks_of():
    for seed in range(12):
        example = sample_example("references-3", seed, duration=SECONDS)
        shown = shown_layouts(example, SHAPE)
        assert [each.shape[1] for each in shown] == [1, 1, 1]
        portraits = {who[:2] for each in shown for who in first_seen(each)}
        assert {who[:2] for who in first_seen(layout_of(example.target, SHAPE))} <= portraits


def test_layouts_of_sources_stand_beside_those_of_their_results():
    for row in ("recolour", "inpaint-moving", "video-to-sound"):
        for seed in range(8):
            example = sample_example(row, seed, duration=SECONDS)
            (shown,) = shown_layouts(example, SHAPE)
            before, after = first_seen(shown), first_seen(left_to_right(layout_of(example.target, SHAPE)[None])[0])
            assert [who[2] for who in before] == pytest.approx([who[2] for who in after])
            assert before == sorted(before, key=lambda who: who[2])
            assert (before == after) == (row == "video-to-sound")


def test_of_what_is_kept_those_latent_frames_are_shown_that_are_whole_from_the_first_on():
    for row, seed in (("extension", 0), ("first-frame", 1), ("last-frame", 2), ("retake", 3)):
        example = sample_example(row, seed, duration=SECONDS)
        (shown,) = shown_layouts(example, SHAPE)
        start, end = example.kept[0]
        whole = 0 if start else 1 + (round(end * 16) - 1) // 4
        assert not shown[:, whole:].any()
        truth = layout_of(example.target, SHAPE)
        truth[:, whole:] = 0.0
        assert_close(shown, left_to_right(truth[None])[0])


def test_of_a_sound_that_is_given_whole_mouths_and_touches_are_heard_beside_a_first_frame():
    for row in ("sound-to-speech", "sound-to-impacts"):
        example = sample_example(row, 0, duration=SECONDS)
        layout = layout_of(example.target, SHAPE)
        (heard,) = shown_layouts(example, SHAPE)
        assert_close(heard, sounding(layout[None])[0])
        assert heard[..., MOUTH if row == "sound-to-speech" else TOUCH].max() > 0.5
        begun, same = shown_layouts(replace(example, kept=((0.0, 1 / 16),)), SHAPE)
        assert torch.equal(same, heard) and begun[:, 0].any() and not begun[:, 1:].any()


def test_a_page_of_panels_shows_who_is_in_the_first_where_it_is_on_the_page():
    for seed in range(8):
        board = sample_example("storyboard", seed, duration=SECONDS)
        (reference,) = board.references
        (page,) = shown_layouts(board, SHAPE)
        (panel,) = shown_layouts(replace(board, references=(replace(reference, films=reference.films[:1]),)), SHAPE)
        assert page.shape == panel.shape and torch.equal(page[..., THERE], panel[..., THERE])
        assert torch.equal(page[..., CLASSES:], panel[..., CLASSES:])
        there = panel[..., THERE] > 0.5
        columns = 2 if len(reference.films) > 1 else 1
        assert_close(page[there][:, RADIUS], panel[there][:, RADIUS] / columns)
        # A place of -0.5 to 0.5 of the panel is one of -0.5 to 0 of a page of two columns and rows.
        for part in (X, Y):
            assert_close(page[there][:, part], panel[there][:, part] / columns - 0.5 * (1 - 1 / columns))


def test_an_empty_place_shows_nobody():
    places = 0
    for seed in range(12):
        example = sample_example("background-and-clip", seed, duration=SECONDS)
        place, clip = shown_layouts(example, SHAPE)
        places += not place.any()
        assert clip.any() and (place.shape[1], clip.shape[1]) == (1, SHAPE.latent_frames)
    assert 0 < places < 12


@pytest.mark.parametrize(
    "prompt", ["On the left a ball, on the right a cat.", "左边一只猫，右边一个球。", "A ball and a cat."]
)
def test_subjects_stand_in_the_order_in_which_they_are_named(prompt):
    sided = not prompt.startswith("A ball")
    turned = 0
    for seed in range(40):
        film = shown(sample_scene(seed, duration=SECONDS))
        layout_SFK = layout_of(film, SHAPE)
        found = in_order_of(prompt, film, layout_SFK)
        assert torch.equal(found.sum(0), layout_SFK.sum(0)) and found.shape == layout_SFK.shape
        if sided and (layout_SFK[:, 0, THERE] > 0.5).all():
            assert found[0, 0, 0] <= found[1, 0, 0]
            turned += int(not torch.equal(found, layout_SFK))
        else:
            assert torch.equal(found, layout_SFK)
    assert not sided or turned < 40


def test_a_caption_names_subjects_in_the_order_of_their_layout():
    """Colours of two subjects, counted off in the words, are those of the layout's slots; or the other way round where
    the right one is told first."""
    seen, turned = 0, 0
    for number in range(240):
        prompt, layout_SFK, *_ = case(Bucket(33), number, SHAPE)
        slots = [own[own[:, THERE] > 0.5] for own in layout_SFK]
        if not all(len(own) for own in slots):
            continue
        colours = [COLOUR_NAMES[int(own[0, CLASSES + len(KINDS) :].argmax())] for own in slots]
        places = [prompt.lower().find(f" {colour} ") for colour in colours]
        if colours[0] != colours[1] and min(places) >= 0 and "blue" not in colours:  # "light blue" is cyan
            is_turned = " on the right while " in prompt
            assert (places[0] < places[1]) != is_turned, prompt
            seen, turned = seen + 1, turned + is_turned
    assert seen - turned > 5 and turned > 0


def test_results_have_the_numbers_of_those_that_were_seen_where_they_are():
    """Who is taken away leaves a number empty, and who is added gets the one that is."""
    kept = {"remove-subject": set(), "add-subject": set()}
    for row, numbers in kept.items():
        for number in range(16):
            _, layout_SFK, shown, followed = case(Bucket(33, row=row), number, SHAPE)
            assert followed == 1
            there, seen = ((each[..., THERE] > 0.5).any(-1).tolist() for each in (layout_SFK, shown[-1]))
            (stays,) = [number for number in (0, 1) if there[number] and seen[number]]
            numbers.add(stays)
            both = (layout_SFK[stays, :, THERE] > 0.5) & (shown[-1][stays, :, THERE] > 0.5)
            assert_close(layout_SFK[stays][both][:, X], shown[-1][stays][both][:, X])
    assert kept == {"remove-subject": {0, 1}, "add-subject": {0}}  # one alone is always the first


@pytest.fixture
def task(parts) -> PlannerTask:
    codecs, encoder = load_components(parts)
    torch.manual_seed(0)
    kinds = {Bucket(5): 1.0, Bucket(1): 1.0, Bucket(33, 64, 96, "4:3"): 1.0}
    return PlannerTask(new_planner(encoder.width), encoder, codecs.video, kinds)


def test_cases_are_functions_of_the_generator(task):
    frames, aspects = set(), set()
    for seed in range(24):
        drawn, again = (task.draw(0, torch.Generator().manual_seed(seed)) for _ in range(2))
        assert drawn.prompts == again.prompts and torch.equal(drawn.layout_BSFK, again.layout_BSFK)
        assert all(torch.equal(*pair) for pair in zip(drawn.shown, again.shown, strict=True))
        assert len(drawn.layout_BSFK.flatten(1).unique(dim=0)) > len(drawn.prompts) // 2
        assert drawn.layout_BSFK.shape == drawn.noise_BSFK.shape == (len(drawn.time_B), 2, *drawn.layout_BSFK.shape[2:])
        assert torch.equal(drawn.layout_BSFK[0], drawn.layout_BSFK[1])  # several noised ones of each case
        assert drawn.layout_BSFK[:, 0, :, THERE].mean() > 0.6  # whoever comes first is mostly in view
        frames.add(drawn.layout_BSFK.shape[2])
        aspects.add(drawn.aspect)
    assert frames == {1, 2, 9} and aspects == {1.0, 1.5}


def repeated(task: Task, drawn) -> tuple[list[float], dict]:
    """The losses of thirty steps on the same work, and the numbers of the last one."""
    losses = []
    for _ in range(30):
        loss, numbers = task.loss(drawn)
        loss.backward()
        for optimizer in task.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, numbers


def test_a_planner_learns_where_things_are(task):
    """The same cases over and over: after some steps their layouts are found out of noise."""
    losses, numbers = repeated(task, task.draw(0, torch.Generator().manual_seed(0)))
    assert losses[-1] < 0.4 * losses[0] and set(numbers) == {"early", "late"}
    assert all(p.grad is None for p in task.encoder.model.parameters())


def test_cases_of_rows_come_with_what_is_shown_as_it_would_be_read(task):
    task.rows, task.row_weights = [Bucket(33, row="motion-reference")], torch.ones(1)
    drawn = next(
        found
        for seed in range(20)
        if (found := task.draw(0, torch.Generator().manual_seed(seed))).shown  # not all steps are of rows
    )
    picture, clip = drawn.shown
    assert picture.shape[:3] == (len(drawn.prompts), 2, 1) and clip.shape[2] == drawn.layout_BSFK.shape[2]
    target = drawn.layout_BSFK[:: len(drawn.layout_BSFK) // len(drawn.prompts)]
    # The clip goes the target's way, but for errors of reading where somebody is, and the picture has its classes.
    error = (clip - target)[..., :WAYS]
    there = target[..., THERE] > 0.5
    assert 0.01 < error[there].std() < 0.03 and not error[~there].any()
    seen = there[:, 0].any(1)
    own = target[torch.arange(len(target)), 0, there[:, 0].int().argmax(1), CLASSES:]
    assert torch.equal(picture[seen, 0, 0, CLASSES:], own[seen])
    task.loss(drawn)[0].backward()
    assert task.planner.embed_shown.grad[:2].any(1).all() and not task.planner.embed_shown.grad[2:].any()


def test_in_some_steps_an_instruction_is_heard_by_its_brief_alone(task):
    task.encoder.brief = new_brief(task.encoder.width)
    for row, group in (("replace-subject", "editing"), ("motion-reference", "references")):
        assert ROWS[row].group == group
        task.rows, task.row_weights = [Bucket(33, row=row)], torch.ones(1)
        drawn = [task.draw(0, torch.Generator().manual_seed(seed)) for seed in range(12)]
        assert any(each.is_deaf for each in drawn) == (group in INSTRUCTED)
    losses = {}
    for words in ("", " or not"):
        for is_deaf in (False, True):
            prompts = [prompt + words for prompt in drawn[0].prompts]
            torch.manual_seed(0)
            losses[words, is_deaf] = task.loss(drawn[0]._replace(prompts=prompts, is_deaf=is_deaf))[0]
    assert losses["", False] != losses[" or not", False]
    losses["", True].backward()
    assert task.planner.embed_brief.weight.grad.any() and not task.planner.embed_text[1].weight.grad.any()


@pytest.mark.parametrize("row", ["recolour", "inpaint-moving", "video-to-sound", "extension", "first-frame"])
def test_subjects_of_a_case_stand_as_in_what_it_follows(row):
    for number in range(12):
        _, layout_SFK, shown, followed = case(Bucket(33, row=row), number, SHAPE)
        assert followed == len(shown) == 1
        both = (layout_SFK[..., THERE] > 0.5) & (shown[0][..., THERE] > 0.5)
        assert both.any()  # another kind of thing stands on the floor otherwise, but hardly
        assert_close(shown[0][both][:, :WAYS], layout_SFK[both][:, :WAYS], atol=0.1, rtol=0.0)


def test_what_happens_in_a_clip_happens_to_the_same_subjects_elsewhere():
    for number in range(12):
        _, layout_SFK, (place, clip), followed = case(Bucket(33, row="background-and-clip"), number, SHAPE)
        assert followed == 1 and place.shape[1] == 1
        assert_close(clip, layout_SFK)
    _, _, shown, followed = case(Bucket(1, row="references-2"), 0, replace(SHAPE, frames=1, latent_frames=1))
    assert len(shown) == 2 and followed == 0  # stills beside a still are no clips


def test_a_talking_face_may_begin_with_its_first_frame():
    alone, begun = (case(Bucket(33, row="sound-to-speech"), 0, SHAPE, flag) for flag in (False, True))
    assert (alone.followed, begun.followed) == (1, 2)
    assert torch.equal(alone.shown[0], begun.shown[1]) and begun.shown[0][:, 0].any()


@pytest.fixture
def reading(parts, tmp_path) -> ReaderTask:
    codecs, _ = load_components(parts)
    buckets = [
        Bucket(5),
        Bucket(17, row="motion-reference"),
        Bucket(17, row="inpaint-reference"),
        Bucket(17, 64, 96, "4:3"),
    ]
    streams = {bucket: ["video", "audio"] if bucket.row is None else ["cases"] for bucket in buckets}
    latents = {bucket: LatentSet(tmp_path, streams[bucket], bucket, 1, codecs, 0) for bucket in buckets}
    torch.manual_seed(0)
    return ReaderTask(new_reader(4, 6), latents, dict.fromkeys(buckets, 1.0))


def test_everything_that_is_seen_is_read(reading):
    """Clips themselves, and references in context, each with its own layout; but not what no tokens show."""
    plain, moved, painted, wide = reading.latents.values()
    views = {data.bucket.row: views_of(data) for data in (moved, painted)}
    assert [(view.stream, view.number) for view in views_of(plain)] == [("video", None)]
    assert views_of(wide)[0].shape.width == 96
    assert [view.number for view in views["motion-reference"]] == [None, 0, 1]
    assert [view.number for view in views["inpaint-reference"]] == [None, 0]
    references = moved.latents["video.reference_BRC"]
    parts = [references[:, view.tokens] for view in views["motion-reference"][1:]]
    assert torch.equal(torch.cat(parts, 1), references)
    for view, part in zip(views["motion-reference"][1:], parts, strict=True):
        assert part.shape[1] == view.shape.tokens and moved.shown(0)[view.number].shape[1] == view.shape.latent_frames


def test_a_reader_learns_where_things_are_in_any_order(reading):
    draws = [[reading.draw(0, torch.Generator().manual_seed(seed)) for _ in range(2)] for seed in range(12)]
    for drawn, again in draws:
        assert torch.equal(drawn.latents_BNC, again.latents_BNC) and torch.equal(drawn.layout_BSFK, again.layout_BSFK)
        assert drawn.latents_BNC.shape[1:] == ((drawn.shape.frames, 6) if drawn.is_sound else (drawn.shape.tokens, 4))
    drawn, heard = (next(one for one, _ in draws if one.is_sound == sound) for sound in (False, True))
    with torch.no_grad():
        other = drawn._replace(layout_BSFK=drawn.layout_BSFK.flip(1), error_BSK=drawn.error_BSK.flip(1))
        assert_close(reading.loss(other)[0], reading.loss(drawn)[0])
    for work, names in ((drawn, {"named", "mouths"}), (heard, {"heard"})):
        losses, numbers = repeated(reading, work)
        assert losses[-1] < 0.6 * losses[0] and set(numbers) == names


def test_mouths_are_seen_where_faces_are(reading):
    """Of the same clips over and over, better than by the mean opening of all."""
    plain = reading.latents[Bucket(5)]
    faces = [i for i in range(len(plain)) if plain.layout(i)[..., MOUTH].max() > 0.3]
    layouts = torch.stack([plain.layout(i) for i in faces])
    drawn = Drawn(
        plain.latents["video"][faces].float(), plain.video_shape, False, layouts, torch.zeros(len(faces), 2, 8)
    )
    parameters = list(reading.reader.eyes.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    for _ in range(200):
        loss = reading._mouths(drawn.latents_BNC, layouts, drawn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    there = layouts[..., MOUTH][layouts[..., THERE] > 0.5]
    assert loss < 0.3 * MOUTH_WEIGHT * there.var()
