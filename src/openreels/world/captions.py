"""What one would say of a scene: English and Chinese, short, long and structured, in many wordings.

Colour, kind and motion of every subject are always named; the rest may be left out of short captions. Structured
captions follow the paper: the visual description, then what is read and heard in the tags `<text>`, `<sfx>`,
`<dialogue>`, `<singing>`, `<bgm>`, in this order. A tag that has nothing to say is left out. Where no sides are told,
two subjects are named in the order of the script: which colour goes with which kind can be counted off.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from openreels.world.attribute_words import CHINESE, ENGLISH, turns
from openreels.world.attribute_words import pick as _pick
from openreels.world.motion import contacts
from openreels.world.script import Scene, Subject

__all__ = ["Captions", "captions", "random_caption"]


@dataclass(frozen=True, slots=True)
class Captions:
    """All forms of one scene's caption."""

    short_en: str
    long_en: str
    structured_en: str
    short_zh: str
    structured_zh: str


# The first wording of each list is the plain one and is drawn more often.
_COLOUR_EN = {
    "red": ("red", "crimson", "scarlet", "bright red"),
    "orange": ("orange", "bright orange", "tangerine"),
    "yellow": ("yellow", "golden yellow", "lemon yellow"),
    "green": ("green", "emerald", "bright green"),
    "cyan": ("cyan", "turquoise", "light blue", "aqua"),
    "blue": ("blue", "royal blue", "deep blue"),
    "magenta": ("magenta", "pink", "purple-pink"),
    "white": ("white", "snow-white", "pure white"),
}
_KIND_EN = {
    "ball": ("ball", "sphere", "round ball"),
    "box": ("box", "cube", "square", "square block"),
    "star": ("star", "five-pointed star"),
    "triangle": ("triangle", "triangular block"),
    "heart": ("heart", "heart shape"),
    "ring": ("ring", "hoop", "donut"),
    "person": ("person", "character", "human face"),
    "cat": ("cat", "kitten", "kitty"),
    "robot": ("robot", "android", "robot head"),
}
_MATERIAL_EN = {
    "rubber": ("rubber", "rubbery"),
    "metal": ("metal", "metallic", "steel"),
    "wood": ("wooden", "wood"),
    "glass": ("glass", "crystal"),
}
_SIZE_EN = {"small": ("small", "little", "tiny"), "large": ("big", "large")}
_MOTION_EN = {
    "bounce": ("bounces", "bounces up and down", "is bouncing", "keeps bouncing", "bounces"),
    "jump": ("jumps", "hops", "is hopping", "leaps up and down", "jumps up and down"),
    "orbit": (
        "circles in the air",
        "flies in circles",
        "moves in a circle",
        "orbits around a point",
        "goes round and round",
    ),
    "fall": ("falls down", "drops", "falls from above", "drops to the ground", "falls"),
    "still": ("stands still", "does not move", "rests", "stays still", "is standing still"),
}
_TRAVEL_EN = {
    "slide": ("slides to the {side}", "glides to the {side}", "is sliding from {other} to {side}", "slides {side}"),
    "roll": ("rolls to the {side}", "is rolling to the {side}", "rolls from {other} to {side}", "rolls {side}"),
}
_COLLIDE_EN = (
    "{a} and {b} collide",
    "{a} bumps into {b}",
    "{a} crashes into {b}",
    "{a} and {b} slide into each other and bounce back",
)
_PLACE_EN = {
    "meadow": ("on the grass", "in a meadow", "on a green meadow", "in a grassy field"),
    "beach": ("on the beach", "at the seaside", "by the sea", "on the sand by the sea"),
    "city": ("in a city", "on a city street", "in front of tall buildings", "downtown"),
    "room": ("in a room", "indoors", "in a living room", "on the wooden floor of a room"),
    "snow": ("in the snow", "on a snowy field", "in a snowy landscape", "in front of snowy mountains"),
    "desert": ("in the desert", "on the desert sand", "in a dry desert"),
}
_NIGHT_EN = ("at night", "under the moon", "in the dark of night", "by moonlight")
_NIGHT_ROOM_EN = ("at night", "in the evening", "by lamplight")
_DAY_EN = ("by day", "during the day", "in daylight")
_TALK_EN = {
    "low": (
        "talks in a low voice",
        "speaks with a deep voice",
        "is talking in a deep voice",
        "says something in a low voice",
    ),
    "high": (
        "talks in a high voice",
        "speaks with a high voice",
        "is talking in a high-pitched voice",
        "says something in a high voice",
    ),
}
_SING_EN = {
    "low": ("sings in a low voice", "is singing with a deep voice", "sings a tune in a deep voice"),
    "high": ("sings in a high voice", "is singing with a high voice", "sings a tune in a high voice"),
}
_TURNS_EN = (
    "{left} and {right} talk in turns, {voices}",
    "{left} on the left and {right} on the right take turns speaking, {voices}",
    "{left} is talking with {right}, one after the other, {voices}",
)
_MUSIC_EN = {
    "cheerful": ("a cheerful music box plays", "happy music box music plays", "a lively music box tune is heard"),
    "sad": ("a sad music box plays", "a slow, sad music box tune is heard", "melancholic music box music plays"),
}
_IMPACT_EN = {
    "rubber": ("dull rubber thuds", "soft rubbery thumps"),
    "metal": ("ringing metal clangs", "bright metallic clangs"),
    "wood": ("dry wooden knocks", "wooden clacks"),
    "glass": ("clear glass clinks", "bright glassy pings"),
}
_AMBIENCE_EN = {
    ("meadow", False): ("birds chirping", "birdsong"),
    ("meadow", True): ("crickets chirping", "crickets at night"),
    ("beach", False): ("sea waves", "waves washing ashore"),
    ("city", False): ("a low city hum", "distant traffic"),
    ("room", False): ("a ticking clock", "a clock ticking quietly"),
    ("snow", False): ("cold wind", "a sighing wind"),
    ("desert", False): ("cicadas and dry wind", "the dry hiss of the desert"),
    ("desert", True): ("night insects and soft wind", "insects in the desert night"),
}

