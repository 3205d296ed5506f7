"""Whatever is recorded is read again; all else gives records, a note or a CaptureError, nothing else."""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vhostspy.capture.lane import Lane
from vhostspy.capture.pcapng import section_header
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import (
    CHANGED,
    DROPPED,
    EVENT,
    INCOMPLETE,
    INJECTED,
    LATE_FDS,
    MESSAGE,
    ORIGINAL,
    RAW,
    SNAPPED,
    UNSURE_FDS,
    Record,
)
from vhostspy.capture.writer import Writer

from .support import ROWS, VFIO_ROWS, message

WALL = 1_700_000_000_000_000_000


class Step(NamedTuple):
    """One call of the relay."""

    how: str
    lane: int
    octets: bytes
    cuts: list[int]
    wall: int
    mono: int
    span: int
    reads: int
    flags: int
    fds: int
    flush: bool


#: channel, sender, session, number, protocol, rows
LANES = (
    ("main", 0, 1, 1, "vhost-user", ROWS),
    ("main", 1, 1, 1, "vhost-user", ROWS),
    ("backend", 1, 1, 2, "vhost-user", None),
    ("gpu", 1, 2, 3, "vhost-user-gpu", None),
    ("main", 0, 3, 1, "vfio-user", VFIO_ROWS),
)

octets = st.one_of(
    st.builds(message, st.integers(0, 50), st.integers(0, 15), st.binary(max_size=40)),
    st.binary(max_size=100),
    st.builds(lambda size, fill: bytes([fill]) * size, st.integers(16_000, 17_000), st.integers(0, 255)),
    st.builds(lambda size, fill: bytes([fill]) * size, st.integers(261_000, 530_000), st.integers(0, 255)),
)
steps = st.builds(
    Step,
    how=st.sampled_from(["plain", "message", "raw", "event", "long", "broken"]),
    lane=st.integers(0, len(LANES) - 1),
    octets=octets,
    cuts=st.lists(st.integers(1, 300_000), max_size=4),
    wall=st.integers(WALL, WALL + 10_000_000_000),
    mono=st.integers(0, 1 << 62),
    span=st.integers(0, 1 << 40),
    reads=st.integers(1, 100),
    flags=st.sampled_from([0, CHANGED, INJECTED, DROPPED, LATE_FDS, UNSURE_FDS, CHANGED | 3 << 24]),
    fds=st.sampled_from([0, 0, 0, 1, 9]),
    flush=st.booleans(),
)


def written(script: list[Step], snaplen: int | None = None) -> tuple[bytes, list[tuple[object, ...]]]:
    """The file that these calls make, and of each record what a reader must give."""
    fd = os.memfd_create("capture", os.MFD_CLOEXEC)
    copy = os.dup(fd)
    writer = Writer(fd, snaplen=snaplen)
    try:
        lanes = [writer.lane(*lane) for lane in LANES]
        expected = [_run(writer, lanes[step.lane], step, snaplen) for step in script]
    finally:
        writer.close()
    assert writer.error is None
    assert not writer.lost_messages
    with os.fdopen(copy, "rb") as file:
        file.seek(0)
        return file.read(), expected


