"""The grammar: what parses, what does not and what is said about it; spans; round trip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreels.prompts import PromptError, check_tags, parse
from openreels.prompts.caption import KINDS, Element, Mention, Text

# -- any text at all --------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [*(f"<{kind}>" for kind in KINDS), *(f"</{kind}>" for kind in KINDS), "<", ">", "/", "@", "@cat", "@Actor-0",
     "@小红", "＜", "＞", "《sfx》", "＠", "<3", "<b", " ", "\n", "sfx", '"Hi"', "“你好”", ": ", "。", ".", "x",
     "球", "é", "\t", "🎈"]
)  # fmt: skip
MESSES = st.text(max_size=60) | st.lists(PIECES, max_size=12).map("".join)
WORDS = st.text(st.characters(blacklist_characters="<＜《〈@＠", blacklist_categories=["Cs"]), max_size=20)
LEAVES = WORDS | st.sampled_from([" @cat ", " @Actor-0 ", " @小红 "])
INSIDES = st.lists(LEAVES, max_size=3).map("".join)
ELEMENTS = st.builds("<{0}>{1}</{0}>".format, st.sampled_from(list(KINDS)), INSIDES)
PROMPTS = st.lists(LEAVES | ELEMENTS, max_size=6).map("".join)


def has_exact_spans(nodes, source, start):
    for node in nodes:
        assert node.span.start == start
        assert source[node.span.start : node.span.end] == str(node) != ""
        if isinstance(node, Element):
            inside = node.span.start + len(f"<{node.kind}>")
            assert has_exact_spans(node.children, source, inside) == node.span.end - len(f"</{node.kind}>")
        start = node.span.end
    return start


@given(PROMPTS)
def test_a_prompt_round_trips_and_every_node_knows_its_place(prompt):
    caption = parse(prompt, tags=("cat",))
    assert str(caption) == prompt
    assert has_exact_spans(caption.nodes, prompt, 0) == len(prompt)
    for line in caption.lines:
        assert prompt[line.span.start : line.span.end] == line.words


@given(MESSES)
def test_a_mess_parses_or_says_where_it_does_not(text):
    try:
        caption = parse(text)
    except PromptError as error:
        assert 0 <= error.span.start < error.span.end <= len(text)
        before = text[: error.span.start]
        assert (error.line, error.column) == (before.count("\n") + 1, len(before) - before.rfind("\n"))
        excerpt, carets = error.excerpt.split("\n")
        assert set(carets.strip()) == {"^"}
        assert str(error) == f"line {error.line}, column {error.column}: {error.sentence.partition(': ')[2]}\n" + (
            f"{excerpt}\n{carets}"
        )
    else:
        assert str(caption) == text
        assert has_exact_spans(caption.nodes, text, 0) == len(text)


@given(PROMPTS, st.sets(st.sampled_from(list(KINDS))))
def test_without_drops_these_kinds_and_nothing_else(prompt, kinds):
    caption = parse(prompt)
    rest = caption.without(kinds)
    assert [str(element) for element in rest.elements] == [
        str(element) for element in caption.elements if element.kind not in kinds
    ]
    assert rest.visual.replace(" ", "") == caption.visual.replace(" ", "")
    assert has_exact_spans(rest.nodes, str(rest), 0) == len(str(rest))
    if not kinds & {element.kind for element in caption.elements}:
        assert rest == caption


# -- the tree ---------------------------------------------------------------------------------------------------------

STORY = """@Anna meets @Ben-2 by the sea. <sfx> Waves. </sfx>
@Anna says <dialogue> "Come in!" </dialogue> and @Ben-2, in the voice of @Audio-0, <dialogue>"No."</dialogue>
<singing> @Anna: la la
@Ben-2：“啦啦” </singing><bgm>A sad piano plays.</bgm>"""


def test_the_parts_of_a_caption():
    caption = parse(STORY)
    assert caption.is_structured and not parse("a ball").is_structured
    assert caption.contents("sfx") == ("Waves.",)
    assert caption.contents("bgm") == ("A sad piano plays.",)
    assert caption.contents("text") == ()
    assert caption.tags == ("Anna", "Ben-2", "Audio-0")
    assert caption.visual == "@Anna meets @Ben-2 by the sea. @Anna says and @Ben-2, in the voice of @Audio-0,"


def test_who_says_what():
    said = [(line.words, line.speaker, line.tags, line.kind) for line in parse(STORY).lines]
    assert said == [
        ("Come in!", "Anna", ("Anna",), "dialogue"),
        ("No.", "Ben-2", ("Ben-2", "Audio-0"), "dialogue"),
        ("la la", "Anna", ("Anna",), "singing"),
        ("啦啦", "Ben-2", ("Ben-2",), "singing"),
    ]


def test_a_description_of_speech_is_no_line():
    assert parse("<dialogue> The person speaks in a low voice. </dialogue>").lines == ()
    (line,) = parse('<dialogue> A voice from afar: "Hey" </dialogue>').lines
    assert (line.words, line.speaker) == ("Hey", None)


def test_a_mention_of_another_sentence_does_not_speak():
    (line,) = parse('@Anna waves. Somebody says <dialogue> "Hi" </dialogue>').lines
    assert line.speaker is None


def test_without_closes_the_gap():
    caption = parse("A ball. <sfx> Thud. </sfx> <bgm> A tune. </bgm> End")
    assert str(caption.without({"sfx"})) == "A ball. <bgm> A tune. </bgm> End"
    assert str(caption.without({"sfx", "bgm"})) == "A ball. End"
    assert str(parse("<sfx> Thud. </sfx> A ball").without({"sfx"})) == "A ball"


@pytest.mark.parametrize(
    "text",
    ["a < b and c > d", "I <3 you >_<", "<", "1<2", "《红楼梦》", "〈序〉", "a <b and c>d", "me@home.org",
     "if a < text b", "《sfx of a film》", "a ＠ b", "[ZOOM_IN_CUT]", ""],
)  # fmt: skip
def test_what_is_only_words(text):
    assert all(isinstance(node, Text) for node in parse(text).nodes)


@pytest.mark.parametrize(
    ("text", "tags", "names"),
    [
        ("@cat's hat, @image_1. @Actor-0-", (), ["cat", "image_1", "Actor-0"]),
        ("一只@cat在草地上", (), ["cat"]),
        ("@小红 和 @小明。", (), ["小红", "小明"]),
        ("@小红在跑", (), ["小红在跑"]),
        ("@小红在跑", ("小", "小红"), ["小红"]),
        ("@image_10 @image_1", ("image_1", "image_10"), ["image_10", "image_1"]),
        ("@cats @cat-like", ("cat",), ["cats", "cat-like"]),
        ("(@Zoë)", (), ["Zoë"]),
    ],
)
def test_mentions(text, tags, names):
    assert [node.name for node in parse(text, tags).nodes if isinstance(node, Mention)] == names


# -- what is refused --------------------------------------------------------------------------------------------------

FAULTS = {
    "A ball <sfx> thud": (1, 8, 5, "<sfx> is never closed; accepted is </sfx> after sound effects and ambience"),
    "A ball\nrolls </bgm>": (2, 7, 6, "</bgm> closes nothing; accepted is <bgm> before background music"),
    "<sfx> x </bgm>": (1, 9, 6, "</bgm> closes nothing, as <sfx> is open (at line 1, column 1); accepted is </sfx>"),
    "<sfx> a <bgm> b": (1, 9, 5, "<bgm> stands inside <sfx>, but tags do not nest; accepted is </sfx> before it"),
    "<sfx> a <sfx> b": (1, 9, 5, "<sfx> stands inside <sfx>, but tags do not nest"),
    "a <sxf>": (1, 3, 5, "<sxf> is no tag, did you mean <sfx>?; accepted are <text>, <sfx>, <dialogue>, "),
    "<music> x": (1, 1, 7, "<music> is no tag, did you mean <bgm>?"),
    "</dialog>": (1, 1, 9, "</dialog> is no tag, did you mean </dialogue>?"),
    "<br>": (1, 1, 4, "<br> is no tag; accepted are <text>"),
    "<S>Hello": (1, 1, 3, "<S> is no tag, did you mean <dialogue>?"),
    "<SFX>": (1, 1, 5, "<SFX> must be written <sfx>"),
    "< sfx >": (1, 1, 7, "< sfx > must be written <sfx>"),
    "球＜sfx＞": (1, 2, 5, "＜sfx＞ must be written <sfx>"),
    "《/sfx》": (1, 1, 6, "《/sfx》 must be written </sfx>"),
    "<sfx loud>": (1, 1, 10, "<sfx> takes nothing beside its name; accepted is <sfx>, not <sfx loud>"),
    "<sfx/>": (1, 1, 6, "<sfx/> holds nothing; accepted is <sfx> sound effects and ambience </sfx>"),
    "a </bgm b": (1, 3, 5, "</bgm has no >; accepted is </bgm>"),
    "meet @ noon": (1, 6, 1, "@ names nothing; accepted is the name of a reference right after it, such as @cat"),
    "＠Anna": (1, 1, 5, "＠Anna must be written @Anna"),
}  # fmt: skip


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_has_its_place_and_what_is_accepted(text):
    line, column, length, sentence = FAULTS[text]
    with pytest.raises(PromptError) as caught:
        parse(text)
    error = caught.value
    assert (error.line, error.column, error.span.end - error.span.start) == (line, column, length)
    assert error.sentence.startswith(f"line {line}, column {column}: {sentence}")


def test_the_caret_stands_below_the_fault():
    with pytest.raises(PromptError) as caught:
        parse("A red ball\non the grass <sxf> thud </sxf>")
    assert caught.value.excerpt == "  on the grass <sxf> thud </sxf>\n               ^^^^^"


def test_wide_characters_and_long_lines_keep_the_caret_in_place():
    with pytest.raises(PromptError) as caught:
        parse("红球 <sxf>")
    assert caught.value.excerpt == "  红球 <sxf>\n       ^^^^^"
    with pytest.raises(PromptError) as caught:
        parse("x" * 500 + "<sxf>" + "y" * 500)
    shown, carets = caught.value.excerpt.split("\n")
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "<sxf>"
    assert len(shown) <= 80 and shown.strip().startswith("…x") and shown.endswith("y…")


def test_a_mention_of_what_is_not_there():
    check_tags(parse("@cat and @dog"), ("cat", "dog"))
    with pytest.raises(PromptError, match=r"column 6: @dgo is no reference, did you mean @dog\?; given are @cat, @dog"):
        check_tags(parse("@cat @dgo"), ("cat", "dog"))


def test_a_hostile_prompt_takes_no_time():
    for text in ("<" * 4_000, "< " * 2_000, "<a" * 2_000, "@a" * 2_000, "<sfx></sfx>" * 400, "<" + " " * 4_000):
        assert str(parse(text)) == text