_COLOUR_ZH = {
    "red": ("红色", "鲜红色", "大红色"),
    "orange": ("橙色", "橘色", "橘黄色"),
    "yellow": ("黄色", "金黄色", "亮黄色"),
    "green": ("绿色", "翠绿色", "鲜绿色"),
    "cyan": ("青色", "浅蓝色", "天蓝色"),
    "blue": ("蓝色", "深蓝色", "宝蓝色"),
    "magenta": ("品红色", "粉色", "粉红色"),
    "white": ("白色", "雪白色", "纯白色"),
}
_KIND_ZH = {
    "ball": ("球", "圆球", "球体"),
    "box": ("方块", "箱子", "正方体"),
    "star": ("星星", "五角星"),
    "triangle": ("三角形", "三角块"),
    "heart": ("爱心", "心形"),
    "ring": ("圆环", "圈", "环"),
    "person": ("人", "人物"),
    "cat": ("猫", "小猫"),
    "robot": ("机器人",),
}
_MEASURE_ZH = {"cat": "只", "star": "颗", "heart": "颗"}
_MATERIAL_ZH = {
    "rubber": ("橡胶", "橡皮"),
    "metal": ("金属", "钢制"),
    "wood": ("木头", "木制"),
    "glass": ("玻璃", "水晶"),
}
_SIZE_ZH = {"small": ("小", "小小的"), "large": ("大", "大大的")}
_MOTION_ZH = {
    "bounce": ("弹跳", "弹来弹去", "不停地弹跳", "上下弹跳"),
    "jump": ("跳跃", "蹦跳", "一蹦一跳", "跳来跳去"),
    "orbit": ("绕圈飞行", "转圈", "在空中转圈", "绕着圆圈运动"),
    "fall": ("落下", "掉下来", "从高处落下", "从空中掉落"),
    "still": ("静止不动", "一动不动", "静静地停着"),
}
_TRAVEL_ZH = {
    "slide": ("向{side}滑动", "滑向{side}边", "从{other}边滑到{side}边"),
    "roll": ("向{side}滚动", "滚向{side}边", "从{other}边滚到{side}边"),
}
_COLLIDE_ZH = ("{a}和{b}相撞", "{a}撞上{b}", "{a}与{b}互相碰撞后弹开")
_PLACE_ZH = {
    "meadow": ("草地上", "草原上", "绿色的草地上"),
    "beach": ("沙滩上", "海边", "海滩上"),
    "city": ("城市里", "城市的街道上", "高楼前"),
    "room": ("房间里", "室内", "客厅里"),
    "snow": ("雪地上", "雪地里", "雪山前"),
    "desert": ("沙漠里", "沙漠中", "沙漠的沙地上"),
}
_NIGHT_ZH = ("夜晚", "夜里", "晚上", "月光下")
_DAY_ZH = ("白天", "大白天")
_TALK_ZH = {
    "low": ("用低沉的声音说话", "用低音说话", "用浑厚的嗓音说话"),
    "high": ("用尖细的声音说话", "用高音说话", "用高高的嗓音说话"),
}
_SING_ZH = {
    "low": ("用低沉的声音唱歌", "用低音唱歌", "用浑厚的嗓音唱一支曲子"),
    "high": ("用高音唱歌", "用尖细的声音唱歌", "用高高的嗓音唱一支曲子"),
}
_TURNS_ZH = ("左边{left}和右边{right}轮流说话，{voices}", "{left}在左，{right}在右，一句接一句地交谈，{voices}")
_MUSIC_ZH = {
    "cheerful": ("欢快的八音盒音乐", "轻快的八音盒旋律"),
    "sad": ("忧伤的八音盒音乐", "缓慢悲伤的八音盒旋律"),
}
_IMPACT_ZH = {
    "rubber": ("橡胶的闷响", "柔软的橡胶撞击声"),
    "metal": ("清脆的金属撞击声", "金属的铿锵声"),
    "wood": ("木头的敲击声", "木头的咚咚声"),
    "glass": ("玻璃的叮当声", "清脆的玻璃声"),
}
_AMBIENCE_ZH = {
    ("meadow", False): ("鸟鸣声", "鸟叫声"),
    ("meadow", True): ("蟋蟀的叫声", "虫鸣声"),
    ("beach", False): ("海浪声", "浪花声"),
    ("city", False): ("城市的低鸣", "远处的车流声"),
    ("room", False): ("时钟的滴答声", "钟表滴答声"),
    ("snow", False): ("寒风声", "风声"),
    ("desert", False): ("蝉鸣和干燥的风声", "沙漠的风声"),
    ("desert", True): ("夜晚的虫鸣和微风声", "沙漠夜里的虫鸣"),
}


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _direction(subject: Subject) -> bool:
    """True when it moves to the right."""
    return subject.motion.distance > 0


