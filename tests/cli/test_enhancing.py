"""Prompts on the command line: rewritten, shown, stored; refused with the place of the fault."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

from openreels.media import Clip
from openreels.media.recipe import Recipe

PROMPT = "A red rubber ball bounces on the grass"
ENHANCED = f"{PROMPT}. <sfx> Dull rubber thuds and birds chirping. </sfx>"
SHORT = ("--duration", "1", "--steps", "1")


def request_in(path):
    return Recipe.from_metadata(Clip.open(path).metadata).request


def test_the_prompt_is_enhanced_shown_and_stored(pocket, openreels):
    outcome = openreels("generate", PROMPT, "-o", "a.mp4", *SHORT)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"prompt, by embedded: {ENHANCED}\na.mp4: Clip(")
    stored = request_in("a.mp4")
    assert (stored["prompt"], stored["original"]) == (ENHANCED, PROMPT)
    assert "enhance" not in stored


def test_no_enhance(pocket, openreels):
    outcome = openreels("generate", PROMPT, "-o", "a.mp4", "--no-enhance", *SHORT)
    assert outcome.out.startswith("a.mp4: Clip(")
    assert request_in("a.mp4")["prompt"] == PROMPT
    assert "original" not in request_in("a.mp4")


def test_what_an_enhancer_leaves_alone_is_not_shown(pocket, openreels):
    assert openreels("generate", ENHANCED, "-o", "a.mp4", *SHORT).out.startswith("a.mp4: Clip(")
    assert "original" not in request_in("a.mp4")


def test_json_holds_both_prompts(pocket, openreels):
    result = json.loads(openreels("generate", PROMPT, "-o", "a.mp4", "--json", *SHORT).out)
    assert (result["recipe"]["request"]["prompt"], result["recipe"]["request"]["original"]) == (ENHANCED, PROMPT)


def test_a_silent_video_gets_no_sounds(pocket, openreels):
    openreels("generate", PROMPT, "-o", "a.mp4", "--no-audio", *SHORT)
    assert request_in("a.mp4")["prompt"] == PROMPT


def test_a_picture_gets_no_sounds(pocket, openreels):
    openreels("generate", PROMPT, "-o", "a.png", "--steps", "1")
    assert request_in("a.png")["prompt"] == PROMPT


def test_a_chat_model_writes_for_a_picture(pocket, openreels, chat):
    outcome = openreels("generate", PROMPT, "-o", "a.png", "--steps", "1", "--enhancer", chat, "--enhancer-model", "m")
    assert outcome.code == 0
    assert request_in("a.png")["prompt"] == "A ball hops."


@pytest.fixture
def chat():
    """The address of a chat endpoint that answers once; it goes away when it has."""
    told = json.dumps({"choices": [{"message": {"content": "A ball hops. <sfx> Thuds. </sfx>"}}]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=lambda: (server.handle_request(), server.server_close()), daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"


def test_a_replay_asks_no_enhancer(pocket, openreels, chat):
    outcome = openreels(
        "generate", PROMPT, "-o", "a.wav", "--audio-only", "--enhancer", chat, "--enhancer-model", "small", *SHORT
    )
    assert "prompt, by small at 127.0.0.1: A ball hops. <sfx> Thuds. </sfx>\n" in outcome.out
    replayed = openreels("replay", "a.wav", "-o", "b.wav")  # the endpoint is gone
    assert (replayed.code, replayed.err) == (0, "")
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    assert request_in("b.wav")["original"] == PROMPT


def test_an_endpoint_that_is_not_there_is_a_warning(pocket, openreels):
    flags = ("--enhancer", "http://127.0.0.1:9/v1", "--enhancer-model", "small")
    outcome = openreels("generate", PROMPT, "-o", "a.mp4", *flags, *SHORT)
    assert outcome.code == 0
    assert outcome.err.startswith(
        "openreels: warning: the embedded enhancer wrote the prompt, as small at 127.0.0.1 co"
    )
    assert request_in("a.mp4")["prompt"] == ENHANCED


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_malformed_prompt_is_shown_with_a_caret(pocket, openreels):
    outcome = openreels("generate", "A ball <sxf> thud </sxf>", "-o", "a.mp4")
    assert outcome.code == 2
    assert outcome.err == (
        "  A ball <sxf> thud </sxf>\n"
        "         ^^^^^\n"
        "openreels: prompt, line 1, column 8: <sxf> is no tag, did you mean <sfx>?; accepted are <text>, <sfx>, "
        "<dialogue>, <singing>, <bgm>, each closed as in <sfx> ... </sfx>.\n"
    )
    assert not pocket.loads and not Path("a.mp4").exists()


def test_a_mention_of_no_reference_is_refused(pocket, openreels):
    Image.new("RGB", (8, 8)).save("cat.png")
    outcome = openreels("generate", "A @cta sleeps", "-o", "a.mp4", "--ref", "cat=cat.png")
    assert outcome.code == 2
    assert "prompt, line 1, column 3: @cta is no reference, did you mean @cat?; given are @cat." in outcome.err


MISTAKES = {
    "contradiction": (["--no-enhance", "--enhancer", "some/model"], "--no-enhance and --enhancer contradict"),
    "no model": (["--enhancer", "http://host/v1"], "the enhancer at http://host/v1 needs the name of its model"),
    "a model too many": (["--enhancer-model", "m"], "the enhancer embedded takes no model beside it"),
    "no address": (["--enhancer", "ftp://host", "--enhancer-model", "m"], "must be like http://localhost:8000/v1"),
    "V3": (["--enhance", "--model", "."], ". has learned from plain captions alone; accepted is --no-enhance"),
    "blind": (["--enhancer", "some/model", "--enhancer-pictures"], "the enhancer some/model reads text alone"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_flags_that_do_not_fit_together(pocket, openreels, name):
    flags, sentence = MISTAKES[name]
    outcome = openreels("generate", PROMPT, "-o", "a.mp4", *flags)
    assert outcome.code == 2
    assert sentence in outcome.err and outcome.err.count("\n") == 1
    assert not pocket.loads
