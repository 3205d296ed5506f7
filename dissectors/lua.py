"""The rows as a Wireshark dissector: one Lua file, tables made here and the program that reads by them behind it.

The program is ``wireshark.lua`` beside this module. It knows records and how layouts are read, but no protocol: rows
that are added, also a user's own, are in the next file that is generated. Fields have the names of the filter language.
A member that several layouts have is one name with one type in Wireshark too, wide enough for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any
from zlib import crc32

from . import registry, virtio
from .items import WIDTHS
from .lua_fields import Fields, Kind, bit_name
from .lua_text import EXACT, literal, quoted
from .plan import plan
from .rows import (
    ACK,
    EMPTY,
    Array,
    Bytes,
    Chain,
    Channel,
    Field,
    Gate,
    Layout,
    Member,
    Message,
    Names,
    Padding,
    Part,
    Word,
    nested,
)
from .rows import Protocol as Rows
from .show import pieces

#: what the file begins with
FIRST_LINE = "-- Wireshark dissector for captures of vhostspy"


def generate(tables: Mapping[str, object], protocols: Iterable[Rows] | None = None) -> str:
    """The dissector's text, for ``protocols`` (None: all that are registered).

    tables: what a record's numbers mean, and how devices are told, which is not written in the rows: they are the
    members of the program's table ``RECORD``.
    """
    chosen = registry.PROTOCOLS.values() if protocols is None else protocols
    program = files("vhostspy.dissectors").joinpath("wireshark.lua").read_text(encoding="utf-8")
    body = "\n".join((
        f"local RECORD = {literal(tables)}",
        "",
        f"local PROTOCOLS = {literal([table(each) for each in chosen])}",
        "",
        f"local DEVICES = {literal(_devices())}",
        "",
        program,
    ))  # fmt: skip
    return "\n".join((
        FIRST_LINE,
        "-- Generated from the rows of vhostspy's protocols: don't edit it, run `vhostspy wireshark` again.",
        "",
        f"local FINGERPRINT = {quoted(f'{crc32(body.encode()):08x}')}",
        "",
        body,
    ))  # fmt: skip


def table(protocol: Rows) -> Mapping[str, Any]:
    """All that the program is told of a protocol: fields, layouts, names, channels with their messages."""
    return _Generator(protocol).table()


def prefix(protocol: str) -> str:
    """What a protocol's fields begin with."""
    return protocol.replace("-", "_")


