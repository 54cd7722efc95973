"""The embedded enhancer: what it adds, what it leaves alone, and that its words are those of the pocket model."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreels.prompts import Embedded, PromptError, parse
from openreels.prompts.vocabulary import ENGLISH, MANDARIN, language_of
from openreels.world import captions as captions_of
from openreels.world import sample_scene

enhance = Embedded()

ADDED = {
    "A red rubber ball bounces on the grass": " <sfx> Dull rubber thuds and birds chirping. </sfx>",
    "a metal star jumps in the desert at night": (
        " <sfx> Ringing metal clangs, light swishes and night insects and soft wind. </sfx>"
    ),
    "A rubber ball jumps on the wooden floor": " <sfx> Dull rubber thuds and light swishes. </sfx>",
    "A glass ring bounces and a wooden box stands still": " <sfx> Clear glass clinks. </sfx>",
    "A glass ring and a wooden box collide downtown": (
        " <sfx> Clear glass clinks, dry wooden knocks and a low city hum. </sfx>"
    ),
    "A robot talks in a low voice by the sea": (
        " <sfx> Sea waves. </sfx> <dialogue> The robot speaks in a low voice. </dialogue>"
    ),
    "Two people dance to cheerful piano music": " <bgm> Cheerful piano music plays. </bgm>",
    "A dog barks in the rain": " <sfx> Steady rain and barking. </sfx>",
    "晚上，一个红色的玻璃球在草地上弹跳": " <sfx> 玻璃的叮当声、蟋蟀的叫声。 </sfx>",
    "一个机器人用低沉的声音说话": " <dialogue> 机器人用低沉的声音说话。 </dialogue>",
}


@pytest.mark.parametrize("prompt", ADDED)
def test_what_is_heard_is_added(prompt):
    made = enhance(prompt)
    assert made.prompt == prompt + language_of(prompt).stop + ADDED[prompt]
    assert (made.original, made.by, made.warnings) == (prompt, "embedded", ())


@pytest.mark.parametrize(
    "prompt",
    ["A red ball bounces on the grass",  # of what?
     "A rubber ball and a ball of something bounce",
     "一个红色的球在草地上弹跳",
     "A silent city at night", "安静无声的城市",
     "A forest, and the sound of an axe",
     "A man reads a book", "一个人在看书",
     "A cup without rain", "A snow-white cube stands still", "He rolls his eyes", "The bark of a tree",
     "女孩在听音乐", "女孩在钢琴旁跳舞", "A man with a music box plays", "A man looks up while waves can be heard",
     "<3", "a < b", "x"],
)  # fmt: skip
def test_what_cannot_be_told_is_left_alone(prompt):
    assert enhance(prompt).prompt == prompt


IN_PLACE = {
    'Anna says "Hello!" and waves.': 'Anna says <dialogue> "Hello!" </dialogue> and waves.',
    '"Come here," whispers @Anna.': '<dialogue> "Come here," </dialogue> whispers @Anna.',
    'A sign says "OPEN".': 'A sign says <text> "OPEN" </text>.',
    'A girl sings "la la".': 'A girl sings <singing> "la la" </singing>.',
    'The "best" cat': 'The "best" cat',
    '"It is raining," says Anna.': '<dialogue> "It is raining," </dialogue> says Anna.',
    "女孩说：“你好！”": "女孩说：<dialogue> “你好！” </dialogue>",
    "墙上写着“欢迎”": "墙上写着<text> “欢迎” </text>",
}


@pytest.mark.parametrize("prompt", IN_PLACE)
def test_quotations_are_tagged_where_they_stand(prompt):
    assert enhance(prompt).prompt == IN_PLACE[prompt]


def test_sentences_about_sound_go_to_the_end_in_the_papers_order():
    made = enhance("A cheerful music box plays. A cat sits in a room. We hear a clock.")
    assert made.prompt == (
        "A cat sits in a room. <sfx> We hear a clock. </sfx> <bgm> A cheerful music box plays. </bgm>"
    )


def test_what_is_not_made_is_not_written():
    prompt = 'A rubber ball bounces. Anna says "Hi". A sign reads "GO". Sad music plays.'
    silent = parse(enhance(prompt, "video").prompt)
    assert [element.kind for element in silent.elements] == ["dialogue", "text"]
    heard = parse(enhance(prompt, "audio").prompt)
    assert [element.kind for element in heard.elements] == ["dialogue", "sfx", "bgm"]
    assert enhance("A ball <sfx> Thud. </sfx>", "video").prompt == "A ball"
    assert enhance("A rubber ball bounces", "video").prompt == "A rubber ball bounces"
    assert enhance("<sfx> Thud. </sfx>", "video").prompt == "<sfx> Thud. </sfx>"  # better than nothing


def test_a_malformed_prompt_is_refused():
    with pytest.raises(PromptError):
        enhance("A ball <sfx> thud")


def test_a_prompt_that_would_become_too_long_stays():
    prompt = "A rubber ball bounces. " * 173
    made = enhance(prompt)
    assert made.prompt == prompt
    assert made.warnings == ("the prompt stays as it is: enhanced it would have more than 4,000 characters",)


# -- any prompt -------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["a", "rubber", "ball", "bounces", "metal", "box", "falls", "on the grass", "at night", ".", ",", "and", "rain",
     "person", "talks in a low voice", "says", '"Hi"', "sign", "We hear", "sad", "music", "plays", "@cat", "<3", "<",
     "一个", "玻璃", "球", "弹跳", "。", "说：“好”", "在草地上"]
)  # fmt: skip
PROMPTS = st.lists(WORDS, min_size=1, max_size=14).map(" ".join) | st.text(
    st.characters(exclude_characters="<@＜《〈＠", exclude_categories=["Cs"]), max_size=40
)


def letters(text):
    return sorted(re.sub(r"</?\w+>|\W", "", text))


@given(PROMPTS, st.sampled_from(["video+audio", "video", "audio"]))
def test_enhancing_is_idempotent_and_well_formed(prompt, modality):
    once = enhance(prompt, modality)
    twice = enhance(once.prompt, modality)
    assert twice.prompt == once.prompt
    assert parse(once.prompt).tags == parse(prompt).tags


@given(PROMPTS)
def test_every_word_of_the_users_is_kept(prompt):
    rest = letters(enhance(prompt).prompt)
    for letter in letters(prompt):
        rest.remove(letter)


@given(st.integers(0, 10_000))
def test_structured_captions_of_the_world_stay_as_they_are(seed):
    captions = captions_of(sample_scene(seed, duration=2.0), seed)
    for prompt in (captions.structured_en, captions.structured_zh):
        assert enhance(prompt).prompt == prompt


# -- the pocket model's words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "language"), [("en", ENGLISH), ("zh", MANDARIN)])
def test_what_is_added_are_words_of_the_worlds_structured_captions(form, language):
    known = " ".join(
        getattr(captions_of(sample_scene(seed, duration=2.0), seed), f"structured_{form}").lower()
        for seed in range(1_500)
    )
    of_the_world = [*language.materials.values(), *language.motions.values()]
    of_the_world += [
        language.places[place] for place in language.places if not re.search("forest|river|森林|河边", place)
    ]
    assert [sound for sound in of_the_world if sound not in known] == []


HEARD_EN = ("thud|thump", "clang", "knock|clack", r"clink|\bping", "sliding", "rumbl", "whoosh", "swish")
HEARD_ZH = ("橡胶", "金属", "木头", "玻璃", "滑动声", "滚动声", "呼呼", "嗖嗖")


@pytest.mark.parametrize(("form", "kinds"), [("structured_en", HEARD_EN), ("structured_zh", HEARD_ZH)])
def test_it_hears_what_the_worlds_captions_say_is_heard(form, kinds):
    """Without its sounds, a structured caption gets the same materials and motions back."""
    heard = 0
    for seed in range(200):
        caption = parse(getattr(captions_of(sample_scene(seed, duration=2.0), seed), form))
        (wanted,) = caption.contents("sfx")
        made = " ".join(parse(enhance(caption.visual).prompt).contents("sfx"))
        named = [[kind for kind in kinds if re.search(kind, text, re.IGNORECASE)] for text in (wanted, made)]
        assert named[0] == named[1], f"{caption}\n{made}"
        heard += len(named[1])
    assert heard > 150


@pytest.mark.parametrize(
    ("prompt", "quote"),
    [
        ('A girl says "Listen. The music box plays. Come here."', '"Listen. The music box plays. Come here."'),
        ('A woman says "I heard it. Sounds: loud." in the rain', '"I heard it. Sounds: loud."'),
    ],
)
@pytest.mark.parametrize("modality", ["video+audio", "video"])
def test_what_somebody_says_stays_whole(prompt, quote, modality):
    written = enhance(prompt, modality).prompt
    assert f"<dialogue> {quote} </dialogue>" in written or (modality == "video" and "dialogue" not in written)
    assert written.count('"') in (0, 2)
