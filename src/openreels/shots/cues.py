"""Words by which a prompt asks for a kind of cut, English and Chinese. Data; `transition` reads it.

A cue is a small regular expression, whole words in English. Rows are tried in order and the first that is found
decides, so what is said of an unbroken shot ("slowly zooms in") comes before the cuts, and the vague come last.
"""

from __future__ import annotations

import re

from openreels.shots.classifier import SINGLE_SHOT

__all__ = ["ANY_CUT", "CUES", "asked"]

ANY_CUT = "any cut"  # the prompt wants one and leaves open which

CUES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        SINGLE_SHOT,
        (
            r"(single|one|continuous|unbroken|same) ((continuous|long|unbroken) )?(shot|take)",
            r"long take",
            r"uncut",
            r"(without|with no|no) (any )?(cuts?|cutting|camera change)",
            r"(slowly|gently|gradually|smoothly) (zoom|push|pull|doll|pan|track|mov)\w*",
            "一镜到底|长镜头|同一个?镜头|不切|没有切",
            "(缓缓|慢慢|缓慢)地?(推|拉|移|摇)",
        ),
    ),
    (
        "cut-away",
        (
            r"cut(s|ting)?[- ]?aways?",
            r"cut(s|ting)? away",
            r"meanwhile",
            r"elsewhere",
            r"at the same (time|moment)",
            r"b-?roll",
            r"(an|some)?other (room|place|city|house|street|part of|location|building)",
            r"across (town|the city)",
            "画面转向|与此同时|同一时间|别处|另一边|另一个?(地方|房间|地点|城市)|切走|空镜",
        ),
    ),
    (
        "shot-reverse-shot",
        (
            r"reverse[- ](shot|angle)",
            r"shot[ /-]+reverse",
            r"over[- ](the|his|her|their)[- ]shoulder",
            r"reaction",
            r"(answer|respond|react|retort)(s|ed|ing)?",
            r"repl(y|ies|ied|ying)",
            r"face[- ]to[- ]face",
            r"the other (person|man|woman|one|speaker|character|girl|boy)",
            r"opposite (him|her|them)",
            r"cuts? to (the other side|[^.,;]*\b(opposite|on the other side of the conversation))",
            "反打|过肩|切到对面|对方|回答|回应|答道|回复|反应|对面的|另一个?人",
        ),
    ),
    (
        "multi-angle",
        (
            r"(another|different|other|new|second|opposite)[- ](camera )?(angle|viewpoint)",
            r"(low|high|side|overhead|dutch)[- ](camera )?(angle|viewpoint)",
            r"(seen|viewed|shown|filmed|shot|looking|view) from (the )?(side|behind|back|above|below|front)",
            r"from (the )?(other|opposite) side",
            r"from behind (him|her|them)",
            r"(side|rear|back|top|front)[- ]view",
            r"in profile",
            r"top[- ]down",
            r"another (view|perspective)",
            r"(view|perspective) changes",
            "(另|换|不同|其他|新).{0,3}(角度|视角|机位)",
            "侧面|背面|背后|正面|从(后|上|下|侧)|俯拍|仰拍|另一侧|多角度",
        ),
    ),
    (
        "cut-in",
        (
            r"close[- ]?ups?",
            r"up close",
            r"(zoom|cut|punch)(s|es|ing|ting|ed)?[- ]in",
            r"clos(e|er) (on|to|look|view|shot)",
            r"macro",
            r"tight(er)? (shot|on|view|framing)",
            r"details? (shot )?of",
            r"insert shot",
            r"fill(s|ing)? the (frame|screen)",
            "特写|近景|近镜|推近|拉近|放大|切近|细节|近距离|凑近|靠近",
        ),
    ),
    (
        "cut-out",
        (
            r"(wide|wider|long|establishing|full|master)[- ](angle )?(shot|view|framing)",
            r"(zoom|cut|pull)(s|ing|ting|ed)?[- ]out",
            r"pull(s|ing|ed)?[- ]back",
            r"from (afar|far away|(a|the) distance|further away)",
            r"aerial",
            r"bird'?s[- ]eye",
            r"drone",
            r"panorama|panoramic",
            r"reveal(s|ing)?",
            r"(whole|entire) (scene|place|room|city|valley)",
            "全景|远景|拉远|切远|推远|远处看|俯瞰|航拍|鸟瞰|全貌|大场面",
        ),
    ),
    (
        ANY_CUT,
        (
            r"(cut|cuts|cutting|switch|switches|jump|jumps) to",
            r"(new|next|second|different) shot",
            r"scene changes",
            r"hard cut",
            "镜头一?(切|转)|切(换|到|至)|下一个?镜头|新镜头|画面(切|转)",
        ),
    ),
    (
        SINGLE_SHOT,
        (r"(keep|goe|go|carrie|carry)s? on", r"(continue|keep)s?", "继续|接着|仍然|还在|不停"),
    ),
)


def _pattern(cue: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{cue})\b" if cue.isascii() else cue, re.IGNORECASE)


_PATTERNS = tuple((kind, _pattern(cue)) for kind, cues in CUES for cue in cues)


def asked(prompt: str) -> tuple[str | None, str]:
    """What a prompt wants ("single-shot", a kind of cut or `ANY_CUT`) and its words for it; (None, "") if silent."""
    for kind, pattern in _PATTERNS:
        if found := pattern.search(prompt):
            return kind, found[0].strip()
    return None, ""