@dataclass(frozen=True, slots=True)
class _Detail:
    """What a caption may leave out. All True in long and structured captions. extras: probability that an attribute
    (weather, style, what is worn and so on) is named."""

    size: bool = True
    material: bool = True
    place: bool = True
    night: bool = True
    music: bool = True
    extras: float = 0.0


_FULL = _Detail(extras=1.0)


def _brief(rng: Random) -> _Detail:
    return _Detail(*(rng.random() < keep for keep in (0.45, 0.7, 0.7, 0.7, 0.75)), extras=0.85)


def _ambience(table: dict, scene: Scene) -> tuple[str, ...]:
    return table.get((scene.background, scene.night)) or table[scene.background, False]


# --- English ---------------------------------------------------------------------------------------------------------


def _noun_en(rng: Random, subject: Subject, detail: _Detail) -> str:
    words = [_pick(rng, _COLOUR_EN[subject.colour])]
    if subject.material and detail.material:
        words.append(_pick(rng, _MATERIAL_EN[subject.material]))
    if detail.size:
        words.insert(0, _pick(rng, _SIZE_EN[subject.size]))
    kind = _pick(rng, _KIND_EN[subject.kind])
    words[:0] = ENGLISH.pattern(rng, subject, detail.extras)
    worn = ENGLISH.accessory(rng, subject, detail.extras)
    if rng.random() < 0.08 and not worn:
        return f"{_article(kind)} that is {' and '.join(words)}"
    return " ".join([_article(" ".join([*words, kind])), *worn])


def _verb_en(rng: Random, subject: Subject) -> str:
    if subject.speech is not None:
        return _pick(rng, (_SING_EN if subject.speech.is_sung else _TALK_EN)[subject.speech.voice])
    kind = subject.motion.kind
    if kind in _TRAVEL_EN:
        side, other = ("right", "left") if _direction(subject) else ("left", "right")
        return _pick(rng, _TRAVEL_EN[kind]).format(side=side, other=other)
    return _pick(rng, _MOTION_EN[kind])


