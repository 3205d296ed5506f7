"""Lines of the list and of the panes: what they say, how wide they are, and that nothing in them is more than text."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from tests.pipeline.conversation import KICK, MS, Conversation
from vhostspy.message import Message
from vhostspy.tui.bytes import bytes_lines, per_row
from vhostspy.tui.columns import COLUMNS, Facts, cells, layout
from vhostspy.tui.line import ROLES, Line
from vhostspy.tui.message import message_lines
from vhostspy.tui.nodes import Node, header_nodes, payload_nodes
from vhostspy.tui.rings import rings_lines
from vhostspy.tui.state import state_lines
from vhostspy.tui.timeline import as_mermaid, as_text, stretch, timeline_lines

from .pretend import Pretend, feed


def text(lines: list[Line]) -> str:
    return "\n".join(one.text.rstrip() for one in lines)


def listed(pretend: Pretend, row: int, width: int = 120, **facts: Any) -> str:
    known = Facts(pretend.start_ns, None, pretend.glance(row).severity)._replace(**facts)
    return "".join(part for part, _ in cells(pretend.item(row), known, layout(width, {}, {})))


@pytest.mark.parametrize("width", [60, 80, 99, 120, 200])
@pytest.mark.parametrize("row", [0, 1, 8, 9, 22, 24])
def test_a_line_of_the_list_is_as_wide_as_the_list(width: int, row: int) -> None:
    assert len(listed(feed(), row, width).rstrip()) <= width
    assert len(listed(feed(), row, width)) == len(listed(feed(), 1, width))


def test_a_line_says_who_what_and_with_which_descriptors() -> None:
    words = listed(feed(), 8).split()
    assert words[:3] == ["8", "0.007000", "main"] and words[3:6] == ["→", "front-end", "ADD_MEM_REG"]
    assert "[memory memfd]" in listed(feed(), 8)


def test_an_answer_names_its_request() -> None:
    assert "ok  ↩ #8 1.0 ms" in listed(feed(), 9)


def test_a_request_that_waits_says_so() -> None:
    assert "… waits" in listed(feed(), 22, waiting="waits")


def test_columns_can_be_had_and_not_had() -> None:
    names = [column.name for column, _ in layout(80, {"delta": True, "from": False}, {}).columns]
    assert "delta" in names and "from" not in names
    assert {column.name: width for column, width in layout(200, {}, {"message": 40}).columns}["message"] == 40


def test_several_sessions_get_a_column() -> None:
    assert "session" in [column.name for column, _ in layout(80, {}, {}, sessions=2).columns]


def test_all_column_names_differ() -> None:
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


# -- the message


def test_members_with_their_meaning() -> None:
    shown = text(message_lines(feed(), 4, 100))
    assert "protocol_features" in shown and "0x8209" in shown
    assert " 3  REPLY_ACK" in shown and "15  CONFIGURE_MEM_SLOTS" in shown
    assert "VHOST_USER_GET_PROTOCOL_FEATURES" in shown


def test_an_address_is_told_by_its_region() -> None:
    assert "0x7f0000011000  region 0 + 0x11000 (512 MiB, #8)" in text(message_lines(feed(), 18, 100))


def test_an_address_in_no_region_is_told_too() -> None:
    said = feed().conversation
    said.front_end("SET_VRING_ADDR", index=0, descriptor=0x9000, used=0, available=0, log_address=0)
    pretend = Pretend(said)
    assert "0x9000  in no region" in text(message_lines(pretend, pretend.rows - 1, 100))


def test_descriptors_and_the_way_to_the_answer() -> None:
    lines = message_lines(feed(), 8, 100)
    assert "memory memfd, /memfd:pc.ram (deleted), 512 MiB" in text(lines)
    way = next(one for one in lines if one.key == ("way",))
    assert "answered by #9 after 1.0 ms" in way.text and way.row == 9


def test_a_finding_stands_with_its_rule_its_source_and_its_proof() -> None:
    lines = message_lines(feed(), 7, 100)
    assert "● error: front-end: a bit was acknowledged that was not offered" in text(lines)
    assert "VU-NEG-01  vhost-user, features" in text(lines)
    proof = [one.row for one in lines if one.key == ("finding", 0) and one.row is not None]
    assert proof == [2, 9]


def test_what_waits_says_so() -> None:
    assert "not answered" in text(message_lines(feed(), 22, 100))


def test_the_header_opens() -> None:
    assert "NEED_REPLY" not in text(message_lines(feed(), 8, 100))
    assert "NEED_REPLY" in text(message_lines(feed(), 8, 100, frozenset()))
    assert [node.name for node in header_nodes(message(feed(), 1))] == ["request", "flags", "size"]


def test_an_events_facts() -> None:
    assert "back-end closed first" in text(message_lines(feed(), 24, 100))


def test_texts_are_broken_at_the_width() -> None:
    for row in range(25):
        for one in message_lines(feed(), row, 60):
            assert len(one.text.rstrip()) <= 60 or one.key[0] in ("member", "fd"), one


def message(pretend: Pretend, row: int) -> Message:
    item = pretend.item(row)
    assert isinstance(item, Message)
    return item


def test_each_member_knows_its_octets() -> None:
    said = message(feed(), 8)
    nodes = {node.name: node for node in payload_nodes(said)}
    for name in ("guest_address", "length", "user_address", "mmap_offset"):
        begin, end = nodes[name].octets or (0, 0)
        assert int.from_bytes(said.data[begin:end], "little") == said.fields[name]


def test_each_bit_lies_in_its_octet() -> None:
    said = message(feed(), 4)
    (node,) = payload_nodes(said)
    for bit in node.children:
        begin, end = bit.octets or (0, 0)
        assert end == begin + 1 and said.data[begin] >> (int(bit.name) % 8) & 1


def test_octets_of_repetitions() -> None:
    said = Conversation()
    regions = [{"guest_address": at, "length": 4096, "user_address": at, "mmap_offset": 0} for at in (0x1000, 0x9000)]
    table = said.front_end("SET_MEM_TABLE", regions=regions)
    (array,) = [node for node in payload_nodes(table) if node.children]
    second = {node.name: node for node in array.children[1].children}
    begin, end = second["guest_address"].octets or (0, 0)
    assert int.from_bytes(table.data[begin:end], "little") == 0x9000
    assert second["guest_address"].path == "regions[1].guest_address"


def test_what_no_row_explains_is_shown_as_octets() -> None:
    said = Conversation()
    unknown = said.octets(bytes.fromhex("e7030000 01000000 04000000 deadbeef"))
    assert payload_nodes(unknown)[-1].text == "de ad be ef"


def test_a_message_too_short_says_what_is_missing() -> None:
    said = Conversation()
    short = said.octets(bytes.fromhex("08000000 01000000 04000000 01000000"))
    assert [(node.name, node.text) for node in payload_nodes(short)] == [
        ("index", "1"),
        ("missing", "4 bytes at least"),
    ]


# -- bytes


def test_octets_in_hex_and_as_text() -> None:
    said = message(feed(), 10)
    lines = bytes_lines(said, 76)
    assert lines[0].text.startswith("0000  08 00 00 00 01 00 00 00  08 00 00 00 00 00 00 00")
    assert all(len(one.text) <= 76 for one in lines)


def test_the_member_in_focus_is_lit() -> None:
    lit = [span for one in bytes_lines(message(feed(), 10), 76, (12, 16)) for span in one.spans if span[1] == "hit"]
    assert "".join(part for part, _ in lit if len(part) == 2) == "00000000"


@pytest.mark.parametrize("width, octets", [(76, 16), (42, 8), (30, 4)])
def test_octets_in_a_row_depend_on_the_width(width: int, octets: int) -> None:
    assert per_row(width) == octets
    assert max(len(one.text) for one in bytes_lines(message(feed(), 8), width)) <= width


# -- the session


def test_the_session_travels_in_time() -> None:
    assert "agreed" not in text(state_lines(feed(), 3, 80))
    assert "agreed 0x140000000" in text(state_lines(feed(), 7, 80))
    assert "not taken 0x200" in text(state_lines(feed(), 7, 80))
    assert "guest 0x0…0x1fffffff" not in text(state_lines(feed(), 7, 80))
    assert "guest 0x0…0x1fffffff" in text(state_lines(feed(), 8, 80))


def test_what_a_message_changed_is_lit() -> None:
    lines = state_lines(feed(), 15, 80)
    changed = [one.text for one in lines if one.text.startswith("▌")]
    assert len(changed) == 1 and "0 runs" in changed[0]


def test_who_waits_and_who_has_which_descriptor() -> None:
    shown = text(state_lines(feed(), 23, 80))
    assert "#22 GET_CONFIG  front-end since" in shown
    assert "memory of region 0" in shown and "back-end has it" in shown


def test_rings_say_what_they_lack() -> None:
    assert "ring 0  stopped, disabled; no size, no addresses, no kick descriptor yet" not in text(
        rings_lines(feed(), 9, 80)
    )
    assert "no ring was spoken of yet" in text(rings_lines(feed(), 9, 80))
    assert "ring 0  stopped, disabled; no kick descriptor yet" in text(rings_lines(feed(), 12, 80))
    assert "ring 0  started and enabled: it runs" in text(rings_lines(feed(), 15, 80))
    assert "descriptors   0x7f0000001000  region 0 + 0x1000" in text(rings_lines(feed(), 15, 80))


# -- the timeline


def test_the_timeline_stands_between_its_parties() -> None:
    pretend = feed()
    shown = text(timeline_lines(pretend, stretch(pretend, range(25)), 100))
    assert "front-end qemu" in shown.splitlines()[0] and "back-end" in shown.splitlines()[0]
    assert "─ #8 ADD_MEM_REG 512 MiB at 0x0 [memory memfd] ─" in shown
    assert "◄╌" in shown and "╌ #9 ok ╌" in shown
    assert "201 ms" in shown


def test_the_timeline_goes_into_files() -> None:
    pretend = feed()
    diagram = stretch(pretend, range(25))
    assert as_text(timeline_lines(pretend, diagram, 100)).count("\n") > 25
    mermaid = as_mermaid(pretend, diagram)
    assert mermaid.startswith("sequenceDiagram\n    participant P0 as front-end qemu\n")
    assert "P0->>P1: #35;1 GET_FEATURES" in mermaid and "P1-->>P0: #35;9 ok" in mermaid


# -- what peers send is data

EVIL = "[bold red]x[/] \x1b[2J \u202egnp.exe \r\n\t\x07 ‮ \ud800 end"


def evil() -> Pretend:
    said = Conversation()
    said.event("open", text=EVIL, front_end={"path": EVIL, "pid": 7, "program": EVIL})
    said.front_end("SET_VRING_KICK", index=0, nofd=False, fds=[KICK._replace(name=EVIL, eventfd_id=None)])
    said.front_end("ADD_MEM_REG", fds=[KICK._replace(kind="memfd", role="memory", name=EVIL)],
                   guest_address=0, length=4096, user_address=0, mmap_offset=0)  # fmt: skip
    said.raw(EVIL.encode("utf-8", "surrogatepass"))
    said.event("note", text=EVIL, **{EVIL: EVIL})  # type: ignore[arg-type]
    return Pretend(said)


def harmless(letters: str) -> bool:
    return all(unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in letters)


@pytest.mark.parametrize("row", range(6))
def test_nothing_a_peer_sends_is_more_than_text(row: int) -> None:
    pretend = evil()
    lines = [
        *message_lines(pretend, row, 100, mark=EVIL),
        *state_lines(pretend, row, 100),
        *rings_lines(pretend, row, 100),
    ]
    lines += [*bytes_lines(pretend.item(row), 76), *timeline_lines(pretend, stretch(pretend, range(row + 1)), 100)]
    for one in lines:
        assert harmless(one.text), one
    assert harmless(listed(pretend, row, mark=EVIL))


@pytest.mark.parametrize("row", range(6))
def test_every_role_has_a_look(row: int) -> None:
    pretend = evil()
    for one in [*message_lines(pretend, row, 100), *state_lines(pretend, row, 100), *rings_lines(pretend, row, 100)]:
        assert {role for _, role in one.spans} <= set(ROLES)


def test_a_node_is_found_by_its_filters_name() -> None:
    def paths(nodes: tuple[Node, ...]) -> list[str]:
        return [path for node in nodes for path in (node.path, *paths(node.children))]

    assert paths(payload_nodes(message(feed(), 10))) == ["index", "num"]


def test_rings_of_a_capture_tell_since_when_they_stand_still() -> None:
    said = Conversation()
    said.front_end("SET_VRING_NUM", index=0, num=256)
    split = {
        "layout": "split",
        "size": 256,
        "started": True,
        "enabled": True,
        "available": 9,
        "used": 8,
        "in_flight": 1,
    }
    for _ in range(3):
        said.event("sample", rings=[{"ring": 0, **split}])
        # of many rings a sample is several records
        said.event("sample", rings=[{"ring": 40, **split, "used": 9, "in_flight": 0}])
        said.pause(1000 * MS)
    pretend = Pretend(said)
    shown = text(rings_lines(pretend, pretend.rows - 1, 120))
    first, second = (line for line in shown.splitlines() if "runs" in line and "256 " in line)
    assert first.split()[0] == "0" and second.split()[0] == "40"
    assert "2.0 s ago" in first and "2.0 s ago" in second
    shown = text(message_lines(pretend, pretend.rows - 1, 200))
    assert "\n  rings         ring 40  layout split  size 256  started yes  enabled yes  available 9  used 9" in shown