def _run(writer: Writer, lane: Lane, step: Step, snaplen: int | None) -> tuple[object, ...]:
    channel, sender, session, channel_no, protocol, _ = LANES[step.lane]
    view = memoryview(step.octets)
    flags, span, reads, fds = step.flags, step.span, step.reads, step.fds
    kind = MESSAGE
    data = step.octets
    length = len(data)
    if step.how == "plain":
        lane.plain(view, step.wall, step.mono)
        flags = span = fds = 0
        reads = 1
    elif step.how in ("message", "raw"):
        call = lane.message if step.how == "message" else lane.raw
        call(view, step.wall, step.mono, span, reads, flags, [os.eventfd(0) for _ in range(fds)], 0)
        kind = MESSAGE if step.how == "message" else RAW
    elif step.how == "event":
        kind = EVENT
        writer.event({"event": "note", "text": step.octets[:50].hex()}, step.wall, step.mono)
        data = f'{{"event": "note", "text": "{step.octets[:50].hex()}"}}'.encode()
        length = len(data)
        channel, sender, session, channel_no, protocol = "", 2, 0, 0, ""
        flags = span = fds = 0
        reads = 1
    else:
        pieces = []
        for cut in step.cuts:
            pieces.append(view[:cut])
            view = view[cut:]
        pieces.append(view)
        if step.how == "broken":
            length += 1
        lane.begin(length, pieces[0], step.wall, step.mono, 0, 1, flags, [os.eventfd(0) for _ in range(fds)], 0)
        for piece in pieces[1:]:
            if step.flush:
                writer.flush(step.mono)
            lane.add(piece, step.mono + 7)
        # what was there before the last octet came is all that was added
        whole = step.how == "long"
        needed = 1
        got = len(pieces[0])
        for piece in pieces[1:]:
            if got >= min(length, snaplen or length):
                break
            needed += 1
            got += len(piece)
        reads, span = needed, 7 if needed > 1 else 0
        lane.finish()
        if not whole and (snaplen is None or snaplen > len(data)):
            flags |= INCOMPLETE
    kept = data if kind == EVENT or snaplen is None else data[:snaplen]
    if len(kept) < length and not flags & INCOMPLETE:
        flags |= SNAPPED
    if step.flush:
        writer.flush(step.mono)
    number = 0 if kind == EVENT else writer.number
    return (
        kind, number, step.wall, step.mono, span, session, protocol, channel, channel_no, sender, flags, reads,
        length, kept, fds,
    )  # fmt: skip


def summary(record: Record) -> tuple[object, ...]:
    return (
        record.kind, record.number, record.time_ns, record.monotonic_ns, record.span_ns, record.session,
        record.protocol, record.channel, record.channel_no, record.sender, record.flags, record.reads, record.length,
        record.data, len(record.fds),
    )  # fmt: skip


def read(data: bytes) -> tuple[list[Record], str, CaptureError | None]:
    found = []
    with Reader(data) as reader:
        try:
            for record in reader:
                found.append(record)
        except CaptureError as error:
            return found, reader.note, error
        return found, reader.note, None


@settings(max_examples=60)
@given(st.lists(steps, max_size=8))
@example([])
def test_what_is_recorded_is_read(script: list[Step]) -> None:
    data, expected = written(script)
    found, note, error = read(data)
    assert (note, error) == ("", None)
    assert [summary(record) for record in found] == expected


@settings(max_examples=30)
@given(st.lists(steps, max_size=5), st.integers(0, 20_000))
def test_with_a_snap_length_too(script: list[Step], snaplen: int) -> None:
    data, expected = written(script, snaplen)
    found, note, error = read(data)
    assert (note, error) == ("", None)
    assert [summary(record)[-3:] for record in found] == [one[-3:] for one in expected]


@settings(max_examples=60)
@given(st.lists(steps, max_size=5), st.data())
def test_any_cut_leaves_what_lies_before_it(script: list[Step], more: st.DataObject) -> None:
    data, _ = written(script)
    whole, _, _ = read(data)
    cut = more.draw(st.integers(0, len(data)))
    found, note, error = read(data[:cut])
    if cut < 12:
        assert error is not None
        assert not found
        return
    assert error is None
    while found and found[-1].flags & INCOMPLETE and found[-1] not in whole:
        # a long message of which some records are there
        last = found.pop()
        assert any(one.data.startswith(last.data) and one.time_ns == last.time_ns for one in whole)
    assert found == whole[: len(found)]
    if cut == len(data):
        assert note == ""
    elif not note:
        # cut exactly between two blocks
        assert int.from_bytes(data[cut : cut + 4], "little") in (1, 4, 6)


@settings(max_examples=150)
@given(st.lists(steps.filter(lambda step: len(step.octets) < 20_000), max_size=4), st.data())
def test_any_flipped_byte_gives_records_or_an_error(script: list[Step], more: st.DataObject) -> None:
    data = bytearray(written(script)[0])
    at = more.draw(st.integers(0, len(data) - 1))
    data[at] ^= more.draw(st.integers(1, 255))
    read(bytes(data))


