"""What people see: the columns, the names of values, arrows, latencies, colours; and what filters find."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as xml
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.dissectors.samples import SAMPLES
from vhostspy import filter as filters
from vhostspy import wireshark
from vhostspy.capture.reader import Reader
from vhostspy.capture.record import EVENT
from vhostspy.message import Event, Message
from vhostspy.output.text import descriptors
from vhostspy.pipeline import Item, Pipeline

from .compare import messages
from .synthetic import said, write
from .tshark import Tshark

CAPTURES = Path(__file__).parent.parent.parent / "captures"
DOCUMENT = (CAPTURES.parent / "docs/wireshark.md").read_text("utf-8")
#: QEMU and a storage daemon, twice set up
SESSION = CAPTURES / "c.pcapng"


@pytest.fixture
def session(tshark: Tshark) -> Path:
    return tshark.file("session.pcapng", SESSION.read_bytes())


def title(message: Message) -> str:
    if message.kind == "raw":
        return "(unread octets)"
    if message.name is None:
        return f"unknown {'reply' if message.is_reply else 'message'} {message.id}"
    return f"{message.name} ack" if message.kind == "ack" else message.name


def told(item: Item) -> str:
    if isinstance(item, Event):
        return item.text
    about = [title(item), item.info, descriptors(item) if item.fds else ""]
    return "  ".join(part for part in about if part)


def lines(path: Path) -> list[str]:
    """Of each record what the list is to show."""
    pipeline = Pipeline()
    found: list[str] = []
    with Reader(path) as reader:
        for record in reader:
            items = pipeline.feed(record)
            if record.kind == EVENT:
                # the pipeline has more to say of ends than the record
                found.append(json.loads(record.data)["text"])
            else:
                found += [told(item) for item in items if isinstance(item, Message)]
    return found


def test_info_column_is_our_line(tshark: Tshark, session: Path) -> None:
    assert tshark.column(session) == lines(session)


def test_info_column_of_every_sample(tshark: Tshark) -> None:
    capture = write(tshark.folder / "list.pcapng", [said(sample) for sample in SAMPLES if not sample.context.device])
    # a list shows what is not ASCII in its own way
    plain = [line for line in zip(tshark.column(capture), lines(capture), strict=True) if line[1].isascii()]
    assert len(plain) > 200
    assert [theirs.rstrip() for theirs, _ in plain] == [ours.rstrip() for _, ours in plain]


def test_protocol_and_ends(tshark: Tshark, session: Path) -> None:
    found = set(tshark.run("-N", "n", "-r", session, "-T", "fields", *columns("Protocol", "Source")).splitlines())
    assert found >= {"vhost-user\tfront-end", "vhost-user\tback-end", "vhostspy\tfront-end"}


def columns(*names: str) -> list[str]:
    return [part for name in names for part in ("-e", f"_ws.col.{name}")]


def test_values_have_their_names(tshark: Tshark) -> None:
    capture = write(tshark.folder / "names.pcapng", [said(sample) for sample in SAMPLES if not sample.context.device])
    known = {message.no: message for message in messages(capture)}
    tree = xml.fromstring(tshark.run("-r", capture, "-T", "pdml"))
    checked = 0
    for packet in tree.iter("packet"):
        number = int(
            next(field.get("show", "") for field in packet.iter("field") if field.get("name") == "vhostspy.no")
        )
        if not number:
            continue
        message = known[number]
        prefix = message.protocol.replace("-", "_")
        shown = [(field.get("name", ""), field.get("showname", "")) for field in packet.iter("field")]
        for name, called in value_names(message.names):
            texts = [text for field, text in shown if field == f"{prefix}.{name}"]
            assert any(f"{called} (" in text for text in texts), (message.name, name, called, texts)
            checked += 1
    assert checked > 30


def value_names(names: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What single values are called, at any depth."""
    found: list[tuple[str, str]] = []
    for name, called in names.items():
        if isinstance(called, str):
            found.append((name, called))
        elif isinstance(called, list):
            for each in called:
                found += value_names(each) if isinstance(each, dict) else []
    return found


def test_configuration_space_of_a_known_device(tshark: Tshark) -> None:
    samples = [said(sample) for sample in SAMPLES if sample.context.device == "net"]
    capture = write(tshark.folder / "config.pcapng", samples, "net")
    found = tshark.run(
        "-r", capture, "-Y", "vhost_user.config.mtu == 1500", "-T", "fields", "-e", "vhost_user.config.mac"
    )
    assert "525400123456" in found.replace(":", "").split()