def _place_en(rng: Random, scene: Scene, detail: _Detail, day: bool = False) -> list[str]:
    place = [_pick(rng, _PLACE_EN[scene.background])] if detail.place else []
    if scene.night and detail.night:
        place.append(_pick(rng, _NIGHT_ROOM_EN if scene.background == "room" else _NIGHT_EN))
    elif day and not scene.night:
        place.append(_pick(rng, _DAY_EN))
    return place + ENGLISH.weather(rng, scene, detail.extras)


def _visual_en(rng: Random, scene: Scene, detail: _Detail, day: bool = False, overlay: bool = True) -> str:
    """One sentence without its capital and full stop."""
    manner = ENGLISH.manner(rng, scene, detail.extras)
    if overlay:
        manner += ENGLISH.overlay(rng, scene, detail.extras)
    return ", ".join([_action_en(rng, scene, detail, day), *manner])


def _dialogue_en(rng: Random, scene: Scene, nouns: list[str], speakers: tuple[int, int]) -> str:
    voices = [
        f"the {_pick(rng, _KIND_EN[scene.subjects[i].kind])} in a {scene.subjects[i].speech.voice} voice"
        for i in speakers
    ]
    left, right = (nouns[i] for i in speakers)
    return _pick(rng, _TURNS_EN).format(left=left, right=right, voices=" and ".join(voices))


def _action_en(rng: Random, scene: Scene, detail: _Detail, day: bool = False) -> str:
    place = " ".join(_place_en(rng, scene, detail, day))
    subjects = scene.subjects
    nouns = [_noun_en(rng, subject, detail) for subject in subjects]
    if subjects[0].motion.kind == "collide":
        text = _pick(rng, _COLLIDE_EN).format(a=nouns[0], b=nouns[1])
    elif (speakers := turns(scene)) is not None:
        text = _dialogue_en(rng, scene, nouns, speakers)
    else:
        verbs = [_verb_en(rng, subject) for subject in subjects]
        parts = [f"{noun} {verb}" for noun, verb in zip(nouns, verbs, strict=True)]
        if len(parts) == 2:
            # The left subject is not always the first of the script.
            left = 0 if subjects[0].motion.x < subjects[1].motion.x else 1
            style = rng.random()
            if style < 0.3:
                text = f"on the left {parts[left]}, on the right {parts[1 - left]}"
            elif style < 0.45:
                text = f"{parts[left]} on the left while {parts[1 - left]} on the right"
            elif style < 0.55:
                text = f"{parts[1 - left]} on the right while {parts[left]} on the left"
            else:
                text = f"{parts[0]} {'and' if rng.random() < 0.6 else 'while'} {parts[1]}"
        else:
            text = parts[0]
    if not place:
        return text
    if rng.random() < 0.25:
        return f"{place}, {text}"
    if len(subjects) == 2 and "left" in text:
        return f"{text}, {place}"
    return f"{text} {place}"


def _sounds_en(rng: Random, scene: Scene) -> list[str]:
    """Sound effects and the place, without speech and music; what the scene has muted is left out."""
    sounds = [] if "effects" in scene.muted else _effects_en(rng, scene)
    if "ambience" not in scene.muted:
        sounds.append(_pick(rng, _ambience(_AMBIENCE_EN, scene)))
        sounds += ENGLISH.weather_sound(rng, scene)
    return sounds


def _effects_en(rng: Random, scene: Scene) -> list[str]:
    sounds = []
    materials = {contact.materials[-1] for contact in contacts(scene)} | {c.materials[0] for c in contacts(scene)}
    sounds += [_pick(rng, _IMPACT_EN[material]) for material in sorted(materials)]
    kinds = {subject.motion.kind for subject in scene.subjects}
    if "slide" in kinds:
        sounds.append(_pick(rng, ("a soft sliding hiss", "the hiss of sliding")))
    if "roll" in kinds:
        sounds.append(_pick(rng, ("a low rolling rumble", "soft rumbling")))
    if "orbit" in kinds:
        sounds.append(_pick(rng, ("a soft whoosh of air", "gentle whooshing")))
    if "jump" in kinds:
        sounds.append(_pick(rng, ("light swishes", "a swish at each take-off")))
    return sounds


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _speech_en(rng: Random, subject: Subject, side: str = "", verb: str = "speaks") -> str:
    voice = {"low": ("low", "deep"), "high": ("high", "high-pitched")}[subject.speech.voice]
    return f"the {side}{_pick(rng, _KIND_EN[subject.kind])} {verb} in a {_pick(rng, voice)} voice"


