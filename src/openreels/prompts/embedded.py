"""The embedded enhancer: free text into a structured caption by rules, without a model or a network.

    A red rubber ball bounces on the grass
    -> A red rubber ball bounces on the grass. <sfx> Dull rubber thuds and birds chirping. </sfx>

It keeps every word of the user's, in order but for whole sentences about sound or music, which go to the end; it puts
tags around what is a caption's part already (spoken lines, words on the screen, sentences about sound), and adds only
what can be *heard* of things, events and places that are named. It adds nothing to the picture. Where something is
named that must be heard but the words do not tell how (a ball bounces: of rubber or of glass?), it adds no sounds at
all: half a list would say that the rest is silent. What is structured already stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from openreels.prompts.caption import KINDS, QUOTED, UNHEARD, UNSEEN, Caption
from openreels.prompts.enhanced import MAX_LENGTH, Enhanced, Pictures
from openreels.prompts.grammar import parse
from openreels.prompts.vocabulary import Language, language_of

__all__ = ["Embedded", "fitting", "quotations"]

SENTENCE = re.compile(r"[^.!?。！？\n]*(?:[.!?。！？\n]+[\"”」』»]*|$)\s*")
CLOSED = re.compile(r"[.!?。！？…:：,，;；][\"”」』»]*$|</\w+>$")


LEFT_OUT = {"video": UNSEEN, "audio": UNHEARD}  # by modality


class Embedded:
    """See above. A function of its arguments alone."""

    name = "embedded"

    def __call__(self, prompt: str, modality: str = "video+audio", references: Pictures | None = None) -> Enhanced:
        tags = references or ()
        caption = parse(prompt, tags)
        if not caption.is_structured:
            caption = parse(structured(prompt, without=LEFT_OUT.get(modality, ())), tags)
        written = str(fitting(caption, modality)) or prompt
        if len(written) > MAX_LENGTH:
            warning = f"the prompt stays as it is: enhanced it would have more than {MAX_LENGTH:,} characters"
            return Enhanced(prompt, prompt, self.name, (warning,))
        return Enhanced(written, prompt, self.name)


def fitting(caption: Caption, modality: str) -> Caption:
    """Less what the modality leaves out: music of a silent video, words on the screen of a sound."""
    return caption.without(LEFT_OUT.get(modality, ()))


def structured(prompt: str, without: Collection[str] = ()) -> str:
    """The structured caption of free text, no element of these kinds added to it."""
    language = language_of(prompt)
    body, parts = sorted_out(with_quotations(prompt, language), language)
    described = parse(body).visual  # what is quoted is not there: who says "It rains" may be in the sun
    if not language.says(language.silence, described):
        parts["sfx"] = parts["sfx"] or sounds(described, language)
        parts["dialogue"] = voices(described, language)
        parts["bgm"] = parts["bgm"] or music(described, language)
    elements = [f"<{kind}> {' '.join(said)} </{kind}>" for kind, said in parts.items() if said and kind not in without]
    body = closed(body.strip(), language) if elements else body.rstrip()
    return " ".join(filter(None, [body, *elements]))


def closed(text: str, language: Language) -> str:
    """With its full stop."""
    return text if not text or CLOSED.search(text) else text + language.stop


# -- what is a part of a caption already ------------------------------------------------------------------------------


def quotations(prompt: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Kind and place of quotations that are words on the screen, spoken or sung, by the words around them."""
    language = language_of(prompt)
    for quote in QUOTED.finditer(prompt):
        before = re.split(r"[.!?。！？\n]", prompt[: quote.start()])[-1]
        # The cue nearest to the words counts: of "a sign says", all of it, not "says".
        cues = [(match.end(), len(match[0]), kind) for source, kind in language.cues.items()
                for match in language.pattern(source).finditer(before)]  # fmt: skip
        if cues:
            yield max(cues)[-1], quote
            continue
        after = prompt[quote.end() : quote.end() + 40].lstrip(" ,，")
        said = [kind for source, kind in language.cues.items() if kind != "text"
                for match in [language.pattern(source).search(after.partition(".")[0])] if match]  # fmt: skip
        if said:
            yield said[-1], quote


def with_quotations(prompt: str, language: Language) -> str:
    written, place = [], 0
    for kind, quote in quotations(prompt):
        before = prompt[place : quote.start()]
        gap = "" if not before or before[-1].isspace() or not language.whole_words else " "
        written.append(f"{before}{gap}<{kind}> {quote[0]} </{kind}>")
        place = quote.end()
    return "".join(written) + prompt[place:]


def sorted_out(prompt: str, language: Language) -> tuple[str, dict[str, list[str]]]:
    """The prompt less its sentences about sound alone, and those by their kind."""
    parts: dict[str, list[str]] = {kind: [] for kind in KINDS}
    held = [element.span for element in parse(prompt).elements]  # what somebody says is not told by the user
    body = []
    for match in SENTENCE.finditer(prompt):
        sentence = match[0].strip()
        bare = sentence.rstrip(".!?。！？ ")
        if "<" in sentence or not bare or any(begin < match.start() < end for begin, end in held):
            body.append(match[0])
        elif re.fullmatch(language.music_sentence, bare, re.IGNORECASE):
            parts["bgm"].append(closed(sentence, language))
        elif re.fullmatch(language.sound_sentence, bare, re.IGNORECASE):
            parts["sfx"].append(closed(sentence, language))
        else:
            body.append(match[0])
    return "".join(body), parts


# -- what is implied --------------------------------------------------------------------------------------------------


def sounds(text: str, language: Language) -> list[str]:
    """One sentence of what is heard of the things, events and places in the text; [] where that cannot be told."""
    if language.says(language.hearing, text):
        return []  # told in the user's own words
    struck: set[str] = set()
    moved: set[str] = set()
    if language.says(language.meets, text):
        struck.update(language.heard(language.materials, text))
        if not struck:
            return []
    else:
        for clause in re.split(language.clause_ends, text):
            named = language.heard(language.materials, clause)
            if language.says(language.strikes, clause):
                if not named:
                    return []
                struck.update(named)
            if named or language.says(language.things, clause):
                moved.update(language.heard(language.motions, clause))
    place = language.heard(language.places, text)[:1]
    if language.says(language.night, text):
        place = language.heard(language.nights, text)[:1] or place
    found = [sound for sound in language.materials.values() if sound in struck]
    found += [sound for sound in language.motions.values() if sound in moved]
    found += language.heard(language.events, text) + place
    return [language.sentence(language.listed(found))] if found else []


def voices(text: str, language: Language) -> list[str]:
    """Who speaks in which voice, where the text says both."""
    said = []
    for match in language.pattern(language.talks).finditer(text):
        speakers = list(language.pattern(language.speakers).finditer(text[: match.start()]))
        if speakers:
            said.append(language.sentence(language.said_of.format(who=speakers[-1][0], voice=match[1])))
    return said


def music(text: str, language: Language) -> list[str]:
    """The music that a sentence names beside other things."""
    match = language.says(language.music, text)
    return [language.sentence(language.played.format(music=match[0]))] if match else []