# filters that mean the same in both languages, but for the short forms
FILTERS = [
    "vhost_user.request == 12",
    "vhost_user.request == 12 && vhost_user.index == 0",
    "vhost_user.flags & 0x8",
    "vhost_user.size == 0",
    "vhost_user.guest_address == 0",
    "vhost_user.length >= 0x10000",
    "vhost_user.log_used == 1",
    "vhost_user.mmap_offset > 0 or vhost_user.num in {128, 256}",
    "!(vhost_user.index == 1) && vhost_user.index",
]


@pytest.mark.parametrize("text", FILTERS)
def test_filters_find_the_same(tshark: Tshark, session: Path, text: str) -> None:
    test = filters.compile(text)
    expected = [str(message.no) for message in messages(session) if test(message)]
    assert tshark.run("-r", session, "-Y", text, "-T", "fields", "-e", "vhostspy.no").split() == expected


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("message == SET_VRING_KICK", 'vhostspy.message == "SET_VRING_KICK"'),
        ("from == back-end", 'vhostspy.from == "back-end" && vhostspy.message'),
        ("reply", 'vhostspy.kind in {"reply", "ack"}'),
        ("channel == main", 'vhostspy.channel == "main" && vhostspy.message'),
        ("fds", "vhostspy.fds > 0"),
        ("fds == kick", 'vhostspy.fd.role == "kick"'),
        ("need_reply", "vhostspy.need_reply"),
        ("latency > 1ms", "vhost_user.time > 0.001"),
        ("fields.features == VERSION_1", "vhost_user.features.version_1"),
        ("vhost_user.request == SET_VRING_KICK", 'vhost_user.request == "SET_VRING_KICK"'),
        ("session == 1 && no < 10", "vhostspy.session == 1 && vhostspy.no < 10 && vhostspy.no > 0"),
    ],
)
def test_short_forms_of_filters(tshark: Tshark, session: Path, short: str, long: str) -> None:
    test = filters.compile(short)
    expected = [str(message.no) for message in messages(session) if test(message)]
    assert expected
    assert tshark.run("-r", session, "-Y", long, "-T", "fields", "-e", "vhostspy.no").split() == expected


def test_answers_and_requests_are_linked(tshark: Tshark, session: Path) -> None:
    """In two passes, as in the window, a request knows its answer as well."""
    fields = ("frame.number", "vhost_user.response_in", "vhost_user.response_to", "vhost_user.time")
    wanted = [part for field in fields for part in ("-e", field)]
    rows = [row.split("\t") for row in tshark.run("-2", "-r", session, "-T", "fields", *wanted).splitlines()]
    answers = {number: to for number, _, to, _ in rows if to}
    requests = {number: answer for number, answer, _, _ in rows if answer}
    assert answers and {to: number for number, to in answers.items()} == requests
    known = {message.no: message for message in messages(session)}
    latencies = [message.latency_ns for message in known.values() if message.latency_ns is not None]
    assert [round(float(time) * 1e9) for *_, time in rows if time] == latencies


def test_latencies_are_summed_by_tshark(tshark: Tshark, session: Path) -> None:
    text = tshark.run("-q", "-r", session, "-z", "io,stat,0,AVG(vhost_user.time)vhost_user.time")
    assert re.search(r"\| +\d\.\d{6,} +\|", text), text


def test_flow_graph_has_arrows(tshark: Tshark, session: Path) -> None:
    text = tshark.run("-N", "n", "-q", "-r", session, "-z", "flow,any,standard")
    assert "front-end" in text and re.search(r"-+>", text) and re.search(r"<-+", text)
    assert "vhost-user: SET_OWNER" in text


def conversations(text: str) -> list[tuple[str, str, int, int]]:
    """The ends, and how many packets went from the first to the second and back."""
    pattern = r"^([\w-]+(?::\d+)?) +<-> ([\w-]+(?::\d+)?) +(\d+) [\d.]+ (?:bytes|[kM]B) +(\d+) "
    return [(one, other, int(there), int(back)) for one, other, back, there in re.findall(pattern, text, re.MULTILINE)]