def _first(scene: Scene, speakers: tuple[int, int]) -> tuple[int, int]:
    """The speakers of a dialogue in the order of their first words."""
    begun = [scene.subjects[i].speech.syllables[0].start for i in speakers]
    return speakers if begun[0] < begun[1] else speakers[::-1]


def _voices_en(rng: Random, scene: Scene) -> list[str]:
    """The tags of speech and singing."""
    voices = [subject for subject in scene.subjects if subject.speech is not None]
    if not voices or "speech" in scene.muted:
        return []
    if (speakers := turns(scene)) is not None:
        one, other = _first(scene, speakers)
        sides = {speakers[0]: "left ", speakers[1]: "right "}
        begins = _speech_en(rng, scene.subjects[one], sides[one], "speaks first")
        answers = _speech_en(rng, scene.subjects[other], sides[other], "answers")
        return [f"<dialogue> {_sentence(f'{begins}, then {answers}')} </dialogue>"]
    if voices[0].speech.is_sung:
        return [f"<singing> {_sentence(_speech_en(rng, voices[0], verb='sings'))} </singing>"]
    return [f"<dialogue> {_sentence(_speech_en(rng, voices[0]))} </dialogue>"]


def _music(scene: Scene) -> str | None:
    """Mood of the music that is heard."""
    return scene.melody.mood if scene.melody is not None and "music" not in scene.muted else None


def _short_en(rng: Random, scene: Scene) -> str:
    detail = _brief(rng)
    text = _sentence(_visual_en(rng, scene, detail))
    for effect in ENGLISH.effect(rng, scene, detail.extras):
        text += " " + _sentence(effect)
    if _music(scene) is not None and detail.music:
        text += " " + _sentence(_pick(rng, _MUSIC_EN[_music(scene)]))
    # People type prompts with and without capital letters and full stops.
    if rng.random() < 0.2:
        text = text.lower().rstrip(".")
    return text


def _long_en(rng: Random, scene: Scene) -> str:
    sentences = [_sentence(_visual_en(rng, scene, _FULL, day=rng.random() < 0.5))]
    opening = rng.random()
    if opening < 0.15:
        sentences[0] = "The video shows a scene: " + sentences[0][0].lower() + sentences[0][1:]
    elif opening < 0.3:
        sentences[0] = "In this short clip, " + sentences[0][0].lower() + sentences[0][1:]
    sentences += [_sentence(effect) for effect in ENGLISH.effect(rng, scene, 1.0)]
    if sounds := _sounds_en(rng, scene):
        sound = _listed(sounds)
        sentences.append(_pick(rng, (f"We hear {sound}.", f"The sound: {sound}.", _sentence(f"{sound} can be heard"))))
    if _music(scene) is not None:
        sentences.append(_sentence(_pick(rng, _MUSIC_EN[_music(scene)]) + " in the background"))
    return " ".join(sentences)


def _structured_en(rng: Random, scene: Scene) -> str:
    parts = [_sentence(_visual_en(rng, scene, _FULL, day=True, overlay=False))]
    parts += [_sentence(effect) for effect in ENGLISH.effect(rng, scene, 1.0)]
    parts += [f"<text> {_sentence(text)} </text>" for text in ENGLISH.on_screen(rng, scene)]
    if sounds := _sounds_en(rng, scene):
        parts.append(f"<sfx> {_sentence(_listed(sounds))} </sfx>")
    parts += _voices_en(rng, scene)
    if _music(scene) is not None:
        parts.append(f"<bgm> {_sentence(_pick(rng, _MUSIC_EN[_music(scene)]))} </bgm>")
    return " ".join(parts)


# --- Chinese ---------------------------------------------------------------------------------------------------------


