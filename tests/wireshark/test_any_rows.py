"""Rows that nobody has written yet: whatever layouts are made of, Lua reads them as our decoder does."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from struct import pack

import pytest

from vhostspy import wireshark
from vhostspy.dissectors import codec, registry
from vhostspy.dissectors.codec import ByteOrder
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.rows import (
    Array,
    Bytes,
    Channel,
    Field,
    IntType,
    Layout,
    Member,
    Message,
    Names,
    Padding,
    Part,
    Protocol,
    Word,
)

from .compare import alike, plain, theirs
from .synthetic import Said, header, write
from .test_members import split
from .tshark import Tshark

TYPES: tuple[IntType, ...] = ("u8", "u16", "u32", "u64", "i32", "i64")
#: few, so that one name has several types
NAMES = ("a", "b", "c", "d", "e", "f", "g", "h", "i")


class Maker:
    """Random rows."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.made = 0

    def layout(self, depth: int = 0) -> Layout:
        chance = self.chance
        names = list(NAMES)
        chance.shuffle(names)
        names = ["i", *(name for name in names if name != "i")]
        members: list[Member] = []
        counts: list[str] = []
        for _ in range(chance.randrange(1, 5)):
            members.append(self.member(names, counts, depth))
        # what takes all that is left comes last
        if not depth and chance.random() < 0.4:
            members.append(chance.choice([Bytes(names.pop(), None), Array(names.pop(), "u16", None)]))
        self.made += 1
        little = chance.random() < 0.2
        when = (counts[0], (0, 1, 2)) if counts and chance.random() < 0.2 else None
        return Layout(f"layout {self.made}", tuple(members), "here", when=when, little_endian=little)

    def member(self, names: list[str], counts: list[str], depth: int) -> Member:
        chance = self.chance
        choice = chance.randrange(8)
        name = names.pop()
        # one word a layout: what is left of two would have one name
        if choice == 0 and "i" in names:
            names.remove("i")
            return Word(chance.choice(("u8", "u16", "u32", "u64")), self.parts(names, name))
        if choice == 1:
            return Padding(chance.randrange(1, 9), name)
        if choice == 2:
            return Bytes(name, chance.randrange(1, 9), show=chance.choice(("", "text", "secret")))
        if choice == 3 and counts:
            return Bytes(name, chance.choice(counts))
        fixed: list[int | str] = [chance.randrange(1, 4)]
        if choice == 4 and depth < 2:
            of = self.layout(depth + 1)._replace(when=None)
            if plan(of, "<").least:
                return Array(name, of, chance.choice([*fixed, *counts]))
        if choice == 5:
            return Array(name, chance.choice(TYPES), chance.choice([*fixed, *counts]))
        type_ = chance.choice(TYPES)
        counts.append(name)
        bits = {bit: f"named {bit}" for bit in range(0, 8, 3)}
        called = chance.choice((None, None, Names("values", {0: "none", 1: "one"}), Names("bits", bits)))
        if type_[0] == "i" and called is not None and called.kind == "bits":
            called = None
        return Field(name, type_, "", called, chance.choice(("", "hex", "size")))

    def parts(self, names: list[str], name: str) -> tuple[Part, ...]:
        flag = Part(name, self.chance.randrange(2), 1, flag=True)
        return (flag, Part(names.pop(), 3, self.chance.randrange(1, 5))) if self.chance.random() < 0.7 else (flag,)

    def line(self, layouts: tuple[Layout, ...]) -> str:
        """A template with the members of a layout, in all the ways there are to write them."""
        words = []
        for member in layouts[0].members if len(layouts) == 1 else ():
            if isinstance(member, Field):
                ways = ["", ":hex", ":size", "*entry", "?, set"]
                ways += [":names"] if member.names is not None and member.names.kind == "bits" else []
            elif isinstance(member, Bytes):
                ways = [":brief", ":text", ":mac", ":uuid"]
            else:
                continue
            words.append(f"{member.name} {{{member.name}{self.chance.choice(ways)}}}")
        return ", ".join(words)

    def payload(self, layout: Layout) -> bytes:
        """Octets for it, mostly of about the right length; small numbers are likelier than large ones."""
        chance = self.chance
        size = max(0, plan(layout, "<").least + chance.choice((0, 0, 0, 0, -1, 1, 3, 8, 20)))
        return bytes(chance.choice((0, 0, 0, 1, 1, 2, 3, chance.randrange(256))) for _ in range(size))


