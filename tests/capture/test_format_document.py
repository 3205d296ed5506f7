"""docs/capture-format.md says what the program does: its small reader reads, its tables have the program's numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vhostspy.capture import record as vocabulary
from vhostspy.capture.record import DESCRIPTOR, HEADER

from .support import ROWS, message, writing


@pytest.fixture(scope="module")
def text(checkout: Path) -> str:
    return (checkout / "docs" / "capture-format.md").read_text()


def test_the_small_reader_reads(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        writer.event({"event": "open", "text": ""}, 1, 2)
        for number in range(3):
            lane.plain(memoryview(message(2, payload=bytes([number] * 8))), 3, 4)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    records: Callable[[bytes], Iterator[tuple[tuple[Any, ...], bytes]]] = names["records"]
    found = list(records(path.read_bytes()))
    assert found[0][1] == b'{"event": "open", "text": ""}'
    assert [(header[13], octets) for header, octets in found[1:]] == [
        (number + 1, message(2, payload=bytes([number] * 8))) for number in range(3)
    ]
    assert list(records(path.read_bytes()[:-1])) == found[:-1]


def section(text: str, title: str) -> str:
    return text.split(f"### {title}\n")[1].split("\n#")[0]


@pytest.mark.parametrize(("title", "size"), [("Header", HEADER.size), ("Descriptor entries", DESCRIPTOR.size)])
def test_the_tables_have_no_holes(text: str, title: str, size: int) -> None:
    rows = re.findall(r"^\| (\d+) \| ([u\d]+)( bytes)? \|", section(text, title), re.MULTILINE)
    assert len(rows) > 9
    at = 0
    for offset, width, octets in rows:
        assert int(offset) == at
        at += int(width) if octets else int(width[1:]) // 8
    assert at == size


@pytest.mark.parametrize(
    ("title", "member", "names", "first"),
    [
        ("Header", "protocol", vocabulary.PROTOCOLS, 1),
        ("Header", "channel", vocabulary.CHANNELS, 1),
        ("Descriptor entries", "role", vocabulary.ROLES, 1),
        ("Descriptor entries", "kind", vocabulary.KINDS, 1),
        ("Descriptor entries", "access", vocabulary.ACCESS, 1),
    ],
)
def test_numbers_are_as_in_the_program(text: str, title: str, member: str, names: tuple[str, ...], first: int) -> None:
    (row,) = re.findall(rf"^\| \d+ \| u8 \| {member} \| (.*) \|$", section(text, title), re.MULTILINE)
    said = {int(number): name for number, name in re.findall(r"(\d+) ([\w-]+)(?: ·|$)", row)}
    assert {number: names[number] for number in range(first, len(names))} == {
        number: name for number, name in said.items() if number >= first
    }


def test_flags_are_as_in_the_program(text: str) -> None:
    said = dict(re.findall(r"^\| (0x\d\d) \| ([a-z ]+) \|", text, re.MULTILINE))
    known = {
        "changed": vocabulary.CHANGED,
        "original": vocabulary.ORIGINAL,
        "injected": vocabulary.INJECTED,
        "dropped": vocabulary.DROPPED,
        "snapped": vocabulary.SNAPPED,
        "late descriptors": vocabulary.LATE_FDS,
        "unsure descriptors": vocabulary.UNSURE_FDS,
        "incomplete": vocabulary.INCOMPLETE,
    }
    assert {name: int(flag, 16) for flag, name in said.items()} == known
    line = re.search(r"The flags' top byte.*?\n\n", text, re.DOTALL)
    assert line is not None
    by = dict(re.findall(r"(\d) ([a-z ]+?)(?: ·|\.)", line[0].replace("\n", " ")))
    assert by == {str(number): name or "not said" for number, name in enumerate(vocabulary.BY)}