@given(st.binary(max_size=300))
@example(b"")
@example(b"\n\r\r\n")
def test_any_other_file_is_no_capture(data: bytes) -> None:
    found, note, error = read(data)
    assert not found
    assert error is not None or note


@settings(max_examples=300)
@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"\6\0\0\0", b"\1\0\0\0", b"\x20\0\0\0"])), max_size=9)
)
def test_any_octets_behind_a_section_header(parts: list[bytes]) -> None:
    read(section_header("x") + b"".join(parts))


@pytest.mark.fuzz
@settings(max_examples=5000)
@given(st.lists(steps, max_size=4), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6))
def test_many_flipped_bytes(script: list[Step], flips: list[tuple[int, int]]) -> None:
    data = bytearray(written(script)[0])
    for at, value in flips:
        data[at % len(data)] = value
    read(bytes(data))


def test_an_original_goes_before_its_changed_form() -> None:
    fd = os.memfd_create("capture", os.MFD_CLOEXEC)
    writer = Writer(os.dup(fd))
    lane = writer.lane(*LANES[1])
    long = message(1, 5, bytes(20_000))
    lane.message(memoryview(long), WALL, 5, flags=ORIGINAL)
    lane.message(memoryview(message(1, 5, b"x")), WALL, 5, flags=CHANGED)
    lane.plain(memoryview(message(1, 5, b"x")), WALL, 5)
    writer.close()
    with Reader(fd) as reader:
        assert [(record.number, record.flags) for record in reader] == [(1, ORIGINAL), (1, CHANGED), (2, 0)]
    os.close(fd)


class Side(NamedTuple):
    """What happens on one lane of several: octets of a long message, or a short one."""

    lane: int
    size: int
    short: bool
    ends: bool
    flush: bool


sides = st.builds(
    Side,
    st.integers(0, 2),
    st.sampled_from([1, 100, 20_000, 261_936, 300_000]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=60)
@given(st.lists(sides, max_size=30), st.booleans())
def test_messages_side_by_side_are_numbered_as_they_lie_in_the_file(script: list[Side], pipe: bool) -> None:
    length = 600_000
    fd = os.memfd_create("capture", os.MFD_CLOEXEC)
    writer = Writer(os.dup(fd))
    writer.seekable = not pipe
    lanes = [writer.lane(*lane) for lane in (LANES[0], LANES[1], LANES[4])]
    left: list[int] = [0, 0, 0]
    expected: list[tuple[int, int]] = []
    for now, side in enumerate(script):
        lane = lanes[side.lane]
        if side.short:
            lane.plain(memoryview(message(2, payload=bytes(side.size % 200))), WALL + now, now)
            expected.append((side.lane, 12 + side.size % 200))
        elif not left[side.lane]:
            lane.begin(length, memoryview(bytes([now]) * side.size), WALL + now, now)
            left[side.lane] = length - side.size
        else:
            lane.add(memoryview(bytes([now]) * min(side.size, left[side.lane])), now)
            left[side.lane] -= min(side.size, left[side.lane])
            if not left[side.lane]:
                expected.append((side.lane, length))
        if side.ends and left[side.lane]:
            lane.finish()
            expected.append((side.lane, length - left[side.lane]))
            left[side.lane] = 0
        if side.flush:
            writer.flush(now)
    for number, lane in enumerate(lanes):
        if left[number]:
            lane.finish()
            expected.append((number, length - left[number]))
    writer.close()
    assert writer.error is None
    os.lseek(fd, 0, os.SEEK_SET)
    with Reader(fd) as reader:
        found = list(reader)
        assert reader.note == ""
    os.close(fd)
    assert [record.number for record in found] == list(range(1, len(expected) + 1))
    places = {("main", 0, 1): 0, ("main", 1, 1): 1, ("main", 0, 3): 2}
    assert [(places[one.channel, one.sender, one.session], len(one.data)) for one in found] == expected
