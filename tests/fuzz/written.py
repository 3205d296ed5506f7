"""What people write: filters, names to look up, baselines, rows of their own."""

from __future__ import annotations

import ast
import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from vhostspy.arguments import load_dissectors
from vhostspy.baseline import read_baseline
from vhostspy.dissectors import additions, codec, explain
from vhostspy.dissectors.rows import (
    BACK_END,
    FRONT_END,
    Array,
    Bytes,
    Chain,
    Fds,
    Field,
    IntType,
    Layout,
    Member,
    Message,
    Names,
    Padding,
    Part,
    Word,
)
from vhostspy.errors import WrongUse
from vhostspy.filter import FilterError, compile
from vhostspy.message import Message as Shown
from vhostspy.pipeline import Pipeline
from vhostspy.rules.subjects import with_rules

from .octets import CHANNELS
from .sessions import conversation, session_seeds
from .source import Source


@lru_cache
def messages() -> tuple[Shown, ...]:
    """Some to be asked."""
    pipeline = Pipeline()
    seeds = [*session_seeds()]
    items = [item for seed in seeds[1::9] for record in conversation(seed) for item in pipeline.feed(record)]
    return tuple(item for item in items if isinstance(item, Shown))[:12]


def filter_text(octets: bytes) -> None:
    """A text is a filter, which every message answers; or a FilterError with its place."""
    text = octets.decode("utf-8", "replace")
    try:
        wanted = compile(text)
    except FilterError as mistake:
        assert 0 <= mistake.at <= len(text)
        assert mistake.pointing()
        return
    for message in messages():
        assert wanted(message) in (True, False)


FILTERS = (
    "vhost_user.request == 12 && vhost_user.index == 0", "message == SET_VRING_*", "from == back-end",
    "fds && !reply || pending", "finding >= warning", "latency > 5ms", "fields.index in {1 2..4}",
    "vhost_user.features & 0x40000000", 'message matches "^SET" or not (session == 2)', "fields.rest",
    "vhost_user.size >= 4kib", "fds == kick and channel contains back", "vfio_user.error",
)  # fmt: skip


def filter_seeds() -> Iterator[bytes]:
    yield from (text.encode() for text in FILTERS)


@lru_cache
def book() -> explain.Book:
    return explain.Book(with_rules(explain.every()))


def explained(octets: bytes) -> None:
    """Any words name things, or have near ones, or neither."""
    text = octets.decode("utf-8", "replace")
    found = book().find(text)
    for subject in found[:3]:
        assert explain.render(subject.article(), 80)
    # near names take a thousand times as long
    if not found and octets[-1:] in (b"e", b"0", b"_"):
        assert all(isinstance(name, str) for name in book().near(text))


def explained_seeds() -> Iterator[bytes]:
    yield from (subject.name.encode() for subject in book().subjects[::17])
    yield from (b"front-end 12", b"virtio bit 33", b"SET_VRING_*", b"net config", b"VU-RPL-02", b"12", b"memory region")