class _Generator:
    """The tables of one protocol."""

    def __init__(self, protocol: Rows) -> None:
        self._protocol = protocol
        self._fields = Fields()
        self._layouts: dict[int, int] = {}
        self._layout_tables: list[Mapping[str, object]] = []
        self._names: dict[int, int] = {}
        self._names_tables: list[Mapping[str, object]] = []
        #: layouts and names whose numbers are in use
        self._kept: list[object] = []
        self._config_met = False

    def table(self) -> Mapping[str, Any]:
        for name in ("rest", "reserved"):
            self._fields.meet(name, Kind("bytes") if name == "rest" else Kind("uint", 1))
        for layout in _layouts_of(self._protocol):
            self._meet(layout, "")
        for device in virtio.DEVICES.values() if self._config_met else ():
            for layout in device.config:
                self._meet(layout, "config.")
        rest = self._fields.number("rest", Kind("bytes"), text="octets that no member explains")
        channels = {name: self._channel(channel) for name, channel in self._protocol.channels.items()}
        configs = self._configs() if self._config_met else None
        return {
            "name": self._protocol.name,
            "prefix": prefix(self._protocol.name),
            "ends": self._protocol.ends,
            "rest": rest,
            "ack": self._layout(ACK),
            "channels": channels,
            "configs": configs,
            "layouts": self._layout_tables,
            "names": self._names_tables,
            "fields": self._fields.table(),
        }

    def _channel(self, channel: Channel) -> Mapping[str, object]:
        header = channel.header
        senders: dict[int, dict[int, object]] = {0: {}, 1: {}}
        for (sender, number), row in channel.messages.items():
            senders[sender][number] = self._message(row)
        id_name = next(
            (each.name for at, each in _placed(header.layout) if at == header.id_at and isinstance(each, Field)), ""
        )
        # a field for each sender: the numbers' names differ
        ids = []
        for sender in (0, 1):
            values = {number: row.name for (who, number), row in channel.messages.items() if who == sender}
            names = self._keep_names(Names("values", values))
            ids.append(self._fields.number(id_name, Kind("uint", WIDTHS[header.id_type]), "dec", names))
        return {
            "layout": self._layout(header.layout),
            "length": header.length,
            "id": id_name,
            "ids": ids,
            "id_at": header.id_at, "id_size": WIDTHS[header.id_type],
            "size_at": header.size_at,
            "counts_header": header.counts_header or None,
            "flags_at": header.flags_at,
            "reply_mask": header.reply_mask, "reply_value": header.reply_value,
            "need_reply_mask": header.need_reply_mask,
            "no_reply_mask": header.no_reply_mask or None,
            "error_mask": header.error_mask or None,
            "error_at": header.error_at or None,
            "msgid_at": header.msgid_at,
            "messages": senders,
        }  # fmt: skip

    def _message(self, row: Message) -> Mapping[str, object]:
        replies = (ACK,) if row.reply is None else row.reply or (EMPTY,)
        return {
            "name": row.name,
            "answer": row.answer,
            "fds_need": _gate(row.request_fds.needs) if row.answer == "with-fds" else None,
            "acks": row.reply is None or None,
            "request": [self._alternative(layout, row.info) for layout in row.request or (EMPTY,)],
            "reply": [self._alternative(layout, "{value}" if layout is ACK else row.reply_info) for layout in replies],
            "others": [self._message(other) for other in row.others] or None,
        }

    def _alternative(self, layout: Layout, info: str) -> Sequence[object]:
        """The layout's number, and the pieces of the line."""
        return [self._layout(layout), *self._line(info, layout)]

    def _line(self, text: str, layout: Layout) -> Iterator[object]:
        for piece in pieces(text, layout):
            if isinstance(piece, str):
                yield piece
                continue
            name, member, sign, how = piece
            names = member.names if isinstance(member, Field | Part) else None
            show = ""
            if sign in ("?", "*"):
                show = sign
            else:
                show = how or (member.show if isinstance(member, Field | Bytes) else "")
            yield {
                "of": name,
                "show": show or None,
                "word": how if sign in ("?", "*") else None,
                "names": self._keep_names(names) if names is not None else None,
            }

    def _layout(self, layout: Layout, below: str = "") -> int:
        """The layout's number, from 1. ``below``: what its fields' names begin with."""
        number = self._layouts.get(id(layout))
        if number is not None:
            return number
        self._kept.append(layout)
        steps = list(self._steps(layout, below))
        number = self._layouts[id(layout)] = len(self._layout_tables) + 1
        compiled = plan(layout, "<")
        self._layout_tables.append({
            "name": layout.name,
            "size": compiled.size,
            "least": compiled.least,
            "needs": [_gate(gate) for gate in layout.needs] or None,
            "when": [layout.when[0], dict.fromkeys(layout.when[1], True)] if layout.when else None,
            "postcopy": layout.postcopy or None,
            "little": layout.little_endian or None,
            "steps": steps,
        })  # fmt: skip
        return number

    def _steps(self, layout: Layout, below: str) -> Iterator[Mapping[str, object]]:
        """The members, those of fixed length that follow each other together, as ``plan`` has them."""
        run: list[Mapping[str, object]] = []
        for member in layout.members:
            single = self._single(member, below)
            if single is not None:
                run.append(single)
                continue
            if run:
                yield _run(run)
                run = []
            yield self._step(member, below)
        if run:
            yield _run(run)

    def _single(self, member: Member, below: str) -> Mapping[str, object] | None:
        """A member of fixed length."""
        if isinstance(member, Field):
            return self._integer(member, below)
        if isinstance(member, Word):
            return {
                "kind": "word",
                "size": WIDTHS[member.type],
                "reserved": self._fields.number(
                    below + "reserved", Kind("uint", WIDTHS[member.type]), "hex", text="bits without a meaning"
                ),
                "parts": [self._part(part, WIDTHS[member.type], below) for part in member.parts],
            }
        if isinstance(member, Padding):
            field = self._fields.number(below + member.name, Kind("bytes"), text="without a meaning")
            return {"kind": "padding", "name": member.name, "size": member.size, "field": field}
        if isinstance(member, Bytes) and isinstance(member.size, int):
            return {**self._octets(member, below), "kind": "octets", "size": member.size}
        return None

    def _integer(self, member: Field, below: str) -> Mapping[str, object]:
        names = self._keep_names(member.names) if member.names is not None else 0
        bits = member.names is not None and member.names.kind == "bits"
        base = "hex" if member.show == "hex" or bits else "dec"
        kind = _kind(member)
        return {
            "kind": "int",
            "name": member.name,
            "size": WIDTHS[member.type],
            "signed": member.type[0] == "i" or None,
            "field": self._fields.number(below + member.name, kind, base, 0 if bits else names, member.text),
            "show": member.show or None,
            "bits": self._bits(member.names, below + member.name) if bits and member.names is not None else None,
            "device": (member.names is not None and member.names.device) or None,
        }

    def _part(self, part: Part, size: int, below: str) -> Mapping[str, object]:
        names = self._keep_names(part.names) if part.names is not None else 0
        bits = part.names is not None and part.names.kind == "bits"
        kind = Kind("bool", 1) if part.flag else Kind("uint", size)
        base = "" if part.flag else "hex" if bits else "dec"
        return {
            "name": part.name,
            "low": part.low,
            "width": part.width,
            "flag": part.flag or None,
            "field": self._fields.number(below + part.name, kind, base, 0 if bits else names, part.text),
            "bits": self._bits(part.names, below + part.name) if bits and part.names is not None else None,
        }

    def _bits(self, names: Names, name: str) -> Mapping[int, object] | Mapping[str, object]:
        """bit -> its name and field; where bits depend on the device, device -> these."""
        if not names.device:
            return self._bit_fields(names.names, name)
        by_device: dict[str, object] = {"": self._bit_fields(virtio.features(None).names, name)}
        for device in virtio.DEVICES:
            by_device[device] = self._bit_fields(virtio.features(device).names, name)
        return by_device

    def _bit_fields(self, names: Mapping[int, str], name: str) -> Mapping[int, object]:
        return {
            bit: (text, self._fields.number(f"{name}.{bit_name(text)}", Kind("bool", 1), text=text))
            for bit, text in names.items()
        }

    def _octets(self, member: Bytes, below: str) -> Mapping[str, object]:
        return {
            "name": member.name,
            "field": self._fields.number(below + member.name, Kind("bytes"), text=member.text),
            "show": member.show or None,
            "text": self._fields.number(below + member.name, Kind("string"), text=member.text)
            if below and member.show == "text"
            else None,
        }

    def _step(self, member: Member, below: str) -> Mapping[str, object]:
        if isinstance(member, Bytes):
            return {**self._octets(member, below), "kind": "rest", "times": member.size, "least": 0}
        if isinstance(member, Array) and isinstance(member.of, str):
            kind = Kind("int" if member.of[0] == "i" else "uint", WIDTHS[member.of])
            return {
                "kind": "integers",
                "name": member.name,
                "size": WIDTHS[member.of],
                "signed": member.of[0] == "i" or None,
                "field": self._fields.number(below + member.name, kind, "dec", text=member.text),
                "times": member.times,
                "least": member.times * WIDTHS[member.of] if isinstance(member.times, int) else 0,
            }
        if isinstance(member, Array) and isinstance(member.of, Layout):
            least = plan(member.of, "<").least
            return {
                "kind": "structures",
                "name": member.name,
                "of": self._layout(member.of, below),
                "field": self._fields.number(below + member.name, Kind("none"), text=member.text),
                "times": member.times,
                "least": member.times * least if isinstance(member.times, int) else 0,
            }
        if isinstance(member, Chain):
            return {
                "kind": "chain",
                "name": member.name,
                "of": [self._layout(layout, below) for layout in member.of],
                "field": self._fields.number(below + member.name, Kind("none"), text=member.text),
                "first": member.first,
                "next": member.next,
                "least": 0,
            }
        raise TypeError(f"no Lua for {member!r}")

    def _keep_names(self, names: Names) -> int:
        number = self._names.get(id(names))
        if number is None:
            self._kept.append(names)
            number = self._names[id(names)] = len(self._names_tables) + 1
            self._names_tables.append({
                "bits": names.kind == "bits" or None,
                "names": {value: text for value, text in names.names.items() if abs(value) < EXACT},
            })  # fmt: skip
        return number

    def _configs(self) -> Mapping[str, object]:
        """Device -> the layouts of its configuration space, with what they need."""
        return {
            device.name: [self._layout(layout, "config.") for layout in device.config]
            for device in virtio.DEVICES.values()
            if device.config
        }

    def _meet(self, layout: Layout, below: str) -> None:
        for member in layout.members:
            if isinstance(member, Word):
                size = WIDTHS[member.type]
                self._fields.meet(below + "reserved", Kind("uint", size))
                for part in member.parts:
                    self._fields.meet(below + part.name, Kind("bool", 1) if part.flag else Kind("uint", size))
            else:
                self._fields.meet(below + member.name, _kind(member))
            for each in nested(member):
                self._meet(each, below)
            if isinstance(member, Bytes) and member.show == "config":
                self._config_met = True


