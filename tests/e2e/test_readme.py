"""What README tells a newcomer to type, and where it points, exists."""

import re
from pathlib import Path

import typer

from openreels.cli.__main__ import application

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL))


def test_make_targets():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", CODE))
    assert {"demo", "test"} <= named <= targets


def test_commands_and_their_flags():
    verbs = typer.main.get_command(application()).commands
    lines = re.findall(r"openreels ([a-z]+)(.*)", CODE)
    assert lines
    for verb, rest in lines:
        assert verb in verbs
        command = verbs[verb]
        words = rest.partition(" #")[0]
        for name in re.findall(r"^ ([a-z]+)", words):
            command = getattr(command, "commands", {}).get(name, command)
        known = {flag for parameter in command.params for flag in parameter.opts}
        assert set(re.findall(r"(?<= )-[-a-z]+", words)) <= known, (verb, words)


def test_links():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).is_file(), target


def test_nothing_is_left_to_fill_in():
    assert "@@" not in README