def channel_of(rows: list[Message]) -> Channel:
    known = registry.channel("vhost-user", "main")
    assert known is not None
    return Channel("main", known.header, 1 << 20, {(row.sender, row.id): row for row in rows})


@pytest.mark.parametrize("seed", range(3))
def test_any_rows_read_the_same(tshark: Tshark, seed: int) -> None:
    maker = Maker(seed)
    rows = []
    for number in range(100, 200):
        layouts = tuple(maker.layout() for _ in range(maker.chance.randrange(1, 4)))
        rows.append(Message(f"MESSAGE_{number}", number, 0, layouts, None, "here", "Any.", info=maker.line(layouts)))
    channel = channel_of(rows)
    order: ByteOrder
    sent: list[tuple[Message, ByteOrder, bytes]] = []
    for row in rows:
        for layout in row.request:
            for order in ("<", ">"):
                sent.append((row, order, maker.payload(layout)))
    protocol = Protocol("vhost-user", ("front-end", "back-end"), {"main": channel}, None, "here")
    capture = write(
        tshark.folder / "any.pcapng",
        [
            Said(
                "vhost-user", "main", 0, header(channel, row.id, False, len(payload), order) + payload, byte_order=order
            )
            for row, order, payload in sent
        ],
    )
    script = tshark.file("any.lua", wireshark.dissector([protocol]).encode())
    found = tshark._replace(script=script).layers(capture, [protocol.name])
    for (row, order, payload), layers in zip(sent, found[1:], strict=True):
        record, tree = split(layers)
        decoded = codec.decode(row, False, payload, byte_order=order)
        head = {"request": row.id, "flags": 1, "size": len(payload)}
        expected = [*plain(head, {"flags": ["version 1"]}), *plain(decoded.fields, decoded.names)]
        title = f"{row.name} {order} {payload.hex()} {row.request}"
        assert alike(expected, theirs(tree, "vhost_user")) == expected, title
        assert record.get("vhostspy.info", "") == codec.info_line(row, False, decoded), title


DRAFT = """
from vhostspy.dissectors.additions import add, add_features
from vhostspy.dissectors.rows import FRONT_END, Field, Layout, Message

SHARE = Layout("ring share", (Field("index", "u32", "number of the ring"), Field("percent", "u32")), "my draft, 2.1")
add("vhost-user", "main", Message(
    "SET_VRING_SHARE", 4600, FRONT_END, request=(SHARE,), reply=None, source="my draft, 2.1",
    text="How much of the device's time a ring gets.", info="ring {index}, {percent} %",
))
"""


def test_rows_of_a_user(tshark: Tshark, tmp_path: Path) -> None:
    """``--dissector`` is in the next file that is generated."""
    draft = tmp_path / "draft.py"
    draft.write_text(DRAFT)
    command = [sys.executable, "-m", "vhostspy", "wireshark", "--dissector", str(draft)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    script = tshark.file("draft.lua", printed.encode())
    known = registry.channel("vhost-user", "main")
    assert known is not None
    octets = header(known, 4600, False, 8, "<") + pack("<II", 2, 75)
    capture = write(tshark.folder / "draft.pcapng", [Said("vhost-user", "main", 0, octets)])
    with_draft = tshark._replace(script=script)
    assert with_draft.column(capture)[-1] == "SET_VRING_SHARE  ring 2, 75 %"
    shown = with_draft.run("-r", capture, "-Y", "vhost_user.percent == 75", "-T", "fields", "-e", "vhost_user.index")
    assert shown.split() == ["2"]
    assert tshark.column(capture)[-1].startswith("unknown message 4600")
