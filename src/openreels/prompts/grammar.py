"""The grammar of prompts: a hand-written parser that says what is wrong, where, and what is accepted.

    prompt  = { words | mention | element }
    element = "<" kind ">" { words | mention } "</" kind ">"        kind: text, sfx, dialogue, singing or bgm
    mention = "@" name                                              not after a letter or digit: me@home.org is words

- Elements do not nest and have no attributes. Any other use of angle brackets is words: a < b, <3, >_<.
- A name is letters, digits and "_", with single "-" inside: @cat, @image_1, @Actor-0. Chinese, Japanese and Korean
  have no spaces between words, so a name in their letters ends where other letters begin, and the other way round
  (@cat在跑 is @cat); where the tags of a request are known, the longest that fits is meant (@小红在跑 is @小红).
- Tags and @ have one spelling, the one that models are trained on. Look-alikes from other keyboards and habits
  (＜sfx＞, 《sfx》, < sfx >, <SFX>, ＠cat) are errors that show it; 《红楼梦》 is words.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from unicodedata import east_asian_width

from openreels.prompts.caption import KINDS, Caption, Element, Mention, Node, Span, Text

__all__ = ["PromptError", "check_tags", "parse"]

CJK = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
NAME = re.compile(rf"[^\W{CJK}]+(?:-[^\W{CJK}]+)*|[{CJK}][{CJK}\d_]*")
LETTER = re.compile(rf"[^\W{CJK}]")
GOES_ON = re.compile(rf"-?[^\W{CJK}]")
# Whatever could be meant as a tag: any brackets, spaces, capitals. The name alone decides what becomes of it.
BRACKETED = re.compile(r"[<＜《〈]\s{0,9}([/／]?)\s{0,9}([A-Za-z][\w-]*)([^<>＜＞《》〈〉]*)([>＞》〉]?)", re.ASCII)
MARK = re.compile("[<＜《〈@＠]")

HABITS = {
    "music": "bgm", "song": "singing", "sing": "singing", "lyrics": "singing", "sound": "sfx", "sounds": "sfx",
    "audio": "sfx", "audcap": "sfx", "ambience": "sfx", "speech": "dialogue", "voice": "dialogue", "speak": "dialogue",
    "say": "dialogue", "s": "dialogue", "caption": "text", "subtitle": "text", "title": "text",
}  # fmt: skip

WIDTH = 76  # columns of an excerpt


class PromptError(ValueError):
    """A prompt breaks the grammar.

    sentence: what is wrong and what is accepted, on one line, with the place. line, column: counted from 1, in
    characters. span: the characters at fault. excerpt: the line with a caret under them. `str` is sentence and excerpt.
    """

    def __init__(self, fault: str, source: str, span: Span):
        self.span = span
        self.line, self.column = place_of(span.start, source)
        start = span.start - self.column + 1
        self.sentence = f"line {self.line}, column {self.column}: {fault}"
        self.excerpt = pointed_at(source[start:].partition("\n")[0], span.start - start, span.end - start)
        super().__init__(f"{self.sentence}\n{self.excerpt}")


def place_of(index: int, source: str) -> tuple[int, int]:
    """Line and column of a character, counted from 1."""
    return source.count("\n", 0, index) + 1, index - source.rfind("\n", 0, index)


def pointed_at(line: str, start: int, end: int) -> str:
    """The part of a line around `start`, and carets below it; wide characters take two columns."""
    first = max(0, start - WIDTH // 2)
    shown = "".join(" " if character.isspace() else character for character in line[first : first + WIDTH])
    left, right = "…" if first else "", "…" if first + WIDTH < len(line) else ""
    before = left + shown[: start - first]
    fault = shown[start - first : max(end, start + 1) - first]
    return f"  {left}{shown}{right}\n  {' ' * columns(before)}{'^' * max(columns(fault), 1)}"


def columns(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def parse(prompt: str, tags: Collection[str] = ()) -> Caption:
    """The tree of a prompt. tags: names of its references where they are known; others are mentions all the same.

    `str(parse(prompt)) == prompt`. Raises PromptError.
    """
    return Parser(prompt, tags).caption()


def check_tags(caption: Caption, tags: Collection[str]) -> None:
    """Raises PromptError at the first mention of something that is not among `tags`."""
    for mention in caption.mentions:
        if mention.name not in tags:
            near = get_close_matches(mention.name, tags, n=1)
            advice = f", did you mean @{near[0]}?" if near else ""
            given = ", ".join(f"@{tag}" for tag in tags) or "none"
            raise PromptError(f"{mention} is no reference{advice}; given are {given}", str(caption), mention.span)


class Parser:
    """One pass over the marks `<` and `@` of a prompt."""

    def __init__(self, source: str, tags: Collection[str]):
        self.source = source
        self.tags = sorted(tags, key=len, reverse=True)
        self.nodes: list[Node] = []
        self.children: list[Text | Mention] = []  # of the element that is open
        self.open: tuple[str, Span] | None = None  # its kind, and where its tag stands
        self.written = 0  # up to where nodes reach

    def caption(self) -> Caption:
        place = 0
        while mark := MARK.search(self.source, place):
            place = self.mention(mark.start()) if mark[0] in "@＠" else self.tag(mark.start())
        if self.open is not None:
            kind, span = self.open
            self.fail(f"<{kind}> is never closed; accepted is </{kind}> after {KINDS[kind]}", span)
        self.words_until(len(self.source))
        return Caption(tuple(self.nodes))

    def fail(self, fault: str, span: Span) -> None:
        raise PromptError(fault, self.source, span)

    @property
    def siblings(self) -> list:
        return self.nodes if self.open is None else self.children

    def words_until(self, end: int) -> None:
        if end > self.written:
            self.siblings.append(Text(self.source[self.written : end], Span(self.written, end)))
        self.written = end

    # -- references ---------------------------------------------------------------------------------------------------

    def mention(self, at: int) -> int:
        """Reads on from an @; returns where to look for the next mark, as `tag` does."""
        if at and LETTER.match(self.source[at - 1]):
            return at + 1
        name = self.name(at + 1)
        if self.source[at] == "＠":
            if name:
                self.fail(f"＠{name} must be written @{name}", Span(at, at + 1 + len(name)))
            return at + 1
        if not name:
            self.fail("@ names nothing; accepted is the name of a reference right after it, such as @cat, or the word "
                      "at", Span(at, at + 1))  # fmt: skip
        self.words_until(at)
        self.written = at + 1 + len(name)
        self.siblings.append(Mention(name, Span(at, self.written)))
        return self.written

    def name(self, at: int) -> str:
        for tag in self.tags:
            goes_on = LETTER.match(tag[-1]) and GOES_ON.match(self.source, at + len(tag))
            if self.source.startswith(tag, at) and not goes_on:
                return tag
        found = NAME.match(self.source, at)
        return found[0] if found else ""

    # -- tags ---------------------------------------------------------------------------------------------------------

    def tag(self, at: int) -> int:
        found = BRACKETED.match(self.source, at)
        if found is None:
            return at + 1
        slash, name, rest, right = found.groups()
        kind, span = name.lower(), Span(*found.span())
        tag = f"</{kind}>" if slash else f"<{kind}>"
        if kind not in KINDS:
            # A tag of somebody else's, unless it is mathematics or a title.
            if found[0] in (f"<{name}>", f"</{name}>"):
                self.fail(f"{found[0]} is no tag{meant(kind, slash)}; accepted are {accepted()}", span)
            return at + 1
        if found[0].startswith(("<" + name, "</" + name)):
            if not right:
                self.fail(f"<{slash}{name} has no >; accepted is {tag}", Span(at, found.end(2)))
            if rest.strip() == "/":
                self.fail(f"{found[0]} holds nothing; accepted is {tag} {KINDS[kind]} </{kind}>", span)
            if rest.strip():
                self.fail(f"{tag} takes nothing beside its name; accepted is {tag}, not {found[0][:40]}", span)
        elif rest.strip() or not right:
            return at + 1
        if found[0] != tag:
            self.fail(f"{found[0]} must be written {tag}", span)
        if slash:
            self.close(kind, span)
        else:
            self.begin(kind, span)
        return self.written

    def begin(self, kind: str, span: Span) -> None:
        if self.open is not None:
            outer, place = self.open
            self.fail(f"<{kind}> stands inside <{outer}>, but tags do not nest; accepted is </{outer}> before it "
                      f"(<{outer}> was opened at {self.where(place)})", span)  # fmt: skip
        self.words_until(span.start)
        self.open, self.children, self.written = (kind, span), [], span.end

    def close(self, kind: str, span: Span) -> None:
        if self.open is None:
            self.fail(f"</{kind}> closes nothing; accepted is <{kind}> before {KINDS[kind]}", span)
        opened, place = self.open
        if opened != kind:
            self.fail(f"</{kind}> closes nothing, as <{opened}> is open (at {self.where(place)}); accepted is "
                      f"</{opened}>", span)  # fmt: skip
        self.words_until(span.start)
        self.open, self.written = None, span.end
        self.nodes.append(Element(kind, tuple(self.children), Span(place.start, span.end)))

    def where(self, span: Span) -> str:
        return "line {}, column {}".format(*place_of(span.start, self.source))


def meant(name: str, slash: str) -> str:
    near = HABITS.get(name) or next(iter(get_close_matches(name, KINDS, n=1)), None)
    return f", did you mean <{slash}{near}>?" if near else ""


def accepted() -> str:
    return f"{', '.join(f'<{kind}>' for kind in KINDS)}, each closed as in <sfx> ... </sfx>"
