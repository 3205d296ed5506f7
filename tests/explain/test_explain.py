"""What can be looked up, under which names, and what is then said; the same for programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vhostspy.cli import main
from vhostspy.commands.explain import everything
from vhostspy.dissectors import explain, registry, virtio
from vhostspy.dissectors.explain import Book, columns, render
from vhostspy.dissectors.rows import BACK_END
from vhostspy.rules.catalogue import RULES

BOOK = everything()
ROOT = Path(__file__).parent.parent.parent


def titles(text: str) -> list[str]:
    return [subject.title for subject in BOOK.find(text)]


def said(name: str, width: int = 100, book: Book = BOOK) -> str:
    (subject,) = book.find(name)
    return "\n".join(render(subject.article(), width))


# fmt: off
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("SET_VRING_KICK", ["VHOST_USER_SET_VRING_KICK"]),
        ("VHOST_USER_SET_VRING_KICK", ["VHOST_USER_SET_VRING_KICK"]),
        ("set-vring-kick", ["VHOST_USER_SET_VRING_KICK"]),
        ("set vring kick", ["VHOST_USER_SET_VRING_KICK"]),
        ("SetVringKick", ["VHOST_USER_SET_VRING_KICK"]),
        ("message SET_VRING_KICK", ["VHOST_USER_SET_VRING_KICK"]),
        ("main 12", ["VHOST_USER_SET_VRING_KICK", "VFIO_USER_DMA_WRITE"]),
        ("front-end 12", ["VHOST_USER_SET_VRING_KICK"]),
        ("vhost-user main 12", ["VHOST_USER_SET_VRING_KICK"]),
        ("vfio-user 12", ["VFIO_USER_DMA_WRITE"]),
        ("client 5", ["VFIO_USER_DEVICE_GET_REGION_INFO"]),
        ("0x25", ["VHOST_USER_ADD_MEM_REG"]),
        ("backend channel 2", ["VHOST_USER_BACKEND_CONFIG_CHANGE_MSG"]),
        ("back-end 2", ["VHOST_USER_BACKEND_CONFIG_CHANGE_MSG", "VHOST_USER_GPU_SET_PROTOCOL_FEATURES"]),
        ("ADD_MEM_REG ack", ["VHOST_USER_ADD_MEM_REG"]),
        ("GET_CONFIG reply", ["VHOST_USER_GET_CONFIG"]),
        # older names
        ("SET_SLAVE_REQ_FD", ["VHOST_USER_SET_BACKEND_REQ_FD"]),
        ("VHOST_USER_SET_SLAVE_REQ_FD", ["VHOST_USER_SET_BACKEND_REQ_FD"]),
        ("VHOST_USER_SLAVE_VRING_CALL", ["VHOST_USER_BACKEND_VRING_CALL"]),
        ("CRYPTO_CREATE_SESS", ["VHOST_USER_CREATE_CRYPTO_SESSION"]),
        # one name, several things
        ("IOTLB_MSG", ["VHOST_USER_IOTLB_MSG", "VHOST_USER_BACKEND_IOTLB_MSG"]),
        ("RESET_DEVICE", [
            "VHOST_USER_RESET_OWNER", "VHOST_USER_RESET_DEVICE", "VHOST_USER_PROTOCOL_F_RESET_DEVICE"
        ]),
        ("F_MQ", ["VHOST_USER_PROTOCOL_F_MQ", "VIRTIO_NET_F_MQ", "VIRTIO_BLK_F_MQ"]),
        # bits
        ("VHOST_USER_PROTOCOL_F_MQ", ["VHOST_USER_PROTOCOL_F_MQ"]),
        ("protocol bit 3", ["VHOST_USER_PROTOCOL_F_REPLY_ACK"]),
        ("protocol feature 16", ["VHOST_USER_PROTOCOL_F_STATUS"]),
        ("VIRTIO_F_VERSION_1", ["VIRTIO_F_VERSION_1"]),
        ("VHOST_USER_F_PROTOCOL_FEATURES", ["VIRTIO_F_PROTOCOL_FEATURES"]),
        ("VHOST_F_LOG_ALL", ["VIRTIO_F_LOG_ALL"]),
        ("VIRTIO_F_RING_PACKED", ["VIRTIO_F_RING_PACKED"]),
        ("virtio bit 33", ["VIRTIO_F_ACCESS_PLATFORM"]),
        ("net mrg-rxbuf", ["VIRTIO_NET_F_MRG_RXBUF"]),
        ("VIRTIO_BLK_F_MQ", ["VIRTIO_BLK_F_MQ"]),
        ("net bit 15", ["VIRTIO_NET_F_MRG_RXBUF"]),
        ("DRIVER_OK", ["VIRTIO_CONFIG_S_DRIVER_OK"]),
        ("status bit 2", ["VIRTIO_CONFIG_S_DRIVER_OK"]),
        # devices
        ("net", ["virtio net"]),
        ("virtio-blk", ["virtio block"]),
        ("device 26", ["virtio fs"]),
        ("virtio_net_config", ["Network configuration"]),
        ("net config", ["Network configuration"]),
        # structures
        ("VERSION", ["VFIO_USER_VERSION"]),
        ("structure version", ["vfio-user structure version"]),
        ("memory region", ["vhost-user structure memory region"]),
        ("MemoryTable", ["vhost-user structure memory table"]),
        ("log_used", ["vhost-user structure vring address"]),
        ("capacity", ["Block configuration"]),
        ("NEED_REPLY", ["vhost-user structure header"]),
        # what something was called before, or is elsewhere
        ("VHOST_USER_PROTOCOL_F_SLAVE_REQ", ["VHOST_USER_PROTOCOL_F_BACKEND_REQ"]),
        ("VIRTIO_F_IOMMU_PLATFORM", ["VIRTIO_F_ACCESS_PLATFORM"]),
        ("VHOST_F_DEVICE_IOTLB", ["VIRTIO_F_ACCESS_PLATFORM"]),
        ("VHOST_NET_F_VIRTIO_NET_HDR", ["VIRTIO_F_ANY_LAYOUT"]),
        ("VIRTIO_BLK_F_WCE", ["VIRTIO_BLK_F_FLUSH"]),
        ("SHMEM_MAP", ["VHOST_USER_BACKEND_SHMEM_MAP", "VHOST_USER_BACKEND_SHMEM_MAP 1000"]),
        ("VHOST_USER_PROTOCOL_F_SHMEM_MAP", ["VHOST_USER_PROTOCOL_F_SHMEM"]),
        ("WAKE", ["VHOST_USER_CHECK_DEVICE_STATE"]),
        ("SNAPSHOT", ["VHOST_USER_GET_SHMEM_CONFIG"]),
        ("invalidate", ["vhost-user structure IOTLB message"]),
        # headings
        ("rules", [rule.id for rule in RULES]),
        ("virtio device status", [f"VIRTIO_CONFIG_S_{name}" for name in virtio.STATUS_BITS.names.values()]),
        # patterns
        ("SET_VRING_KI*", ["VHOST_USER_SET_VRING_KICK"]),
        ("vhost_user_backend_shmem_u*", [
            "VHOST_USER_BACKEND_SHMEM_UNMAP", "VHOST_USER_BACKEND_SHMEM_UNMAP 1001"
        ]),
        ("no such thing", []),
        ("…", []),
        ("", []),
    ],
)
# fmt: on
def test_any_spelling_leads_there(typed: str, found: list[str]) -> None:
    assert titles(typed) == found


def test_a_number_alone_is_that_of_a_message_of_any_channel() -> None:
    assert {"VHOST_USER_SET_VRING_KICK", "VFIO_USER_DMA_WRITE"} <= set(titles("12"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("SET_VRING_KIK", "SET_VRING_KICK"),
        ("SET_MEMTABEL", "SET_MEM_TABLE"),
        ("VHOST_USER_SET_SLAVE_FD", "SET_BACKEND_REQ_FD"),
        ("inflight", "GET_INFLIGHT_FD"),
        ("DRIVEROK", "DRIVER_OK"),
    ],
)
def test_a_near_miss_suggests(typed: str, meant: str) -> None:
    assert meant in BOOK.near(typed) or BOOK.find(typed)[0].name == meant


@pytest.mark.parametrize("typed", ["qqqqqqqqqqqq", "?", "bit 99", "virtio bit 99", "back-end 99", "ram", "kik"])
def test_nothing_is_near(typed: str) -> None:
    assert BOOK.near(typed) == []


def test_an_article_tells_what_the_row_knows() -> None:
    assert said("SET_BACKEND_REQ_FD", book=Book(explain.every())) == (
        "SET_BACKEND_REQ_FD  message 21 of vhost-user, main channel\n"
        "Hands over the socket of the back-end channel, in place of an earlier one.\n"
        "\n"
        "  written as   VHOST_USER_SET_BACKEND_REQ_FD\n"
        "  older names  SET_SLAVE_REQ_FD\n"
        "  sent by      front-end\n"
        "  needs        BACKEND_REQ (protocol feature bit 5)\n"
        "  answer       an acknowledgement, when NEED_REPLY asks for one\n"
        "  descriptors  socket: 1; becomes the backend channel\n"
        "  note         The text makes the acknowledgement a must with REPLY_ACK; peers send it when asked.\n"
        "  source       vhost-user, Front-end message types, VHOST_USER_SET_BACKEND_REQ_FD\n"
        "\n"
        "request: no payload\n"
        "\n"
        "acknowledgement, 8 bytes\n"
        "  offset  bytes  type  member\n"
        "       0      8  u64   value   0 is success\n"
        "\n"
        "for example, little-endian\n"
        "  15 00 00 00  request 21\n"
        "  01 00 00 00  flags version 1\n"
        "  00 00 00 00  size 0"
    )


def test_a_layout_has_offsets_sizes_and_bits() -> None:
    text = said("SET_VRING_ADDR")
    assert "      0      4  u32    index        number of the ring\n" in text
    assert "      4      4  u32    (bits)\n" in text
    assert "                bit 0  log_used     writes to the used ring go into the dirty log\n" in text
    assert "     32      8  u64    log_address  guest address under which used-ring writes are logged\n" in text
    assert "  00 00 00 00              index 0\n" in text


def test_the_usual_form_comes_first_and_is_the_example() -> None:
    text = said("SET_MEM_TABLE")
    forms = re.findall(r"^request: (.*), \d+ bytes", text, re.MULTILINE)
    assert forms == ["memory table", "memory table of 2014", "Xen memory table", "postcopy acknowledgement"]
    assert "  28 00 00 00              size 40\n" in text


def test_what_a_feature_bit_is_good_for() -> None:
    assert "lets be sent  SET_STATUS, GET_STATUS\n" in said("protocol bit 16")
    assert "changes     Xen memory table" in said("XEN_MMAP")
    assert "brings      configuration: max_virtqueue_pairs\n" in said("VIRTIO_NET_F_MQ")


@pytest.mark.parametrize("width", [20, 60, 80, 120])
def test_every_article_fits_its_width(width: int) -> None:
    for subject in BOOK.subjects:
        for line in render(subject.article(), width):
            # a table's columns before the last are never cut, nor is a word
            assert len(line) <= max(width, 72), subject.title
            assert line == line.rstrip() and line.isprintable(), subject.title


def test_every_subject_has_a_table() -> None:
    for subject in BOOK.subjects:
        value = json.loads(json.dumps(subject.value()))
        assert value["kind"] and value["name"] == subject.name


def test_titles_lead_to_one_subject_alone() -> None:
    assert [subject.title for subject in BOOK.subjects if BOOK.find(subject.title) != [subject]] == []


def test_everything_with_a_number_is_there() -> None:
    names = {(subject.group, subject.name) for subject in BOOK.subjects}
    for device in virtio.DEVICES.values():
        assert ("virtio devices", device.name) in names
    for protocol in registry.PROTOCOLS.values():
        for bit in (protocol.features.names if protocol.features else {}).values():
            assert (f"{protocol.name}, protocol features", bit) in names


def test_a_rule_and_the_messages_that_it_is_about() -> None:
    lines = said("vu-neg-17").splitlines()
    assert re.fullmatch(r"VU-NEG-17  rule, (error|warning|note)", lines[0])
    assert lines[1:4] == ["SET_FEATURES before the first SET_VRING_KICK.", "", "  looks at  SET_VRING_KICK (request)"]
    assert "\nrules about it\n" in said("SET_VRING_KICK")
    assert re.search(r"\n  VU-NEG-17 +\w+ +SET_FEATURES before the first SET_VRING_KICK\n", said("SET_VRING_KICK"))
    # what is true of every message is not said with each
    assert "VU-HDR-01" not in said("SET_VRING_KICK")
    assert {rule.id for rule in RULES} == {subject.name for subject in BOOK.subjects if subject.group == "rules"}


def test_columns_are_filled_downwards() -> None:
    assert list(columns(["a", "b", "c"], 10**6)) == ["  a  b  c"]
    assert list(columns(["aaaaaaaaaaaaaaaaaa", "b", "c"], 44)) == ["  aaaaaaaaaaaaaaaaaa  c", "  b"]
    assert list(columns([], 80)) == []


# -- the command -------------------------------------------------------------------------------------------------------


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["explain", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_words_need_no_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = explained(capsys, "set", "vring", "kick")
    assert status == 0
    assert out.startswith("SET_VRING_KICK  message 12 of vhost-user, main channel\n")
    assert "\x1b" not in out


def test_a_name_that_is_none_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(capsys, "SET_VRING_KIKC") == (
        2,
        "",
        "vhostspy explain: nothing is called 'SET_VRING_KIKC' "
        "(did you mean SET_VRING_KICK or VRING_KICK or SET_VRING_CALL?)\n",
    )
    assert explained(capsys, "qqqqqqqqqq") == (
        2,
        "",
        "vhostspy explain: nothing is called 'qqqqqqqqqq'; vhostspy explain lists all there is\n",
    )


def test_several_of_one_name_are_all_explained(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = explained(capsys, "IOTLB_MSG")
    assert "IOTLB_MSG  message 22 of vhost-user, main channel\n" in out
    assert "IOTLB_MSG  message 1 of vhost-user, backend channel\n" in out


def test_many_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    _, out, _ = explained(capsys, "SET_VRING_*")
    lines = out.splitlines()
    assert lines[0] == "vhost-user, main channel"
    assert [line.split()[0] for line in lines][1:3] == ["VHOST_USER_SET_VRING_NUM", "VHOST_USER_SET_VRING_ADDR"]
    assert all(len(line) <= 100 for line in lines)


def test_without_a_name_all_is_listed_by_group(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = explained(capsys)
    assert status == 0
    assert out.startswith("vhost-user, main channel\n")
    for heading in ("vhost-user, protocol features", "virtio devices", "vfio-user, main channel"):
        assert f"\n{heading}\n" in out
    assert " 12 SET_VRING_KICK " in out
    structures = out.partition("vhost-user, structures\n")[2].partition("\n\n")[0]
    assert structures.count("vring state") == 1


def json_lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    status, out, _ = explained(capsys, "--json", *words)
    assert status == 0
    return [json.loads(line) for line in out.splitlines()]


def test_json_is_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    head, *rest = json_lines(capsys)
    assert (head["kind"], head["format"]) == ("table", 1)
    messages = [one for one in rest if one["kind"] == "message"]
    rows = [
        row
        for protocol in registry.PROTOCOLS.values()
        for name, channel in protocol.channels.items()
        for main in channel.messages.values()
        for row in (main, *main.others)
        if not (name == "second" and row.sender == BACK_END)
    ]
    assert [(one["name"], one["id"]) for one in messages] == [(row.name, row.id) for row in rows]


def test_json_of_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = json_lines(capsys, "SET_VRING_KICK")
    assert {name: one[name] for name in ("kind", "protocol", "channel", "full_name", "id", "from", "answer")} == {
        "kind": "message",
        "protocol": "vhost-user",
        "channel": "main",
        "full_name": "VHOST_USER_SET_VRING_KICK",
        "id": 12,
        "from": "front-end",
        "answer": "ack",
    }
    assert one["request_fds"]["role"] == "kick"
    assert one["reply"] is None
    (layout,) = one["request"]
    assert (layout["name"], layout["size"]) == ("vring descriptor word", 8)
    (word,) = layout["members"]
    assert [(part["name"], part["low"], part["width"]) for part in word["parts"]] == [("index", 0, 8), ("nofd", 8, 1)]
    assert one["example"] == "0c00000001000000080000000000000000000000"


def test_colour_is_for_terminals_and_pipes_may_close() -> None:
    """A pipe that is closed early, as by ``head -1``, is no error."""
    command = [sys.executable, "-m", "vhostspy", "explain", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=os.environ) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline().startswith(b'{"kind": "table"')
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(20) == 0


def test_each_line_of_the_documentation_finds_something() -> None:
    text = (ROOT / "docs/explain.md").read_text("utf-8")
    examples = re.findall(r"^    vhostspy explain ('?)(.*?)\1(?: {2,}.*)?$", text, re.MULTILINE)
    assert len(examples) > 9
    for _, name in examples:
        assert not name or name.startswith("--json") or BOOK.find(name), name


def test_the_documentation_names_all_members(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs/explain.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_]+)`", text))

    def members(value: object) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(members, value))
        if not isinstance(value, dict):
            return set()
        # bits and values are keys too
        return {key for key in value if not key.isdigit()}.union(*map(members, value.values()))

    assert members(json_lines(capsys)) - named - {"kind", "format", "vhostspy"} == set()
