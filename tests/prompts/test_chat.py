"""Chat models as enhancers: what is accepted of a reply, what is repaired, what is given up, over real HTTP."""

import json
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from time import sleep
from types import SimpleNamespace

import pytest
from PIL import Image

from openreels.prompts import Embedded, PromptError, find_enhancer
from openreels.prompts.chat import ChatEnhancer, faults, instructions
from openreels.prompts.endpoint import KEY, Endpoint

PROMPT = 'A @cat on the beach says "Meow to you!"'
GOOD = 'In soft light a @cat sits on the sand. <sfx> Waves. </sfx> <dialogue> @cat: "Meow to you!" </dialogue>'
CAT = {"cat": "cat.png"}


@pytest.fixture
def server(monkeypatch):
    """A chat endpoint. answers: what it will say, in turn: text, an HTTP code, bytes, or seconds to wait."""
    monkeypatch.delenv(KEY, raising=False)
    state = SimpleNamespace(answers=[], asked=[], headers=[], reason="stop")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            state.headers.append(dict(self.headers))
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append({"path": self.path, **asked})
            answer = state.answers.pop(0)
            if isinstance(answer, float):
                sleep(answer)
                return
            code, body = 200, answer
            if isinstance(answer, int):
                code, body = answer, json.dumps({"error": {"message": "no\nsuch thing"}}).encode()
            elif isinstance(answer, str):
                choice = {"message": {"role": "assistant", "content": answer}, "finish_reason": state.reason}
                body = json.dumps({"choices": [choice]}).encode()
            self.send_response(code)
            if code == 302:
                self.send_header("Location", f"{state.url}/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{http.server_port}/v1"
        yield state
        http.shutdown()


def enhance(server, *answers, prompt=PROMPT, modality="video+audio", references=CAT, **options):
    server.answers[:] = answers
    return ChatEnhancer(Endpoint(server.url, "small", **options))(prompt, modality, references)


# -- what works -------------------------------------------------------------------------------------------------------


def test_a_good_reply_is_used(server):
    made = enhance(server, GOOD)
    assert (made.prompt, made.original, made.by, made.warnings) == (GOOD, PROMPT, "small at 127.0.0.1", ())
    (asked,) = server.asked
    assert (asked["path"], asked["model"], asked["temperature"]) == ("/v1/chat/completions", "small", 0)
    system, user = asked["messages"]
    assert system["content"].startswith(instructions()) and user == {"role": "user", "content": PROMPT}
    assert "Authorization" not in server.headers[0]


def test_the_key_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv(KEY, " secret\n")
    enhance(server, GOOD)
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_pictures_are_sent_only_where_asked(server, tmp_path):
    Image.new("RGB", (2_000, 1_000), "red").save(tmp_path / "cat.png")
    references = {"cat": str(tmp_path / "cat.png")}
    enhance(server, GOOD, references=references)
    assert server.asked[-1]["messages"][1]["content"] == PROMPT
    assert enhance(server, GOOD, references=references, pictures=True).prompt == GOOD
    text, label, picture = server.asked[-1]["messages"][1]["content"]
    assert (text["text"], label["text"]) == (PROMPT, "This is @cat:")
    head, data = picture["image_url"]["url"].split(",")
    assert (picture["type"], head) == ("image_url", "data:image/jpeg;base64")
    assert Image.open(BytesIO(b64decode(data))).size == (768, 384)


@pytest.mark.parametrize(
    "wrapped", ["<think>It wants\n<sfx> ...</think>\n\n{}", "```\n{}\n```", "```text\n{}```", " {}\n"]
)
def test_what_a_reply_is_wrapped_in_falls_off(server, wrapped):
    assert enhance(server, wrapped.format(GOOD)).prompt == GOOD


def test_what_is_not_made_is_dropped(server):
    made = enhance(server, GOOD + " <bgm> A piano. </bgm>", modality="video")
    assert made.prompt == 'In soft light a @cat sits on the sand. <dialogue> @cat: "Meow to you!" </dialogue>'
    assert "silent video" in server.asked[0]["messages"][0]["content"]


def test_a_structured_prompt_is_not_sent(server):
    assert enhance(server, prompt=GOOD).prompt == GOOD
    with pytest.raises(PromptError):
        enhance(server, prompt="a <sxf>")
    assert not server.asked


# -- what is repaired, and what is given up ---------------------------------------------------------------------------

BAD = {
    "malformed": (GOOD.replace("</sfx>", ""), "at line 1, column 54: <dialogue> stands inside <sfx>"),
    "a reference lost": (GOOD.replace("@cat", "cat"), "it does not mention @cat"),
    "one invented": (GOOD.replace("sand", "@sand"), "it mentions @sand, which the user did not"),
    "words changed": (GOOD.replace("Meow to", "Meow, to"), 'it does not keep the words "Meow to you!"'),
    "chatter": (f"Sure! {GOOD}", "it talks about itself ('Sure! In soft"),
    "instructions": (
        f"{GOOD} Tags never nest and have no attributes.",
        "it repeats the instructions ('tags never nest",
    ),
    "empty": ("<think> Hm. </think>", "it is empty"),
    "endless": (GOOD + " very" * 500, "accepted are up to 1,578"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_reply_is_sent_back_with_what_is_wrong(server, name):
    bad, wrong = BAD[name]
    made = enhance(server, bad, GOOD)
    assert (made.prompt, made.by, made.warnings) == (GOOD, "small at 127.0.0.1", ())
    repair = server.asked[1]["messages"][-1]
    assert repair["role"] == "user" and wrong in repair["content"]


def test_a_second_bad_reply_is_given_up_with_a_warning(server):
    made = enhance(server, "Sure!", "<sfx>")
    assert (made.prompt, made.by) == (Embedded()(PROMPT).prompt, "embedded")
    (warning,) = made.warnings
    assert warning.startswith("the embedded enhancer wrote the prompt, as small at 127.0.0.1 could not: at line 1, col")
    assert "\n" not in warning and len(server.asked) == 2


def test_a_user_may_quote_the_instructions(server):
    prompt = "Tags never nest and have no attributes"
    assert enhance(server, f"{prompt}.", prompt=prompt, references={}).prompt == f"{prompt}."


FAILURES = {
    "401": (
        (401,),
        1,
        f"it answered 401 Unauthorized: no such thing; its key is read from the environment variable {KEY}",
    ),
    "404": ((404,), 1, "it answered 404 Not Found: no such thing; the address ends with the version"),
    "busy": ((503, 503), 2, "it answered 503 Service Unavailable: no such thing"),
    "moved": ((302,), 1, "it answered 302 Found"),
    "no JSON": ((b"<html>",), 1, "its answer is no chat completion"),
    "no text": ((b'{"choices": [{"message": {"content": null}}]}',), 1, "its answer holds no text"),
    "slow": ((0.4, 0.4), 2, "it did not answer in 0.2 s"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_server_that_fails_is_named_in_a_warning(server, name):
    answers, times, sentence = FAILURES[name]
    made = enhance(server, *answers, timeout=0.2 if name == "slow" else 5)
    assert made.by == "embedded" and sentence in made.warnings[0]
    assert len(server.asked) == times


def test_a_busy_server_is_asked_again(server):
    assert enhance(server, 503, GOOD).prompt == GOOD


def test_a_reply_cut_off_is_not_used(server):
    server.reason = "length"
    assert "its answer was cut off" in enhance(server, GOOD).warnings[0]


def test_nobody_there(server):
    made = ChatEnhancer(Endpoint("http://127.0.0.1:9/v1", "small"))(PROMPT, references=CAT)
    assert made.by == "embedded" and "it cannot be reached (Connection refused)" in made.warnings[0]


def test_of_a_reference_that_is_no_picture_the_name_is_told(server, tmp_path):
    (tmp_path / "cat.wav").write_text("meow")
    assert enhance(server, GOOD, references={"cat": tmp_path / "cat.wav"}, pictures=True).prompt == GOOD
    told = [part["text"] for part in server.asked[-1]["messages"][1]["content"]]
    assert told[1:] == ["This is @cat:", "(a clip or a sound, which cannot be shown)"]


def test_faults_of_an_honest_caption():
    assert list(faults("A @cat sleeps. <sfx> Purring. </sfx>", "A @cat", CAT)) == []


# -- which enhancer ---------------------------------------------------------------------------------------------------


def test_find_enhancer():
    assert find_enhancer().name == "embedded"
    assert find_enhancer("http://host:1/v1/", "m").chat.url == "http://host:1/v1"
    assert find_enhancer("some/model").name == "some/model"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("http://host/v1",), "the enhancer at http://host/v1 needs the name of its model"),
        (("ftp://host/v1", "m"), "must be like http://localhost:8000/v1, not ftp://host/v1"),
        (("http://", "m"), "must be like http://localhost:8000/v1, not http://"),
        (("http://me:pw@host/v1", "m"), f"holds no name or password; its key is read from {KEY}"),
        (("embedded", "m"), "the enhancer embedded takes no model beside it"),
        (("some/model", None, True), "the enhancer some/model reads text alone"),
    ],
)
def test_what_does_not_fit_together(arguments, sentence):
    with pytest.raises(ValueError, match="enhancer") as caught:
        find_enhancer(*arguments)
    assert sentence in str(caught.value) and "pw" not in str(caught.value).replace("password", "")
