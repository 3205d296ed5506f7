"""Whatever is recorded, cut, damaged, or still growing: an index is what a straight run is."""

from __future__ import annotations

import os
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from vhostspy.capture.reader import CaptureError
from vhostspy.filter import compile
from vhostspy.index import Index
from vhostspy.message import Message
from vhostspy.rules.engine import Rules

from ..capture.test_properties import Step, steps, written
from .straight import straight
from .test_index import assert_same, studied

FILTERS = ["message == SET_FEATURES", "reply || raw", "session == 1 && fds", "no > 2 || fields.features", "latency > 0"]


@settings(max_examples=60)
@given(st.lists(steps, max_size=8), st.integers())
def test_any_capture(script: list[Step], seed: int) -> None:
    data, _ = written(script)
    with studied(data) as index:
        run = straight(data, Rules())
        assert_same(index, run, seed)
        for text in FILTERS:
            filter = compile(text)
            search = index.matching(filter)
            while search.advance(0.01):
                pass
            assert list(search.rows) == [
                row for row, item in enumerate(run.items) if isinstance(item, Message) and filter(item)
            ]


def assert_same_file(data: bytes) -> None:
    run = straight(data)
    try:
        with studied(data, rules=False) as index:
            assert_same(index, run)
            assert index.damaged == bool(run.damage)
            assert index.note.startswith(run.damage)
    except CaptureError as error:
        assert str(error) == run.damage
        assert not run.items


@settings(max_examples=60)
@given(st.lists(steps, max_size=5), st.data())
def test_a_cut_capture(script: list[Step], more: st.DataObject) -> None:
    data, _ = written(script)
    assert_same_file(data[: more.draw(st.integers(0, len(data)))])


@settings(max_examples=200)
@given(st.lists(steps.filter(lambda step: len(step.octets) < 20_000), max_size=6), st.data())
def test_a_damaged_capture(script: list[Step], more: st.DataObject) -> None:
    data = bytearray(written(script * 2)[0])
    at = more.draw(st.integers(0, len(data) - 1))
    data[at] ^= more.draw(st.integers(1, 255))
    assert_same_file(bytes(data))


@settings(max_examples=40)
@given(st.lists(steps, max_size=6), st.data())
def test_a_growing_capture(script: list[Step], more: st.DataObject) -> None:
    data, _ = written(script)
    cuts = sorted(more.draw(st.lists(st.integers(12, len(data)), max_size=5)))
    file = os.memfd_create("growing", os.MFD_CLOEXEC)
    try:
        with Index(file, follow=True, rules=Rules()) as index:
            start = 0
            for cut in [*cuts, len(data)]:
                os.pwrite(file, data[start:cut], start)
                start = cut
                while index.advance(0.01):
                    pass
                assert index.studied == index.rows
                if index.rows:
                    index.item(index.rows - 1)
                    index.sessions(0)
            index.complete()
            while index.advance(0.01):
                pass
            assert index.done
            assert_same(index, straight(data, Rules()))
    finally:
        os.close(file)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_what_is_no_capture(data: bytes) -> None:
    with suppress(CaptureError), Index(data) as index:
        while index.advance(0.01):
            pass
        assert index.rows == 0