def _noun_zh(rng: Random, subject: Subject, detail: _Detail) -> str:
    noun = _bare_noun_zh(rng, subject, detail)
    # What it wears comes behind 一 and the measure word.
    worn = CHINESE.accessory(rng, subject, detail.extras) + CHINESE.pattern(rng, subject, detail.extras)
    return noun[:2] + "".join(worn) + noun[2:]


def _bare_noun_zh(rng: Random, subject: Subject, detail: _Detail) -> str:
    material = _pick(rng, _MATERIAL_ZH[subject.material]) if subject.material and detail.material else ""
    size = _pick(rng, _SIZE_ZH[subject.size]) if detail.size else ""
    kind = _pick(rng, _KIND_ZH[subject.kind])
    colour = _pick(rng, _COLOUR_ZH[subject.colour])
    if kind == "小猫" and size:
        kind = "猫"  # whose size is said already
    if size.endswith("的"):
        return f"一{_MEASURE_ZH.get(subject.kind, '个')}{size}{colour}{material}{kind}"
    if size and rng.random() < 0.5:
        return f"一{_MEASURE_ZH.get(subject.kind, '个')}{size}的{colour}{material}{kind}"
    return f"一{_MEASURE_ZH.get(subject.kind, '个')}{colour}的{size}{material}{kind}"


def _place_zh(rng: Random, scene: Scene, detail: _Detail, day: bool) -> str:
    time = ""
    if scene.night and detail.night:
        time = _pick(rng, _NIGHT_ZH[:3] if scene.background == "room" else _NIGHT_ZH)
    elif day and not scene.night:
        time = _pick(rng, _DAY_ZH)
    time += "".join(CHINESE.weather(rng, scene, detail.extras))
    place = f"在{_pick(rng, _PLACE_ZH[scene.background])}" if detail.place else ""
    return time, place


def _verb_zh(rng: Random, subject: Subject) -> str:
    if subject.speech is not None:
        return _pick(rng, (_SING_ZH if subject.speech.is_sung else _TALK_ZH)[subject.speech.voice])
    kind = subject.motion.kind
    if kind in _TRAVEL_ZH:
        side, other = ("右", "左") if _direction(subject) else ("左", "右")
        return _pick(rng, _TRAVEL_ZH[kind]).format(side=side, other=other)
    return _pick(rng, _MOTION_ZH[kind])


def _visual_zh(rng: Random, scene: Scene, detail: _Detail, day: bool = False, overlay: bool = True) -> str:
    """One sentence without its full stop."""
    manner = CHINESE.manner(rng, scene, detail.extras)
    if overlay:
        manner += CHINESE.overlay(rng, scene, detail.extras)
    told = [_action_zh(rng, scene, detail, day), *manner]
    return "，".join(told + CHINESE.effect(rng, scene, detail.extras))


def _dialogue_zh(rng: Random, scene: Scene, nouns: list[str], speakers: tuple[int, int]) -> str:
    height = {"low": "低", "high": "高"}
    talking = [scene.subjects[i] for i in speakers]
    voices = [f"{_pick(rng, _KIND_ZH[face.kind])}的声音{height[face.speech.voice]}" for face in talking]
    left, right = (nouns[i] for i in speakers)
    return _pick(rng, _TURNS_ZH).format(left=left, right=right, voices="，".join(voices))


def _action_zh(rng: Random, scene: Scene, detail: _Detail, day: bool = False) -> str:
    time, place = _place_zh(rng, scene, detail, day)
    subjects = scene.subjects
    nouns = [_noun_zh(rng, subject, detail) for subject in subjects]
    if subjects[0].motion.kind == "collide":
        text = _pick(rng, _COLLIDE_ZH).format(a=nouns[0], b=nouns[1])
        return f"{time}{place}，{text}" if time or place else text
    if (speakers := turns(scene)) is not None:
        text = _dialogue_zh(rng, scene, nouns, speakers)
        return f"{time}{place}，{text}" if time or place else text
    verbs = [_verb_zh(rng, subject) for subject in subjects]
    if len(subjects) == 1:
        if place and rng.random() < 0.7:
            return f"{time}，{nouns[0]}{place}{verbs[0]}" if time else f"{nouns[0]}{place}{verbs[0]}"
        return f"{time}{place}，{nouns[0]}{verbs[0]}" if time or place else f"{nouns[0]}{verbs[0]}"
    left = 0 if subjects[0].motion.x < subjects[1].motion.x else 1
    parts = [f"{noun}{verb}" for noun, verb in zip(nouns, verbs, strict=True)]
    style = rng.random()
    if style < 0.4:
        text = f"左边{parts[left]}，右边{parts[1 - left]}"
    elif style < 0.5:
        text = f"右边{parts[1 - left]}，左边{parts[left]}"
    else:
        text = f"{parts[0]}，{parts[1]}"
    return f"{time}{place}，{text}" if time or place else text


