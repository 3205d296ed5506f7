"""Members of the rows as scapy fields. Integers are in the byte order of the record that they came in, else native."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from random import getrandbits
from struct import Struct
from struct import error as struct_error
from typing import Any

from scapy.config import conf
from scapy.fields import Field, FlagValue, PacketListField, StrField
from scapy.packet import Packet
from scapy.volatile import RandBin, RandNum, VolatileValue

from .. import virtio
from ..items import CODES, WIDTHS, ByteOrder
from ..plan import plan
from ..rows import IntType, Layout, Names
from ..show import plain
from ..spelling import spelled

#: of ``conf.contribs``: what is taken to be agreed on, which some layouts and names depend on
SETTINGS = "vhostspy"

NATIVE: ByteOrder = "<" if sys.byteorder == "little" else ">"


def byte_order(packet: Packet | None) -> ByteOrder:
    """Of a packet's integers: that of the message's record, if it is from a capture; else this machine's.

    A structure that is little-endian everywhere is so with all that is in it.
    """
    while packet is not None:
        layout = getattr(type(packet), "layout", None)
        if isinstance(layout, Layout) and layout.little_endian:
            return "<"
        order = getattr(type(packet), "message_byte_order", None)
        if order is not None:
            found: ByteOrder = order(packet)
            return found
        packet = packet.underlayer or packet.parent
    return NATIVE


def flag_names(names: Mapping[int, str], width: int) -> list[str]:
    """A name for each bit, usable as an attribute; those that nobody named are ``bit_N``."""
    return [spelled(names[bit]) if bit in names else f"bit_{bit}" for bit in range(width)]


class Integer(Field[Any, Any]):
    """An integer; values with a name may be given by it. ``order``: fixed, whatever the message's is."""

    __slots__ = ["show", "names", "orders"]

    def __init__(
        self,
        name: str,
        type: IntType,
        default: int | None = 0,
        names: Names | None = None,
        show: str = "",
        order: ByteOrder | None = None,
    ) -> None:
        code = CODES[type]
        self.show = show
        self.names = names
        self.orders = {"<": Struct((order or "<") + code), ">": Struct((order or ">") + code)}
        super().__init__(name, default, "=" + code)

    def any2i(self, pkt: Packet | None, x: Any) -> Any:
        if isinstance(x, str):
            for value, name in self.names.names.items() if self.names is not None else ():
                if x in (name, spelled(name)):
                    return value
            raise ValueError(f"{self.name} has no value called {x!r}")
        return x

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:
        (value,) = self.orders[byte_order(pkt)].unpack_from(s)
        return s[self.sz :], self.m2i(pkt, value)

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        value = self.i2m(pkt, val)
        try:
            return s + self.orders[byte_order(pkt)].pack(value)
        except struct_error as wrong:
            raise ValueError(f"{self.name}: {value!r} does not fit ({wrong}); RawVal puts any octets there") from None

    def i2m(self, pkt: Packet | None, x: Any) -> int:
        return 0 if x is None else int(x)

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        return plain(x, self.show, self.names) if isinstance(x, int) else repr(x)


class Flags(Integer):
    """An integer of bits: ``pkt.flags.NEED_REPLY``, ``pkt.flags |= "REPLY"``, ``"VERSION_1+REPLY"``.

    Where some bits are a device's own, they have the names of the device that the settings name.
    """

    __slots__ = ["bit_names"]
    ismutable = True

    def __init__(
        self, name: str, type: IntType, names: Names, default: int | None = 0, order: ByteOrder | None = None
    ) -> None:
        self.bit_names = flag_names(names.names, 8 * WIDTHS[type])
        super().__init__(name, type, default, names, "names", order)

    def any2i(self, pkt: Packet | None, x: Any) -> Any:
        return x if x is None or isinstance(x, VolatileValue) else FlagValue(x, self._bit_names())

    def m2i(self, pkt: Packet | None, x: Any) -> Any:
        return FlagValue(x, self._bit_names())

    def _bit_names(self) -> list[str]:
        device = conf.contribs.get(SETTINGS, {}).get("device")
        if device is None or self.names is None or not self.names.device:
            return self.bit_names
        return flag_names(virtio.features(device).names, len(self.bit_names))

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        return (str(x) or "0") if isinstance(x, FlagValue) else repr(x)


