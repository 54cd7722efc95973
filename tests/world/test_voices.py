"""Singing, dialogues, weather and muted sounds: heard as the script says, and told in captions and truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openreels.prompts import parse
from openreels.world import captions, masks, mouth, render_sound, sample_scene, sound_events, truth
from openreels.world.attribute_words import CHINESE, ENGLISH, turns
from openreels.world.dressing import dressed
from openreels.world.sampling import held_out, sample_dialogue, sample_singing
from openreels.world.script import SOUNDS, Overlay

RATE = 16_000
FORMS = ("short_en", "long_en", "structured_en", "short_zh", "structured_zh")


def pitch_class(audio, start, length=0.1):
    """Semitones above C, 0..12, of the strongest period of a stretch of sound: it may miss by an octave."""
    window = audio[int(start * RATE) : int((start + length) * RATE)]
    window = window * np.hanning(len(window))
    similar = np.correlate(window, window, "full")[len(window) - 1 :]
    period = 30 + np.argmax(similar[30:220])
    return (69 + 12 * np.log2(RATE / period / 440)) % 12


def sound(scene, seconds=2.0):
    return render_sound([scene], samples=int(seconds * RATE))[0].numpy()


def test_singers_hold_the_notes_of_the_script():
    errors = []
    for seed in range(6):
        scene = sample_singing(seed, duration=2.0)
        audio = sound(scene)
        for syllable in scene.subjects[0].speech.syllables:
            if syllable.duration > 0.25 and syllable.start + syllable.duration < 2.0:
                for share in (0.25, 0.5):
                    heard = pitch_class(audio, syllable.start + share * syllable.duration)
                    errors.append(abs((heard - syllable.note + 6) % 12 - 6))
    assert len(errors) > 30 and np.quantile(errors, 0.9) < 0.35


def test_a_sung_mouth_is_held_and_a_spoken_one_is_not():
    speech = sample_singing(1, duration=2.0).subjects[0].speech
    syllable = speech.syllables[0]
    times = syllable.start + syllable.duration * np.linspace(0, 1, 101)
    spoken = replace(speech, syllables=(replace(syllable, note=None),))
    open_wide = [np.mean(np.array(mouth(each, times)[0]) > 0.95 * syllable.loudness) for each in (speech, spoken)]
    assert open_wide[0] > 0.6 > 0.35 > open_wide[1]


def test_three_singers_of_a_voice_sound_different():
    for seed in range(4):
        scene = replace(sample_singing(seed, duration=1.0), muted=("ambience",))
        face = scene.subjects[0]
        voices = [replace(face, speech=replace(face.speech, pitch=index)) for index in range(3)]
        spectra = [np.abs(np.fft.rfft(sound(replace(scene, subjects=(voice,)), 1))) for voice in voices]
        spectra = [spectrum / np.linalg.norm(spectrum) for spectrum in spectra]
        assert max(spectra[0] @ spectra[1], spectra[1] @ spectra[2], spectra[0] @ spectra[2]) < 0.975


def test_parts_make_the_whole_and_can_be_left_out():
    scenes = [sample_scene(seed, duration=2.0) for seed in range(40)]
    tune = next(scene.melody for scene in scenes if scene.melody is not None)
    for scene in scenes[:5]:
        scene = replace(scene, melody=tune)
        parts = [sound(replace(scene, muted=tuple(set(SOUNDS) - {kept}))) for kept in SOUNDS]
        assert sum(parts) == pytest.approx(sound(scene), abs=0.02 if np.abs(sound(scene)).max() > 0.6 else 1e-4)
        assert not sound(replace(scene, muted=SOUNDS)).any()
        assert not sound_events(replace(scene, muted=SOUNDS))
        assert truth(replace(scene, muted=SOUNDS), fps=16, frames=33).melody is None
        told = captions(replace(scene, muted=SOUNDS), 0)
        assert "<" not in told.structured_en + told.structured_zh


def test_rain_is_louder_than_snow_and_both_are_heard(make_scene):
    level = {
        weather: np.sqrt(np.mean(sound(replace(make_scene(background="room"), weather=weather)) ** 2))
        for weather in ("rain", "snowfall")
    }
    assert level["rain"] > 1.8 * level["snowfall"] > 0.01
    assert "rain" in [event.label for event in sound_events(replace(make_scene(), weather="rain"))]


@pytest.mark.parametrize(("aspect", "split"), [(1.0, "train"), (1.0, "held_out"), (16 / 9, "train"), (9 / 16, "train")])
def test_dialogues_are_two_faces_that_take_turns(aspect, split):
    for seed in range(30):
        scene = sample_dialogue(seed, duration=2.0625, aspect=aspect, split=split)
        left, right = scene.subjects
        assert left.kind != right.kind and left.colour != right.colour
        assert {left.speech.voice, right.speech.voice} == {"low", "high"}
        assert left.speech.syllables and right.speech.syllables
        assert turns(scene) == (0, 1)
        assert [held_out(left.colour, left.kind, "still")] == [split == "held_out"]
        height, width = (64, round(64 * aspect)) if aspect >= 1 else (round(64 / aspect), 64)
        one, other = masks([scene], fps=1, frames=1, height=height, width=width)[0, :, 0]
        assert not (one & other).any()
        assert not one[:, 0].any() and not other[:, -1].any() and not (one | other)[0].any()
    firsts = [
        s.subjects[0].speech.syllables[0].start < 0.4 for s in (sample_dialogue(i, duration=2.0) for i in range(60))
    ]
    assert 15 < sum(firsts) < 45


def told(text, wordings):
    return any(wording in text for wording in wordings)


def test_captions_say_what_a_scene_has_and_nothing_else():
    for seed in range(40):
        scene = dressed(sample_scene(seed, duration=2.0), 2, 0.5)
        forms = captions(scene, 0)
        for form in FORMS:
            parse(getattr(forms, form))
        for words, text in ((ENGLISH, forms.long_en), (CHINESE, forms.structured_zh)):
            text = text.lower()
            for table, value in (
                (words.weathers, scene.weather),
                (words.styles, scene.style),
                (words.tones, scene.tone),
                (words.effects, scene.effect),
            ):
                assert [name for name in table if told(text, table[name])] == [name for name in table if name == value]
            worn = {subject.accessory for subject in scene.subjects} - {None}
            assert {name for name, wordings in words.accessories.items() if told(text, wordings)} == worn
            patterns = {subject.pattern for subject in scene.subjects} - {"plain"}
            assert {name for name, wordings in words.patterns.items() if told(text, wordings)} == patterns
        assert (scene.overlay is None) == ("<text>" not in forms.structured_en)


def test_captions_of_songs_and_dialogues():
    for seed in range(6):
        song, talk = captions(sample_singing(seed, duration=2.0), 0), captions(sample_dialogue(seed, duration=2.0), 0)
        assert "sing" in song.short_en.lower() and "唱" in song.short_zh
        assert "<singing>" in song.structured_en and "<singing>" in song.structured_zh
        assert "<dialogue> The left" in talk.structured_en or "<dialogue> The right" in talk.structured_en
        assert "answers in a" in talk.structured_en and "左边的" in talk.structured_zh
        assert parse(song.structured_en) and parse(talk.structured_zh)


def test_truth_says_what_is_new():
    scene = replace(
        sample_singing(3, duration=2.0), weather="rain", overlay=Overlay("logo", "top left", 2), tone="warm"
    )
    facts = truth(scene, fps=16, frames=33)
    assert (facts.weather, facts.overlay, facts.corner, facts.tone) == ("rain", "logo", "top left", "warm")
    face = facts.subjects[0]
    assert face.motion == "sing" and len(face.notes) == 33 and max(face.notes) >= 48
    assert all((note > 0) == (opening > 0) for note, opening in zip(face.notes, face.mouth, strict=True))
    assert max(truth(replace(scene, muted=("speech",)), fps=16, frames=33).voice) == 0
    assert torch.tensor(facts.voice).max() > 0.5
