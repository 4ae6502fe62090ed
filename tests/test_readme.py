"""README.md says what the code does."""

import re

import pytest
from readme import EXAMPLES, OUTPUTS, README, TABLES, TUTORIAL, fill, run_example

from wse.cli import cli


def test_its_tables_and_examples_are_those_the_code_makes():
    text = README.read_text()
    for kind, names in (("table", TABLES), ("output", OUTPUTS), ("code", TUTORIAL)):
        assert set(re.findall(rf"<!-- {kind} (\w+) -->", text)) == set(names)
    assert fill(text) == text, "stale: run `python tests/readme.py`"


def test_every_verb_and_option_it_shows_exists():
    lines = re.findall(r"^    (?:.*&& )?wse (.*)$", README.read_text(), re.MULTILINE)
    assert len(lines) > 10
    for line in lines:
        words = re.sub(r'"[^"]*"', "TEXT", line.split("#")[0].split(" > ")[0]).split()
        command = cli
        while getattr(command, "commands", None):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word for word in words if word.startswith("-") and not word.lstrip("-")[:1].isdigit()} - known
        assert not unknown, (line, unknown)


@pytest.mark.parametrize("name", TUTORIAL)
def test_the_tutorial_computes_what_it_says_in_at_most_40_lines(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 40
    match = re.search(r"^(\d+) cycles, off by (\S+)$", run_example(name), re.MULTILINE)
    assert match and 100 < int(match[1]) < 200 and 0 < float(match[2]) < 2e-6