def _sounds_zh(rng: Random, scene: Scene) -> str:
    """Sound effects and the place; "" where all are muted."""
    sounds = [] if "effects" in scene.muted else _effects_zh(rng, scene)
    if "ambience" not in scene.muted:
        sounds.append(_pick(rng, _ambience(_AMBIENCE_ZH, scene)))
        sounds += CHINESE.weather_sound(rng, scene)
    return "、".join(sounds)


def _effects_zh(rng: Random, scene: Scene) -> list[str]:
    materials = {material for contact in contacts(scene) for material in contact.materials}
    sounds = [_pick(rng, _IMPACT_ZH[material]) for material in sorted(materials)]
    kinds = {subject.motion.kind for subject in scene.subjects}
    for kind, words in (
        ("slide", ("轻柔的滑动声",)),
        ("roll", ("低沉的滚动声",)),
        ("orbit", ("轻轻的呼呼声",)),
        ("jump", ("起跳的嗖嗖声",)),
    ):
        if kind in kinds:
            sounds.append(_pick(rng, words))
    return sounds


def _voices_zh(rng: Random, scene: Scene) -> list[str]:
    """The tags of speech and singing."""
    voices = [subject for subject in scene.subjects if subject.speech is not None]
    if not voices or "speech" in scene.muted:
        return []

    def told(subject: Subject, side: str = "") -> str:
        return f"{side}{_pick(rng, _KIND_ZH[subject.kind])}{_verb_zh(rng, subject)}"

    if (speakers := turns(scene)) is not None:
        sides = {speakers[0]: "左边的", speakers[1]: "右边的"}
        begins, answers = (told(scene.subjects[i], sides[i]) for i in _first(scene, speakers))
        return [f"<dialogue> 先是{begins}，然后{answers}。 </dialogue>"]
    tag = "singing" if voices[0].speech.is_sung else "dialogue"
    return [f"<{tag}> {told(voices[0])}。 </{tag}>"]


def _short_zh(rng: Random, scene: Scene) -> str:
    detail = _brief(rng)
    text = _visual_zh(rng, scene, detail)
    if _music(scene) is not None and detail.music:
        text += f"，{_pick(rng, ('伴随着', '响着', '播放着'))}{_pick(rng, _MUSIC_ZH[_music(scene)])}"
    return text + ("。" if rng.random() < 0.6 else "")


def _structured_zh(rng: Random, scene: Scene) -> str:
    parts = [_visual_zh(rng, scene, _FULL, day=True, overlay=False) + "。"]
    parts += [f"<text> {text}。 </text>" for text in CHINESE.on_screen(rng, scene)]
    if sounds := _sounds_zh(rng, scene):
        parts.append(f"<sfx> {sounds}。 </sfx>")
    parts += _voices_zh(rng, scene)
    if _music(scene) is not None:
        parts.append(f"<bgm> {_pick(rng, _MUSIC_ZH[_music(scene)])}。 </bgm>")
    return " ".join(parts)


_WRITERS = {
    "short_en": _short_en,
    "long_en": _long_en,
    "structured_en": _structured_en,
    "short_zh": _short_zh,
    "structured_zh": _structured_zh,
}


def _write(form: str, scene: Scene, seed: int) -> str:
    return _WRITERS[form](Random(f"openreels caption {form} {scene.seed} {seed}"), scene)


def captions(scene: Scene, seed: int) -> Captions:
    """All forms, worded at random; a function of the scene and the seed."""
    return Captions(**{form: _write(form, scene, seed) for form in _WRITERS})


def random_caption(scene: Scene, seed: int) -> str:
    """One of the forms: English for seven of ten, short ones most often."""
    form = Random(f"openreels form {scene.seed} {seed}").choices(tuple(_WRITERS), (40, 14, 16, 20, 10))[0]
    return _write(form, scene, seed)
