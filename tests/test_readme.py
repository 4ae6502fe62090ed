"""README.md says what the code does."""

import re

from readme import README, TABLES, fill

from wse.cli import cli


def test_its_tables_are_those_the_code_makes():
    text = README.read_text()
    assert set(re.findall(r"<!-- table (\w+) -->", text)) == set(TABLES)
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