@pytest.mark.parametrize(("name", "ends"), [("l", "front-end back-end"), ("vfio-user-synthetic", "client server")])
def test_conversations_are_between_the_ends(tshark: Tshark, name: str, ends: str) -> None:
    """By session and channel; nothing of that is in the tree."""
    path = tshark.file("session.pcapng", (CAPTURES / f"{name}.pcapng").read_bytes())
    said = messages(path)
    front, back = ends.split()
    found: dict[tuple[str, str], int] = {}
    for one, other, there, here in conversations(tshark.run("-N", "n", "-q", "-r", path, "-z", "conv,udp")):
        found |= {(one, other): there, (other, one): here}
    for port, channel in ((1, "main"), (2, "backend"), (4, "second")):
        sent = [sum(each.channel == channel and each.sender == end for each in said) for end in (0, 1)]
        one, other = f"{front}:1", f"{back}:{port}"
        assert [found.get((one, other), 0), found.get((other, one), 0)] == sent
    assert front in tshark.run("-N", "n", "-q", "-r", path, "-z", "endpoints,udp")
    assert "User Datagram" not in tshark.run("-r", path, "-V", "-c", "9")
    off = tshark.run("-o", "vhostspy.conversations:FALSE", "-q", "-r", path, "-z", "conv,udp")
    assert conversations(off) == []


def test_a_port_of_a_session_has_no_meaning(tshark: Tshark) -> None:
    """Session 53 is no name service."""
    path = write(tshark.folder / "many.pcapng", [said(SAMPLES[0])] * 60)
    text = tshark.run("-r", path, "-V")
    assert "Domain Name System" not in text and "Malformed" not in text


@pytest.mark.parametrize(
    ("protocol", "octets", "line"),
    [
        ("vhost_user", "01000000 05000000 08000000 0000004001000000", "GET_FEATURES  0x140000000"),
        ("vhost_user", "0c000000 01000000 08000000 0300000000000000", "SET_VRING_KICK  ring 3"),
        ("vhost_user_gpu", "04000000 00000000 0c000000 00000000 05000000 06000000", "CURSOR_POS  scanout 0 at 5,6"),
        (
            "vfio_user",
            "0100 0b00 20000000 00000000 00000000 0010000000000000 4000000000000000",
            "DMA_READ  64 bytes at 0x1000",
        ),
    ],
)
def test_messages_that_lie_elsewhere(tshark: Tshark, protocol: str, octets: str, line: str) -> None:
    """As the document says: link type USER0, and nothing but the message."""
    data = bytes.fromhex(octets)
    packet = b"".join(number.to_bytes(4, "little") for number in (0, 0, len(data), len(data))) + data
    # pcap 2.4, at most 64 KiB a packet, link type 147
    head = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000100 93000000")
    dump = tshark.file("dump.pcap", head + packet)
    (table,) = re.findall(r"tshark -o 'uat:(.*?)' -r dump.pcap", DOCUMENT)
    assert tshark.column(dump, "%i", "-o", f"uat:{table.replace('vhost_user', protocol)}") == [line]


def test_colour_rules_are_filters(tshark: Tshark, session: Path) -> None:
    rules = [line.split("@") for line in wireshark.colours().splitlines() if not line.startswith("#")]
    for _, name, _, colours in rules:
        assert name.startswith("vhostspy: ")
        assert re.fullmatch(r"\[\d+,\d+,\d+\]\[\d+,\d+,\d+\]", colours)
    tshark.run("-r", session, "-Y", " || ".join(f"({test})" for _, _, test, _ in rules))


def test_long_messages_are_put_together(tshark: Tshark) -> None:
    """Parts are shown with their place; the packet that completes the message has all of it."""
    sample = next(sample for sample in SAMPLES if sample.protocol == "vfio-user" and sample.message == "REGION_WRITE")
    data = bytes(range(256)) * 2000
    head = bytes.fromhex(sample.octets)
    # offset u64, region u32, count u32, then the data
    payload = head[:12] + len(data).to_bytes(4, "little") + data
    capture = write(tshark.folder / "long.pcapng", [said(sample, payload)])
    shown = tshark.column(capture)
    assert shown[1].startswith("(part)  bytes 0 to ")
    assert shown[-1].startswith("REGION_WRITE  ")
    text = tshark.run(
        "-2", "-r", capture, "-T", "fields", "-e", "vhostspy.whole_in", "-e", "vhostspy.part", "-e", "vfio_user.data"
    )
    rows = [row.split("\t") for row in text.splitlines()]
    last = str(len(rows))
    assert [row[0] for row in rows[1:-1]] == [last] * (len(rows) - 2)
    assert rows[-1][1].split(",") == [str(number) for number in range(2, len(rows))]
    assert rows[-1][2] == data.hex()