@lru_cache
def _file() -> str:
    """A file to be written anew for each example; as long as the process lives."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="vhostspy-fuzz-", dir=memory)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return os.path.join(folder, "file")


def baseline(octets: bytes) -> None:
    """A file of accepted findings is read, or refused in a sentence."""
    Path(_file()).write_bytes(octets)
    try:
        known = read_baseline(_file())
    except WrongUse as wrong:
        assert str(wrong)
        return
    assert all(len(one) == 3 for one in known)


def baseline_seeds() -> Iterator[bytes]:
    yield b'{"vhostspy-baseline": 1, "findings": [{"rule": "VU-OWN-02", "who": "front-end", "text": "twice"}]}'
    yield b'{"vhostspy-baseline": 1, "findings": {}}'
    yield b"[" * 200


_CALLS = frozenset(("add", "add_features", "Message", "Layout", "Field", "Bytes", "Padding", "Names", "Fds", "Gate"))
_HARMLESS = (
    ast.Module, ast.Expr, ast.Assign, ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Name, ast.Load, ast.Store,
    ast.Call, ast.keyword, ast.UnaryOp, ast.USub, ast.Set,
)  # fmt: skip
PREFACE = "from vhostspy.dissectors.additions import *\nfrom vhostspy.dissectors.rows import *\n"


def dissector_file(octets: bytes) -> None:
    """A file for --dissector adds rows, or is refused in a sentence. Only files that call nothing else are run."""
    try:
        parts = [*ast.walk(ast.parse(octets))]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        parts = []
    for part in parts:
        harmless = isinstance(part, _HARMLESS)
        if not harmless or isinstance(part, ast.Call) and getattr(part.func, "id", "") not in _CALLS:
            return
    # what Python itself refuses goes in as it is
    text = PREFACE.encode() + octets if parts else octets
    Path(_file()).write_bytes(text)
    with _rows_as_they_were():
        try:
            load_dissectors([_file()])
        except WrongUse as wrong:
            assert str(wrong)


def dissector_seeds() -> Iterator[bytes]:
    yield (
        b'add("vhost-user", "main", Message("SHARE", 46, FRONT_END, request=(Layout("s", (Field("index", "u32"), '
        b'Bytes("b", "index")), "x"),), reply=None, source="x", text="y."))'
    )
    yield b'add_features("vhost-user", {24: "VRING_SHARE"})'
    yield b"("
    yield b"\0"


@lru_cache
def _tables() -> list[tuple[dict[tuple[int, int], Message], dict[tuple[int, int], Message]]]:
    # a table is for reading only, to all but who adds rows to it
    return [(cast("dict[Any, Message]", one.messages), dict(one.messages)) for _, one in CHANNELS]


class _rows_as_they_were:
    """Takes back what was added meanwhile."""

    def __enter__(self) -> None:
        _tables()
        self._features = [dict(protocol.features.names) if protocol.features else {} for protocol, _ in CHANNELS]

    def __exit__(self, *_: object) -> None:
        for now, before in _tables():
            if now != before:
                now.clear()
                now.update(before)
        for (protocol, _), features in zip(CHANNELS, self._features, strict=True):
            if protocol.features is not None and len(protocol.features.names) != len(features):
                names = protocol.features.names
                assert isinstance(names, dict)
                names.clear()
                names.update(features)


def added_row(octets: bytes) -> None:
    """A row made of anything is refused with ValueError, or reads and writes any payload."""
    source = Source(octets)
    protocol, channel = source.one_of(CHANNELS)
    kinds: tuple[IntType, ...] = ("u8", "u16", "u32", "u64", "i32", "i64")

    def name() -> str:
        return ("a", "b", "c", "count", "data", "size", "flags", "rest", "index", "Ab", "")[source.number() % 11]

    def member(depth: int) -> Member:
        how, called = source.number(), name()
        if how % 7 == 0:
            return Bytes(called, (None, source.number() % 40, name())[how // 7 % 3])
        if how % 7 == 1:
            of: Layout | IntType = layout(depth + 1) if depth < 2 else kinds[how % 6]
            return Array(called, of, (None, source.number() % 10, name())[how // 7 % 3])
        if how % 7 == 2:
            width = source.number() % 40
            parts = (Part(called, source.number() % 40, width, flag=bool(how & 64)), Part(name(), 3, 2))
            return Word(kinds[how // 7 % 6], parts)
        if how % 7 == 3:
            return Padding(source.number() % 9, called or "padding")
        if how % 7 == 4 and depth < 2:
            return Chain(called, (layout(depth + 1), layout(depth + 1)), name(), name())
        names = Names(("bits", "values")[how & 1], {source.number(): "X"}) if how & 64 else None
        return Field(called, kinds[how // 7 % 6], "", names, ("", "hex", "size", "result", "fourcc")[how % 5])

    def layout(depth: int = 0) -> Layout:
        when = (name(), (source.number(), 1)) if source.number() % 5 == 0 else None
        members = tuple(member(depth) for _ in range(source.number() % 5))
        return Layout("made", members, "fuzz", when=when, little_endian=bool(source.number() & 1))

    how = source.number()
    row = Message(
        "MADE" if how else "made", source.number(2), source.one_of((FRONT_END, BACK_END)),
        request=tuple(layout() for _ in range(how % 3)), reply=(layout(),) if how & 8 else None,
        answer=("ack", "reply", "never")[how % 3], source="fuzz", text="Made.",
        info="{a} {b:hex}|{count*thing}|", request_fds=Fds("memory", 0, 1),
    )  # fmt: skip
    with _rows_as_they_were():
        try:
            additions.add(protocol.name, channel.name, row)
        except ValueError:
            return
        for reply in (False, True):
            came = source.take(source.number())
            decoded = codec.decode(row, reply, came)
            again = codec.encode(row, reply, decoded.fields)
            # of several forms, some may have the same members: an empty one, and one of padding
            assert again == came or len(row.reply or () if reply else row.request) > 1
            assert codec.info_line(row, reply, decoded).isprintable()


def added_seeds() -> Iterator[bytes]:
    yield bytes([0, 1, 46, 0, 0, 1, 2, 5, 0, 70, 1, 1, 5, 9]) + bytes(40)
    yield bytes(range(1, 120))
