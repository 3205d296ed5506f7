"""The texts keep up with the program: what they link to exists, and so do the options and make targets they name."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from vhostspy.arguments import Parser
from vhostspy.cli import COMMANDS, RELAY_MORE

ROOT = Path(__file__).parent.parent
TEXTS = sorted(path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))


@pytest.mark.parametrize("text", TEXTS, ids=str)
def test_links_lead_somewhere(text: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", (ROOT / text).read_text("utf-8"))
    assert [link for link in links if not (ROOT / text).parent.joinpath(link).exists()] == []


def options_of_all_commands() -> set[str]:
    options = {"--version", "--help"}
    for name in COMMANDS:
        parser = Parser()
        import_module(f"vhostspy.commands.{name}").add_arguments(parser)
        options |= set(parser._option_string_actions)
    return options


def test_the_readme_and_the_help_name_options_that_exist() -> None:
    commands = "\n".join(re.findall(r"vhostspy .*", (ROOT / "README.md").read_text("utf-8") + RELAY_MORE))
    named = set(re.findall(r"(?<!\S)--[a-z-]+", commands))
    assert len(named) > 4
    assert named - options_of_all_commands() == set()


def test_the_readme_names_make_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for text in TEXTS:
        named = set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", (ROOT / text).read_text("utf-8"), re.MULTILINE))
        assert named <= targets
    assert set(re.findall(r"'make ([a-z-]+)", makefile)) == targets - {"lint", "types", "imports", "peers", "help"}


@pytest.mark.parametrize("text", TEXTS, ids=str)
def test_prose_fits_120_columns(text: Path) -> None:
    """Tables, examples, and what the benchmarks write have the width that they need."""
    prose = re.sub(r"^```.*?^```", "", (ROOT / text).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in prose.splitlines() if not re.match(r"\||    |\d{4}-\d\d-\d\d; ", line)]
    assert [line for line in lines if len(line) > 120] == []
