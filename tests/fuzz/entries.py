"""Each place where octets or text come in from outside, as a function that fails when something is wrong there.

What is allowed to come out is written in each: a value, ``WireError``, or the error which says that this is no such
thing. Everything else is found. ``seeds`` are examples to begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import octets, packets, sessions, written


class Entry(NamedTuple):
    """A way in. ``longest``: examples of more octets show nothing new."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    longest: int


ENTRIES = (
    Entry("payload", octets.payload, octets.payload_seeds, 2200),
    Entry("header", octets.header, octets.header_seeds, 40),
    Entry("configuration", octets.configuration, octets.configuration_seeds, 200),
    Entry("version_data", octets.version_data, octets.version_seeds, 300),
    Entry("stream", octets.stream, octets.stream_seeds, 400),
    Entry("session", sessions.session, sessions.session_seeds, 600),
    Entry("capture", sessions.capture, sessions.capture_seeds, 6000),
    Entry("index", sessions.indexed, sessions.capture_seeds, 6000),
    Entry("rings", octets.rings, octets.rings_seeds, 400),
    Entry("filter", written.filter_text, written.filter_seeds, 120),
    Entry("explain", written.explained, written.explained_seeds, 60),
    Entry("baseline", written.baseline, written.baseline_seeds, 300),
    Entry("dissector_file", written.dissector_file, written.dissector_seeds, 400),
    Entry("added_row", written.added_row, written.added_seeds, 300),
    Entry("scapy_message", packets.scapy_message, packets.scapy_seeds, 300),
    Entry("scapy_record", packets.scapy_record, packets.scapy_record_seeds, 800),
)
