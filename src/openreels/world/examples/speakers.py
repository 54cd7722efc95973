"""Two faces in one picture that talk in turns, each bound to a line by where they are and to a voice by a reference."""

from __future__ import annotations

from openreels.world.examples.draw import Draw
from openreels.world.examples.example import Example
from openreels.world.examples.sound import utterance
from openreels.world.sampling import sample_dialogue

__all__ = ["speakers"]


def speakers(draw: Draw) -> Example:
    words = draw.words
    seed = draw.rng.randrange(2**31)
    scene = sample_dialogue(seed, duration=draw.duration, aspect=draw.aspect, split=draw.split)
    scene = draw.dressed(scene)
    left, right = scene.subjects
    begins = 0 if left.speech.syllables[0].start < right.speech.syllables[0].start else 1
    first, second = scene.subjects[begins], scene.subjects[1 - begins]
    tags = draw.rng.sample(("Audio-0", "Audio-1"), 2)  # of the one who begins and of the one who answers
    prompt = words.say(
        (
            "{left} on the left and {right} on the right talk {place}.",
            "{place}, {left} on the left talks with {right} on the right.",
        ),
        ("{place}，左边的{left}和右边的{right}在交谈。", "{place}，左边{left}，右边{right}，两者在说话。"),
        left=words.a(left), right=words.a(right), place=words.place(scene),
    )  # fmt: skip
    told = words.part(
        (
            "first the {one} on the {here} speaks in the voice of @{a}, "
            "then the {other} on the {there} answers in the voice of @{b}",
            "the {one} on the {here} begins with the voice of @{a}, "
            "the {other} on the {there} goes on with the voice of @{b}",
        ),
        ("{here}的{one}先用@{a}的声音说话，然后{there}的{other}用@{b}的声音回答",),
        one=words.kind(first.kind), other=words.kind(second.kind), a=tags[0], b=tags[1],
        here=words.side(begins == 1), there=words.side(begins == 0),
    )  # fmt: skip
    prompt = f"{prompt} {words.tagged('dialogue', told)}"
    references = [
        draw.sound(tag, utterance(draw, face.speech)) for tag, face in zip(tags, (first, second), strict=True)
    ]
    references.sort(key=lambda each: each.tag)
    return draw.example(prompt, scene, references=tuple(references))