class Count(Integer):
    """How much there is of another member; computed unless it is given."""

    __slots__ = ["of"]

    def __init__(self, name: str, type: IntType, of: str) -> None:
        self.of = of
        super().__init__(name, type, None)

    def i2m(self, pkt: Packet | None, x: Any) -> int:
        if x is None and pkt is not None:
            x = len(pkt.getfieldval(self.of))
        return 0 if x is None else int(x)


class Part(Field[Any, Any]):
    """Some bits of a word. Between the first and the last part of it the octets go along with the word so far."""

    __slots__ = ["word", "low", "mask", "first", "last", "flag", "names"]

    def __init__(
        self, name: str, word: IntType, low: int, mask: int, first: bool, last: bool, flag: bool, names: Names | None
    ) -> None:
        self.word = {order: Struct(order + CODES[word]) for order in ("<", ">")}
        self.low = low
        self.mask = mask
        self.first = first
        self.last = last
        self.flag = flag
        self.names = names
        super().__init__(name, 0, "=" + CODES[word])

    def any2i(self, pkt: Packet | None, x: Any) -> Any:
        if isinstance(x, str) and self.names is not None:
            for value, name in self.names.names.items():
                if x in (name, spelled(name)):
                    return value
        return x

    # what goes along is none of scapy's types, as with its own bit fields
    def getfield(self, pkt: Packet, s: Any) -> tuple[Any, Any]:
        if self.first:
            struct = self.word[byte_order(pkt)]
            s = s[struct.size :], struct.unpack_from(s)[0]
        rest, word = s
        return (rest if self.last else s), word >> self.low & self.mask

    def addfield(self, pkt: Packet, s: Any, val: Any) -> Any:
        octets, word = (s, 0) if self.first else s
        word |= (int(val or 0) & self.mask) << self.low
        return octets + self.word[byte_order(pkt)].pack(word) if self.last else (octets, word)

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        return plain(bool(x) if self.flag else x, names=self.names) if isinstance(x, int) else repr(x)

    def randval(self) -> VolatileValue[Any]:
        return RandNum(0, self.mask)


class Octets(StrField):
    """Octets: of a fixed size, as many as another member tells, or all that are left."""

    __slots__ = ["size", "show"]

    def __init__(self, name: str, size: int | str | None, show: str = "", default: bytes = b"") -> None:
        self.size = size
        self.show = show
        super().__init__(name, default.ljust(size, b"\0") if isinstance(size, int) else default)

    def any2i(self, pkt: Packet | None, x: Any) -> Any:
        """Text is taken as such; where octets have a written form (addresses, uuids) it is that."""
        if isinstance(x, str) and self.show in ("mac", "uuid"):
            return bytes.fromhex(x.replace(":", "").replace("-", ""))
        return super().any2i(pkt, x)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, bytes]:
        size = len(s) if self.size is None else self.size
        if isinstance(size, str):
            size = int(pkt.getfieldval(size))
        if size > len(s):
            raise struct_error(f"{self.name} is {size} bytes, here are {len(s)}")
        return s[size:], s[:size]

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        octets = self.i2m(pkt, val)
        if isinstance(self.size, int):
            octets = octets[: self.size].ljust(self.size, b"\0")
        return s + octets

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        return plain(x, self.show) if isinstance(x, bytes) and self.show not in ("", "config") else repr(x)

    def randval(self) -> RandBin:
        return RandBin(self.size if isinstance(self.size, int) else RandNum(0, 256))


