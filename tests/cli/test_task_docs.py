"""Every example of docs/tasks.md runs, in the order of the page, on the tiny model: section by section one test."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from openreels.cli import making
from openreels.cli.__main__ import main
from openreels.media import Clip

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TITLES = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
BEFORE, *SECTIONS = re.split(r"^## .*$", PAGE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> tuple[Path, dict]:
    """The folder in which all examples run, and the names that Python ones share."""
    return tmp_path_factory.mktemp("tasks"), {}


@pytest.mark.parametrize("title", TITLES)
def test_section(pocket, one_thread, session, monkeypatch, capsys, title):
    folder, names = session
    monkeypatch.chdir(folder)
    if "reel" in names:  # loading is tested elsewhere
        monkeypatch.setattr(making, "loaded", lambda model, task: names["reel"])
    # Whatever section comes first (a test may run alone) has what those before it leave behind.
    first = () if "reel" in names else (BEFORE, SECTIONS[0])
    for block in dict.fromkeys((*first, SECTIONS[TITLES.index(title)])):
        for kind, code in BLOCK.findall(block):
            if kind == "python":
                exec(compile(code, f"docs/tasks.md, {title}", "exec"), names)
            else:
                for line in code.splitlines():
                    run(line, capsys)
        names["reel"].pipeline.register_to_config(steps=2)
    if "clip" in names:
        assert isinstance(names["clip"], Clip)


def run(line: str, capsys) -> None:
    prompt, verb, *arguments = shlex.split(line)
    assert (prompt, verb) == ("$", "openreels")
    capsys.readouterr()
    code = main(arguments)
    # The tiny tokenizer of these tests knows few words, so that it takes many tokens for the rest.
    said = [each for each in capsys.readouterr().err.splitlines() if "tokens and this model reads" not in each]
    assert (code, said) == (0, []), line
    for flag in ("-o", "--preview-mask"):
        if flag in arguments:
            made = Clip.open(arguments[arguments.index(flag) + 1])
            assert made.duration > 0


def test_the_page_is_read():
    assert len(TITLES) >= 15
    assert len(BLOCK.findall(PAGE)) >= 30