def _gate(gate: Gate | None) -> Sequence[str | int] | None:
    """A feature word, and the bits of which one is enough."""
    return None if gate is None else (gate.word, gate.bit, *gate.drafts)


def _run(items: list[Mapping[str, object]]) -> Mapping[str, object]:
    sizes = [size for item in items if isinstance(size := item["size"], int)]
    return {"kind": "run", "size": sum(sizes), "least": sum(sizes), "items": items}


def _kind(member: Member) -> Kind:
    if isinstance(member, Field):
        return Kind("int" if member.type[0] == "i" else "uint", WIDTHS[member.type])
    if isinstance(member, Array) and isinstance(member.of, str):
        return Kind("int" if member.of[0] == "i" else "uint", WIDTHS[member.of])
    return Kind("bytes") if isinstance(member, Bytes | Padding) else Kind("none")


def _placed(layout: Layout) -> Iterator[tuple[int, Member]]:
    """Members of a header with their offsets."""
    at = 0
    for member in layout.members:
        yield at, member
        if isinstance(member, Field | Word):
            at += WIDTHS[member.type]
        elif isinstance(member, Bytes | Padding) and isinstance(member.size, int):
            at += member.size


def _layouts_of(protocol: Rows) -> Iterator[Layout]:
    yield ACK
    for channel in protocol.channels.values():
        yield channel.header.layout
        for message in channel.messages.values():
            for row in (message, *message.others):
                yield from row.request
                yield from row.reply or ()


def _devices() -> Mapping[str, object]:
    """Any name of a device -> the name that is used."""
    return {name: device.name for device in virtio.DEVICES.values() for name in (device.name, *device.aliases)}