class RandIntegers(VolatileValue[list[int]]):
    """A list of integers, another one each time."""

    def __init__(self, bits: int, times: int | None) -> None:
        super().__init__()
        self.bits = bits
        self.times = times

    def _fix(self) -> list[int]:
        return [getrandbits(self.bits) for _ in range(getrandbits(4) if self.times is None else self.times)]


class Integers(Field[Any, Any]):
    """A list of integers of one size; ``times`` is a number, the member that tells it, or None: all that fit."""

    __slots__ = ["times", "orders"]
    islist = 1

    def __init__(self, name: str, type: IntType, times: int | str | None) -> None:
        self.times = times
        self.orders = {order: Struct(order + CODES[type]) for order in ("<", ">")}
        super().__init__(name, [0] * times if isinstance(times, int) else [], "=" + CODES[type])

    def any2i(self, pkt: Packet | None, x: Any) -> Any:
        return x if x is None or isinstance(x, list | VolatileValue) else list(x)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:
        end = number(pkt, self.times, len(s) // self.sz) * self.sz
        return s[end:], [value for (value,) in self.orders[byte_order(pkt)].iter_unpack(s[:end])]

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        return s + b"".join(map(self.orders[byte_order(pkt)].pack, val or ()))

    def randval(self) -> VolatileValue[Any]:
        return RandIntegers(8 * self.sz, self.times if isinstance(self.times, int) else None)


class Structures(PacketListField):
    """A list of structures of one kind."""

    __slots__ = ["times", "least", "size"]

    def __init__(self, name: str, layout: Layout, packet: type[Packet], times: int | str | None) -> None:
        self.times = times
        self.least = plan(layout, "<").least
        self.size = plan(layout, "<").size
        super().__init__(name, [packet() for _ in range(times)] if isinstance(times, int) else [], packet)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:
        times = number(pkt, self.times, len(s) // self.least)
        if self.size is not None:
            end = times * self.size
            return s[end:], [self.m2i(pkt, s[at : at + self.size]) for at in range(0, end, self.size)]
        found: list[Packet] = []
        for _ in range(times):
            element = self.m2i(pkt, s)
            s = taken_off(element)
            found.append(element)
        return s, found


class Links(PacketListField):
    """Structures that lead to each other; what does not go straight on is left over."""

    __slots__ = ["packets", "link_from", "link_to"]

    def __init__(self, name: str, packets: tuple[tuple[Layout, type[Packet]], ...], first: str, next: str) -> None:
        self.packets = packets
        self.link_from = first
        self.link_to = next
        super().__init__(name, [], packets[-1][1])

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:
        order = byte_order(pkt)
        whole = len(pkt.original)
        found: list[Packet] = []
        following = int(pkt.getfieldval(self.link_from))
        while s and following == whole - len(s):
            any_kind = plan(self.packets[-1][0], order)
            fields, _, missing = any_kind.read_at(s, 0)
            if missing:
                break
            following = int(str(fields[self.link_to]))
            end = following - (whole - len(s))
            piece, s = (s[:end], s[end:]) if any_kind.least <= end <= len(s) else (s, b"")
            found.append(self._packet(piece, order)(piece, _internal=1, _parent=pkt))
        return s, found

    def _packet(self, piece: bytes, order: ByteOrder) -> type[Packet]:
        for layout, packet in self.packets:
            fields, at, missing = plan(layout, order).read_at(piece, 0)
            if at == len(piece) and not missing and plan(layout, order).suits(fields):
                return packet
        return self.packets[-1][1]


def number(packet: Packet, times: int | str | None, fit: int) -> int:
    """How many elements there are: never more than fit."""
    if isinstance(times, str):
        times = int(packet.getfieldval(times))
    return fit if times is None else max(min(times, fit), 0)


def taken_off(element: Packet) -> bytes:
    """The octets behind an element of a list, which scapy has put there as padding."""
    last = element.lastlayer()
    if last is element or last.underlayer is None:
        return b""
    octets = bytes(last.load)
    last.underlayer.remove_payload()
    return octets
