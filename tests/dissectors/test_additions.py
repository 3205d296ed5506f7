"""Rows that users add: the document's own example, everywhere where other messages are; and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from vhostspy.cli import main
from vhostspy.dissectors import codec, registry
from vhostspy.dissectors.additions import add, add_features, load
from vhostspy.dissectors.heads import forget, heads
from vhostspy.dissectors.rows import BACK_END, FRONT_END, Array, Bytes, Field, Layout, Message, Part, Word
from vhostspy.message import _meanings

from ..capture.support import ROWS, writing

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "dissectors.md").read_text("utf-8")
EXAMPLE, CROSVM = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
SET_VRING_SHARE = 200  # far from what the specification will soon give away


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a test adds is gone afterwards."""
    tables: list[dict[Any, Any]] = []
    for protocol in registry.PROTOCOLS.values():
        tables += [channel.messages for channel in protocol.channels.values()]  # type: ignore[misc]
        if protocol.features is not None:
            tables.append(protocol.features.names)  # type: ignore[arg-type]
    kept = [dict(table) for table in tables]
    _meanings.clear()  # messages of the same octets that another test has read
    yield
    _meanings.clear()
    for table, before in zip(tables, kept, strict=True):
        table.clear()
        table.update(before)
    forget()


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    path = tmp_path / "my_draft.py"
    path.write_text(EXAMPLE)
    return path


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A capture with the message of the example, and its acknowledgement."""
    path = tmp_path / "session.pcapng"
    with writing(path) as writer:
        front = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        back = writer.lane("main", 1, 1, 1, "vhost-user", ROWS)
        front.plain(memoryview(pack("=IIIII", SET_VRING_SHARE, 9, 8, 0, 75)), 10**18, 10**9)
        back.plain(memoryview(pack("=IIIQ", SET_VRING_SHARE, 5, 8, 0)), 10**18 + 689_000, 10**9 + 689_000)
    return path


def test_the_example_is_ten_lines() -> None:
    assert len([line for line in EXAMPLE.splitlines() if line]) <= 10


def test_crosvms_messages_come_first_when_they_are_added(tmp_path: Path) -> None:
    before = registry.row("vhost-user", "main", FRONT_END, 43, 0)
    assert before is not None and before.name == "CHECK_DEVICE_STATE"
    (tmp_path / "crosvm.py").write_text(CROSVM)
    load(str(tmp_path / "crosvm.py"))
    for number, name in ((43, "WAKE"), (44, "SNAPSHOT")):
        row = registry.row("vhost-user", "main", FRONT_END, number, 0)
        assert row is not None and row.name == name
    # what has a size of its own stays what it is
    draft = registry.row("vhost-user", "main", FRONT_END, 44, 8)
    assert draft is not None and draft.name == "GET_VRING_BASE_SKIP_DRAIN"


def test_no_release_knows_its_message() -> None:
    assert registry.row("vhost-user", "main", FRONT_END, SET_VRING_SHARE) is None


def test_a_message_that_was_met_before_is_known_once_it_is_added(draft: Path) -> None:
    message = pack("=IIIII", SET_VRING_SHARE, 9, 8, 0, 75)

    def named() -> str | None:
        main_channel = heads("vhost-user", "main", "<")
        assert main_channel is not None
        return main_channel.of(message, FRONT_END).name

    assert named() is None
    load(str(draft))
    assert named() == "SET_VRING_SHARE"


def test_the_example_is_read_and_written(draft: Path) -> None:
    load(str(draft))
    row = registry.row("vhost-user", "main", FRONT_END, SET_VRING_SHARE)
    assert row is not None
    decoded = codec.decode(row, False, bytes.fromhex("01000000 4b000000"))
    assert decoded.fields == {"index": 1, "percent": 75}
    assert codec.encode(row, False, decoded.fields) == bytes.fromhex("01000000 4b000000")


def test_without_it_the_message_is_unknown(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(session), "--no-summary"]) == 0
    assert "unknown message 200" in capsys.readouterr().out


def test_lines(draft: Path, session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(session), "--no-summary", "--dissector", str(draft)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    # the document shows these lines, at another time of the session
    for line in (first, second):
        what = re.sub(r"  ↩.*", "", line[line.index("main") :])
        assert what in DOCUMENT


def test_json_and_filter(draft: Path, session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["show", str(session), "--json", "-Y", "message == SET_VRING_SHARE && vhost_user.percent > 50"]
    assert main([*words, "--dissector", str(draft)]) == 0
    message = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (message["message"], message["fields"]) == ("SET_VRING_SHARE", {"index": 0, "percent": 75})


def test_explain(draft: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "SET_VRING_SHARE", "--dissector", str(draft)]) == 0
    assert "my draft, 2.1" in capsys.readouterr().out


def test_wireshark(draft: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wireshark", "--dissector", str(draft)]) == 0
    assert "SET_VRING_SHARE" in capsys.readouterr().out


def test_scapy(draft: Path) -> None:
    program = (
        f"from vhostspy.dissectors.additions import load; load({str(draft)!r})\n"
        "from vhostspy.dissectors.scapy_layers import VhostUser, VHOST_USER_SET_VRING_SHARE\n"
        "print(bytes(VhostUser()/VHOST_USER_SET_VRING_SHARE(index=1, percent=75)).hex())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert run.stdout.strip() == pack("=IIIII", SET_VRING_SHARE, 1, 8, 1, 75).hex(), run.stderr


# -- numbers that are taken -------------------------------------------------------------------------------------------

OCTET = Layout("octet", (Field("value", "u8"),), "here")


def message(name: str = "DRAFT", number: int = 200, **members: Any) -> Message:
    members = {"request": (OCTET,), "reply": None, "source": "here", "text": "A draft.", **members}
    return Message(name, number, members.pop("sender", FRONT_END), **members)


def named(number: int, size: int) -> str | None:
    row = registry.row("vhost-user", "main", FRONT_END, number, size)
    return row.name if row is not None else None


def test_a_number_that_is_taken_is_told_by_the_size() -> None:
    add("vhost-user", "main", message("DRAFT", 8))
    assert [named(8, size) for size in (1, 8, 5)] == ["DRAFT", "SET_VRING_NUM", "DRAFT"]
    add("vhost-user", "main", message("OTHER_DRAFT", 8, request=(Layout("two", (Field("value", "u16"),), "here"),)))
    assert [named(8, size) for size in (1, 2, 8)] == ["DRAFT", "OTHER_DRAFT", "SET_VRING_NUM"]


def test_a_name_that_is_taken_replaces() -> None:
    add("vhost-user", "main", message("SET_VRING_NUM", 8))
    row = registry.row("vhost-user", "main", FRONT_END, 8)
    assert row is not None
    assert (row.request, row.others) == ((OCTET,), ())


def test_bits_get_names() -> None:
    add_features("vhost-user", {63: "VRING_SHARE"})
    row = registry.row("vhost-user", "main", FRONT_END, 15)
    assert row is not None
    assert codec.decode(row, True, pack("<Q", 1 << 63)).names == {"protocol_features": ["VRING_SHARE"]}


# -- what is refused --------------------------------------------------------------------------------------------------


def of(*members: Any) -> dict[str, Any]:
    return {"request": (Layout("odd", members, "here"),)}


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"name": "set_it"}, "set_it: a message is named in capitals"),
        ({"text": ""}, "DRAFT: source (where it is written) and text (what it is) are missing"),
        ({"sender": 2}, "DRAFT: sender is FRONT_END or BACK_END, not 2"),
        ({"number": 1 << 32}, "DRAFT: 4294967296 is no number of a message"),
        ({"answer": "reply"}, "DRAFT: answer is 'reply', and reply, the layouts it may have, is missing"),
        (of(Field("size", "u32")), "DRAFT: a member of odd cannot be called 'size': the header's is"),
        (of(Field("rest", "u32")), "DRAFT: a member of odd cannot be called 'rest'"),
        (of(Field("Big", "u32")), "DRAFT: 'Big' of odd is no name for a member"),
        (of(Field("a", "u8"), Word("u8", (Part("a", 0, 1),))), "DRAFT: odd has two members called 'a'"),
        (of(Array("many", Layout("inner", (Field("flags", "u8"),), "here"), 2)), "a member of inner cannot be called"),
        (of(Array("many", Layout("none", (Bytes("data", None),), "here"), None)), "none may be empty"),
        (of(Bytes("data", "length")), "DRAFT: odd: 'length', which tells of data, is no member before it"),
        (
            of(Word("u8", (Part("a", 0, 1),)), Word("u8", (Part("b", 0, 1),))),
            "DRAFT: odd has 2 words, whose other bits would both be 'reserved'",
        ),
        (of(Word("u8", (Part("a", 0, 4), Part("b", 3, 1)))), "DRAFT: odd: parts of a word lie side by side"),
        (of(Word("i32", (Part("a", 0, 3),))), "DRAFT: odd: a word has no sign, 'i32' is none of u8, u16, u32, u64"),
        (of(Word("u8", (Part("a", 6, 3),))), "DRAFT: odd: parts of a word lie side by side"),
        (
            {"request": (Layout("odd", (Bytes("a", 4),), "here", when=("a", (1,))),)},
            "DRAFT: odd: 'a', which 'when' asks for, is no integer in it",
        ),
        ({"others": (message(text=""),)}, "DRAFT: source"),
    ],
    ids=str,
)  # fmt: skip
def test_rows_that_nothing_can_be_made_of(members: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        add("vhost-user", "main", message(**members))


def test_places_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="there is no protocol 'vhost'; there are vhost-user, "):
        add("vhost", "main", message())
    with pytest.raises(ValueError, match="vhost-user has no channel 'gpu'; it has main, backend"):
        add("vhost-user", "gpu", message(sender=BACK_END))
    with pytest.raises(ValueError, match="no protocol 'vfio-user' with features"):
        add_features("vfio-user", {1: "ONE"})
    with pytest.raises(ValueError, match="FAR: there is no bit 64"):
        add_features("vhost-user", {64: "FAR"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = = 1\n", ", line 1: invalid syntax"),
        ("\nadd\n", ", line 2: NameError: name 'add' is not defined"),
        (EXAMPLE.replace('"percent"', '"size"'), ", line 6: SET_VRING_SHARE: a member of ring share cannot be called"),
        (EXAMPLE.replace('"main"', '"side"'), ", line 6: vhost-user has no channel 'side'"),
        ("add\0", ": source code string cannot contain null bytes"),
    ],
    ids=["syntax", "name", "member", "channel", "no text"],
)  # fmt: skip
def test_a_mistake_is_wrong_use_with_its_line(
    text: str, why: str, draft: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft.write_text(text)
    assert main(["show", "nothing.pcapng", "--dissector", str(draft)]) == 2
    assert f"vhostspy show: {draft}{why}" in capsys.readouterr().err


def test_a_file_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--dissector", "nowhere.py"]) == 2
    assert "nowhere.py: No such file" in capsys.readouterr().err
