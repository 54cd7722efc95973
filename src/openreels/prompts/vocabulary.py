"""What words of a prompt imply for the ear, in English and in Chinese: the tables behind the embedded enhancer.

Patterns are regular expressions; English ones match whole words in any case. The wordings of the pocket model's world
(materials, motions, places) are those of its captions: `world.captions` is a layer above, so they are told here again,
and a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

__all__ = ["ENGLISH", "MANDARIN", "Language", "language_of"]

Kind = Literal["text", "dialogue", "singing"]
HAN = re.compile(r"[\u3400-\u9fff]")
NO_PLACE_EN = r"(?! (?:floor|table|bridge|house|wall|door|window|roof|stage)s?\b)"  # which things fall on, not of
MUSIC_ZH = (
    r"(?:欢快|轻快|忧伤|缓慢悲伤|悲伤|舒缓|激昂|温柔|紧张)的(?:八音盒|钢琴|吉他|爵士|摇滚|古典|背景|交响)?(?:音乐|旋律)"
)
LATIN_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Language:
    """One language's patterns (pattern -> what is heard) and punctuation.

    things: what makes a sound where it slides, rolls, circles or hops. materials: how it sounds where it strikes.
    strikes: verbs of one thing that meets the ground; meets: of two that meet each other. motions, events, places:
    what is heard then or there. places at night: `nights`, where it differs. cues: what a quotation is, by the words
    around it; the last match before it counts. speakers, talks: who, and in which voice.
    """

    things: str
    materials: Mapping[str, str]
    strikes: str
    meets: str
    motions: Mapping[str, str]
    events: Mapping[str, str]
    places: Mapping[str, str]
    nights: Mapping[str, str]
    night: str
    silence: str
    hearing: str
    negated: str
    clause_ends: str
    cues: Mapping[str, Kind]
    speakers: str
    talks: str
    said_of: str
    music_sentence: str
    sound_sentence: str
    music: str
    played: str
    separators: tuple[str, str]
    stop: str
    whole_words: bool

    @cached_property
    def compiled(self) -> dict[str, re.Pattern[str]]:
        return {}

    def pattern(self, source: str) -> re.Pattern[str]:
        """Compiled once; whole words where the language has spaces."""
        if source not in self.compiled:
            self.compiled[source] = re.compile(rf"\b(?:{source})\b" if self.whole_words else source, re.IGNORECASE)
        return self.compiled[source]

    def says(self, source: str, text: str) -> re.Match[str] | None:
        """The first match that is not negated ("no rain", "without music")."""
        for match in self.pattern(source).finditer(text):
            if not re.search(self.negated, text[: match.start()], re.IGNORECASE):
                return match
        return None

    def heard(self, table: Mapping[str, str], text: str) -> list[str]:
        """What the table has for what is said, each once, in its order."""
        return list(dict.fromkeys(sound for source, sound in table.items() if self.says(source, text)))

    def listed(self, items: list[str]) -> str:
        comma, last = self.separators
        return items[0] if len(items) == 1 else comma.join(items[:-1]) + last + items[-1]

    def sentence(self, text: str) -> str:
        return text[:1].upper() + text[1:] + self.stop


def language_of(text: str) -> Language:
    """Chinese where Han characters outnumber words in Latin letters, else English."""
    return MANDARIN if len(HAN.findall(text)) > len(LATIN_WORD.findall(text)) else ENGLISH


ENGLISH = Language(
    things=r"balls?|spheres?|box(?:es)?|cubes?|squares?|blocks?|stars?|triangles?|hearts?|rings?|hoops?|donuts?|"
    r"barrels?|wheels?|stones?|rocks?|boulders?|coins?|marbles?|tyres?|tires?|cans?|bottles?",
    materials={
        rf"(?:glass|crystal){NO_PLACE_EN}": "clear glass clinks",
        rf"(?:metal|metallic|steel){NO_PLACE_EN}": "ringing metal clangs",
        rf"(?:rubber|rubbery){NO_PLACE_EN}": "dull rubber thuds",
        rf"(?:wood|wooden){NO_PLACE_EN}": "dry wooden knocks",
    },
    strikes=r"bounc(?:es?|ing)|jump(?:s|ing)?|hops?|hopping|leap(?:s|ing)?|falls?|falling|drop(?:s|ping)?",
    meets=r"collid(?:es?|ing)|bump(?:s|ing)? into|crash(?:es|ing)? into|slides? into each other",
    motions={
        r"slid(?:es?|ing)|glid(?:es?|ing)": "a soft sliding hiss",
        r"rolls?|rolling": "a low rolling rumble",
        r"circles in the air|(?:flies|moves) in (?:a )?circles?|orbits|goes round": "a soft whoosh of air",
        r"jump(?:s|ing)?|hops?|hopping|leap(?:s|ing)?": "light swishes",
    },
    events={
        r"thunder\w*|lightning": "rolling thunder",
        r"rain|rains|raining|rainy|downpour": "steady rain",
        r"fireworks?": "cracking fireworks",
        r"explosion|explod(?:es?|ing)": "a loud explosion",
        r"campfire|bonfire|fireplace": "a crackling fire",
        r"barks|barking": "barking",
        r"meows|meowing": "meowing",
        r"applauds?|applause|clap(?:s|ping)?": "applause",
        r"laughs|laughing|laughter": "laughter",
        r"(?:man|woman|boy|girl|person|people|child|soldier|crowd)s? (?:walk|run|march)(?:s|es|ing)?": "footsteps",
        r"gallop(?:s|ing)?": "galloping hooves",
        r"(?:knock(?:s|ing)?) (?:on|at)": "knocking",
        r"typ(?:es|ing) on": "clicking keys",
        r"trains? (?:pass|arriv|leav|rush|speed)\w*": "a rumbling train",
        r"(?:cars?|trucks?|motorcycles?) (?:driv|pass|rac|speed|rush)\w*": "engines",
        r"helicopters?": "helicopter blades",
        r"waterfalls?": "rushing water",
    },
    places={
        r"snowy|in the snow|snowfield": "cold wind",
        r"beach|seaside|by the sea|seashore": "sea waves",
        r"deserts?": "cicadas and dry wind",
        r"forests?|woods": "rustling leaves and birdsong",
        r"grass|grassy|meadow|lawn": "birds chirping",
        r"river|stream|brook|creek": "running water",
        r"city|downtown|tall buildings|skyscrapers?": "a low city hum",
    },
    nights={
        r"deserts?": "night insects and soft wind",
        r"forests?|woods": "rustling leaves and crickets",
        r"grass|grassy|meadow|lawn": "crickets chirping",
    },
    night=r"night|midnight|evening|moon|moonlight|moonlit|lamplight",
    silence=r"silent|silence|silently|muted?|soundless|(?:no|without) (?:any )?(?:sound|audio|noise)s?",
    hearing=r"sounds?|noises?|audio|hear|hears|heard|hearing",
    negated=r"(?:\b(?:no|not|without|never|nor)|n't)\s+(?:\w+\s+)?$",
    clause_ends=r"[,;:.!?\n]| (?:and|while|as|but|then) ",
    cues={
        r"reads?|reading|written|words?|text|titled?|caption(?:ed)?|subtitles?|label(?:l?ed)?|letters|spells?|"
        r"(?:sign|banner|poster|billboard|screen|shirt|board|card) (?:that )?(?:says|saying)": "text",
        r"sings?|singing|chants?|chanting": "singing",
        r"says?|said|saying|asks?|asking|shouts?|shouting|whispers?|whispering|yells?|yelling|repl(?:y|ies)|answers?|"
        r"exclaims?|murmurs?|announces?|tells? \w+|calls? out|speaks?": "dialogue",
    },
    speakers=r"person|character|human face|man|woman|boy|girl|child|cat|kitten|kitty|robot head|robot|android",
    talks=r"(?:talk|speak|say)(?:s|ing)? (?:something )?(?:in|with) an? (low|deep|high|high-pitched) voice",
    said_of="the {who} speaks in a {voice} voice",
    music_sentence=r"(?!no |without )(?:(?:an?|the|some) )?(?:(?!(?:with|who|to|of|in|on|by)\b)[\w-]+,? ){0,4}?"
    r"(?:music box|music|tune|melody)(?: music| tune| melody)?"
    r" (?:plays|is playing|is heard|can be heard)\b.*",
    sound_sentence=r"(?:we hear|the sounds?:|sounds?:|audio:).*|(?!.*\b(?:while|as|when|where)\b).*\bcan be heard",
    music=r"(?:cheerful|happy|lively|sad|slow|melancholic|gentle|calm|tense|epic|upbeat|soft|dramatic)"
    r"(?:,? (?:sad|slow|soft|calm|music box|piano|guitar|jazz|rock|orchestral|electronic|ambient))*"
    r" (?:music box|music|tune|melody)",
    played="{music} plays",
    separators=(", ", " and "),
    stop=".",
    whole_words=True,
)

MANDARIN = Language(
    things=r"球|方块|箱子|正方体|星|三角|爱心|心形|环|圈|木桶|轮|石头|硬币|瓶",
    materials={
        r"玻璃(?![门窗])|水晶": "玻璃的叮当声",
        r"金属|钢(?!琴)": "清脆的金属撞击声",
        r"橡胶|橡皮": "橡胶的闷响",
        r"木头|木制": "木头的敲击声",
    },
    strikes=r"弹跳|弹来弹去|跳|落下|掉下|掉落",
    meets=r"相撞|撞上|碰撞",
    motions={
        r"滑动|滑向|滑到": "轻柔的滑动声",
        r"滚动|滚向|滚到": "低沉的滚动声",
        r"绕圈飞行|转圈|绕着圆圈": "轻轻的呼呼声",
        r"(?<!弹)跳跃|蹦跳|一蹦一跳|跳来跳去": "起跳的嗖嗖声",
    },
    events={
        r"打雷|雷声|雷雨|雷电|闪电": "隆隆的雷声",
        r"下雨|大雨|小雨|雨中|暴雨": "淅沥的雨声",
        r"烟花|烟火": "烟花的爆裂声",
        r"爆炸": "巨大的爆炸声",
        r"篝火|壁炉": "柴火的噼啪声",
        r"狗叫|犬吠|汪汪": "狗叫声",
        r"猫叫|喵喵": "猫叫声",
        r"鼓掌|掌声": "掌声",
        r"大笑|笑声": "笑声",
        r"(?:人|孩|士兵)[^，。,.]{0,6}(?:走路|行走|走过|奔跑|跑步|跑过)": "脚步声",
        r"马[^，。,.]{0,4}奔": "马蹄声",
        r"敲门": "敲门声",
        r"打字": "键盘声",
        r"火车[^，。,.]{0,4}(?:驶|开)": "火车的轰鸣声",
        r"(?:汽车|卡车|摩托车)[^，。,.]{0,4}(?:驶|开|飞驰)": "引擎声",
        r"直升机": "直升机的轰鸣声",
        r"瀑布": "奔流的水声",
    },
    places={
        r"雪地|雪山|雪原": "寒风声",
        r"沙滩|海边|海滩": "海浪声",
        r"沙漠": "蝉鸣和干燥的风声",
        r"森林|树林": "树叶的沙沙声和鸟鸣声",
        r"草地|草原": "鸟鸣声",
        r"河边|小溪|小河": "流水声",
        r"城市|高楼|街道": "城市的低鸣",
    },
    nights={
        r"沙漠": "夜晚的虫鸣和微风声",
        r"森林|树林": "树叶的沙沙声和虫鸣声",
        r"草地|草原": "蟋蟀的叫声",
    },
    night=r"夜|晚上|月光|月亮",
    silence=r"无声|静音|没有声音|寂静",
    hearing=r"听见|听到|声音(?!说)|声响|响声",
    negated=r"(?:没有|不|无|没|未)\w?$",
    clause_ends=r"[，,；;：:。.！!？?\n]|(?<!温)和|与|同时",
    cues={
        r"写着|写有|写了|字样|标题|字幕|文字|标语|印着": "text",
        r"唱": "singing",
        r"说|问|喊|叫道|回答|低语|答道": "dialogue",
    },
    speakers=r"机器人|人物|人|男孩|女孩|孩子|小猫|猫",
    talks=r"(用[^，。,.]{1,8}(?:声音|低音|高音|嗓音)说话)",
    said_of="{who}{voice}",
    music_sentence=rf"(?:伴随着|响着|播放着|背景是)?{MUSIC_ZH}(?:响起|在播放)?",
    sound_sentence=r"(?:声音|音效)[:：].*|(?:能|可以)?(?:听见|听到).*",
    music=MUSIC_ZH,
    played="{music}",
    separators=("、", "、"),
    stop="。",
    whole_words=False,
)
