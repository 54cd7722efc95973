"""Sound: in range, in time with the picture, and telling the materials apart."""

import numpy as np
import pytest
import torch

from openreels.world import (
    MATERIALS,
    Motion,
    contacts,
    mouth,
    render_sound,
    sample_scene,
    sound_events,
)

RATE = 16_000


def envelope(audio, window=80):
    return np.sqrt(np.convolve(audio**2, np.ones(window) / window, "same"))


def test_range_and_no_clicks(drawn, clips):
    assert clips.audio.dtype == torch.float32
    assert clips.audio.shape == (len(drawn), 17_000)
    assert clips.audio.isfinite().all()
    assert clips.audio.abs().max() <= 0.9
    assert clips.audio.abs().amax(1).min() > 0.005  # never digital silence
    assert abs(clips.audio.mean(1)).max() < 0.01


def test_loudest_possible_scene_stays_below_the_limit(make_scene, make_shape, make_face):
    fall = Motion("fall", 0.0, start=0.1, period=0.3, height=0.4)
    crowd = [make_shape("ball", fall, material=material) for material in MATERIALS for _ in range(3)]
    audio = render_sound([make_scene(*crowd, make_face())], samples=RATE)
    assert 0.6 < audio.abs().max() <= 0.9


def test_every_contact_is_heard_when_it_is_seen(drawn, clips):
    late, quiet, seen = [], 0, 0
    for row, scene in enumerate(drawn):
        if scene.melody is not None or any(subject.speech for subject in scene.subjects):
            continue
        level = envelope(clips.audio[row].numpy())
        times = [contact.time for contact in contacts(scene)]
        for time in times:
            first = round(time * RATE)
            if first < 800 or first > 16_000 or any(0 < abs(other - time) < 0.12 for other in times):
                continue
            seen += 1
            before, after = level[first - 480 : first - 80], level[first : first + 480]
            quiet += after.max() < 1.5 * before.max()
            late.append(np.argmax(after > 0.5 * after.max()) / RATE)
    assert seen > 40
    assert quiet <= 0.1 * seen
    assert np.median(late) < 0.008
    assert max(late) < 0.03


def test_materials_sound_different(make_scene, make_shape):
    fall = Motion("fall", 0.0, start=0.1, period=0.3, height=0.4)
    centre = {}
    for material in MATERIALS:
        audio = render_sound([make_scene(make_shape("ball", fall, material=material))], samples=RATE)[0].numpy()
        power = np.abs(np.fft.rfft(audio[6400:9600])) ** 2
        frequency = np.fft.rfftfreq(3200, 1 / RATE)
        centre[material] = (power * frequency).sum() / power.sum()
    assert centre["rubber"] * 2 < centre["wood"]
    assert centre["wood"] * 1.3 < centre["metal"]
    assert centre["metal"] * 1.3 < centre["glass"]


@pytest.mark.parametrize("voice", ["low", "high"])
def test_voice_follows_the_mouth(voice, make_scene, make_face):
    face = make_face(syllables=((0.1, 0.25, "aa"), (0.4, 0.2, "oo"), (0.7, 0.3, "ee")), voice=voice)
    audio = render_sound([make_scene(face)], samples=17_000)[0].numpy()
    times = np.arange(68) / 64
    heard = np.interp(times, np.arange(17_000) / RATE, envelope(audio, 320))
    opening, _ = mouth(face.speech, times.tolist())
    assert np.corrcoef(heard, opening)[0, 1] > 0.95


def test_voices_differ_in_pitch(make_scene, make_face):
    pitch = {}
    for voice in ("low", "high"):
        face = make_face(syllables=((0.1, 0.3, "aa"),), voice=voice)
        audio = render_sound([make_scene(face)], samples=RATE)[0].numpy()[2400:5600]
        match = np.correlate(audio, audio, "full")[len(audio) - 1 :]
        lags = slice(RATE // 320, RATE // 80)
        pitch[voice] = RATE / (lags.start + np.argmax(match[lags]))
    assert 85 < pitch["low"] < 140
    assert 190 < pitch["high"] < 290


def test_any_window_of_a_clip_sounds_the_same(drawn, clips):
    late = render_sound(drawn[:24], samples=9_000, start=0.5)
    assert torch.equal(late, clips.audio[:24, 8_000:])


def test_travelling_hisses_only_while_moving(make_scene, make_shape):
    slide = Motion("slide", -0.3, start=0.3, period=0.4, distance=0.6)
    audio = render_sound([make_scene(make_shape("box", slide), background="room")], samples=RATE)[0].numpy()
    level = [np.sqrt(np.mean(audio[a:b] ** 2)) for a, b in ((0, 4600), (5000, 8000), (11_500, 16_000))]
    assert level[1] > 3 * level[0]
    assert level[1] > 3 * level[2]


def test_events_are_sorted_and_complete(drawn):
    for scene in drawn:
        events = sound_events(scene)
        assert [e.start for e in events] == sorted(e.start for e in events)
        assert all(0 <= e.start < e.end for e in events)
        impacts = {e.start for e in events if e.kind == "impact"}
        assert impacts == {contact.time for contact in contacts(scene)}
        assert any(e.kind == "ambience" and e.label == scene.background for e in events)
        assert any(e.kind == "note" for e in events) == (scene.melody is not None)


def test_long_clips_and_other_rates():
    scene = sample_scene(3, duration=12.0)
    assert render_sound([scene], samples=12 * RATE).isfinite().all()
    assert render_sound([scene], samples=44_100, sample_rate=44_100).abs().max() <= 0.9
