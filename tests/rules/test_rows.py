"""What follows from a row: one conversation for each, in which it is right, and near ones in which it is not."""

from __future__ import annotations

from struct import pack

import pytest

from vhostspy.capture.record import Descriptor
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.registry import PROTOCOLS
from vhostspy.dissectors.rows import BACK_END, Message
from vhostspy.rules.gates import GATED

from ..pipeline.conversation import CALL, KICK, RAM
from .talk import Talk, broken, found

SOCKET = Descriptor("socket", "socket", "rw", 8, 5, name="socket:[5]")
PIPE = Descriptor("device-state", "pipe", "w", 8, 6, name="pipe:[6]")
KINDS = {"kick": KICK, "call": CALL, "err": KICK, "log-event": KICK, "socket": SOCKET, "device-state": PIPE}
ALL_PROTOCOL = (1 << 24) - 1
ALL_VIRTIO = 1 << 30 | 1 << 32 | 1 << 33
#: of the payload, where zeros would be wrong
PAYLOADS = {
    "GET_CONFIG": pack("<III4x", 0, 4, 0),
    "SET_CONFIG": pack("<III4x", 0, 4, 0),
    "GET_SHMEM_CONFIG": b"",
}
ROWS = [
    (channel, row)
    for channel in ("main", "backend")
    for row in PROTOCOLS["vhost-user"].channels[channel].messages.values()
    if 0 < row.id < 1000
]
NAMES = [f"{channel}:{row.name}" for channel, row in ROWS]
#: only these rules are spoken of here
FORM = ("VU-HDR-01", "VU-HDR-02", "VU-HDR-03", "VU-HDR-04", "VU-HDR-05", "VU-HDR-06", "VU-HDR-07", "VU-HDR-10")

SIZE_RULES = {
    "SET_MEM_TABLE": "VU-SZ-03", "ADD_MEM_REG": "VU-SZ-05", "REM_MEM_REG": "VU-SZ-05", "IOTLB_MSG": "VU-SZ-06",
    "GET_INFLIGHT_FD": "VU-SZ-07", "SET_INFLIGHT_FD": "VU-SZ-07", "GET_CONFIG": "VU-SZ-08", "SET_CONFIG": "VU-SZ-08",
    "GET_SHARED_OBJECT": "VU-SZ-09", "SET_LOG_BASE": "VU-SZ-10", "CREATE_CRYPTO_SESSION": "VU-SZ-11",
}  # fmt: skip
COUNT_RULES = {
    "SET_MEM_TABLE": "VU-FD-03", "SET_LOG_FD": "VU-FD-04", "SET_BACKEND_REQ_FD": "VU-FD-04",
    "SET_INFLIGHT_FD": "VU-FD-04", "GPU_SET_SOCKET": "VU-FD-04", "ADD_MEM_REG": "VU-FD-04",
    "SET_DEVICE_STATE_FD": "VU-FD-04", "SET_VRING_KICK": "VU-FD-05", "SET_VRING_CALL": "VU-FD-05",
    "SET_VRING_ERR": "VU-FD-05", "SET_LOG_BASE": "VU-FD-06", "SHMEM_MAP": "VU-FD-12", "SHMEM_UNMAP": "VU-FD-12",
    "SHARED_OBJECT_LOOKUP": "VU-FD-13",
}  # fmt: skip


def payload(row: Message) -> bytes:
    """The shortest that its first layout may have."""
    if row.name in PAYLOADS:
        return PAYLOADS[row.name]
    plans = [plan(layout, "<") for layout in row.request if not layout.postcopy]
    return bytes(plans[-1].least if row.name in ("SET_MEM_TABLE", "ADD_MEM_REG", "REM_MEM_REG") else plans[0].least) \
        if plans else b""  # fmt: skip


def descriptors(row: Message) -> tuple[Descriptor, ...]:
    """As many as it carries, of the right kind."""
    fds = row.request_fds
    count = 0 if fds.each else fds.least
    return (KINDS.get(fds.role, RAM)._replace(role=fds.role),) * count


def agreed(protocol: int = ALL_PROTOCOL & ~(1 << 17), virtio: int = ALL_VIRTIO) -> Talk:
    """All that may be agreed on is; messages 1 to 9 are spent."""
    talk = Talk()
    talk.front_end("SET_OWNER")
    talk.ask("GET_FEATURES", {"features": ALL_VIRTIO})
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": ALL_PROTOCOL})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=protocol)
    talk.front_end("SET_FEATURES", features=virtio)
    talk.items.clear()
    return talk


def send(
    talk: Talk, channel: str, row: Message, data: bytes, fds: tuple[Descriptor, ...], flags: int = 1, by: int = -1
) -> None:
    """The row's request, as its sender sends it, or as who should not."""
    header = pack("<III", row.id, flags, len(data))
    talk.octets(header + data, channel, row.sender if by < 0 else by, fds=fds)


def right(talk: Talk, *families: str) -> None:
    """Rules of these families that were asked have found nothing."""
    assert [rule for rule in sorted(talk.asked) if rule.startswith(families) and broken(talk, rule)] == []


def rules(talk: Talk) -> set[str]:
    return {rule for rule, severity, _, _ in found(talk) if rule.startswith(("VU-HDR", "VU-FD", "VU-SZ", "VU-NEG-05"))}


@pytest.mark.parametrize("channel, row", ROWS, ids=NAMES)
def test_a_message_as_its_row_has_it_is_fine(channel: str, row: Message) -> None:
    talk = agreed()
    send(talk, channel, row, payload(row), descriptors(row))
    right(talk, "VU-HDR", "VU-FD", "VU-SZ", "VU-NEG-05", *GATED.values(), "VU-RPL-07", "VU-RPL-16", "VU-BE-01")
    assert rules(talk) == set()
    assert not {rule for rule, *_ in found(talk)} & (set(GATED.values()) | {"VU-RPL-07", "VU-RPL-16", "VU-BE-01"})


@pytest.mark.parametrize("channel, row", ROWS, ids=NAMES)
def test_a_longer_payload_is_found(channel: str, row: Message) -> None:
    talk = agreed()
    # SET_VRING_CALL of size 9 and the like: no draft has such a size
    send(talk, channel, row, payload(row) + bytes(1), descriptors(row))
    assert rules(talk) - {"VU-HDR-11"} == {SIZE_RULES.get(row.name, "VU-SZ-01")}
    assert all(who == row.sender and no == 8 for rule, _, who, no in found(talk) if rule.startswith("VU-SZ"))


@pytest.mark.parametrize("channel, row", ROWS, ids=NAMES)
def test_one_descriptor_more_is_found(channel: str, row: Message) -> None:
    talk = agreed()
    more = RAM._replace(role=row.request_fds.role)
    send(talk, channel, row, payload(row), (*descriptors(row), more))
    wrong = {rule for rule in rules(talk) if rule != "VU-FD-14"}
    if row.name in ("REM_MEM_REG", "VRING_HOST_NOTIFIER_MSG"):
        return  # VU-MEM-12, VU-BE-07
    assert wrong == {COUNT_RULES.get(row.name, "VU-FD-02")}


GATES = [(channel, row) for channel, row in ROWS if row.needs and not row.needs[0].offered]


@pytest.mark.parametrize("channel, row", GATES, ids=[f"{channel}:{row.name}" for channel, row in GATES])
def test_a_message_whose_feature_was_not_agreed_on_is_found(channel: str, row: Message) -> None:
    gate = row.needs[0]
    without = ALL_PROTOCOL & ~(1 << 17), ALL_VIRTIO
    lacking = tuple(
        word & ~sum(1 << bit for bit in (gate.bit, *gate.drafts)) if gate.word == name else word
        for name, word in zip(("protocol", "virtio"), without, strict=True)
    )
    talk = agreed(*lacking)
    send(talk, channel, row, payload(row), descriptors(row))
    expected = GATED.get((channel, row.name), "VU-NEG-05")
    if expected in ("VU-BE-07", "VU-BE-09", "VU-IB-01", "VU-NEG-16"):
        return  # the gate is one of several conditions of these
    assert expected in {rule for rule, *_ in found(talk)}


def test_bits_that_drafts_had_excuse_but_do_not_make_it_right() -> None:
    talk = agreed(protocol=ALL_PROTOCOL & ~(1 << 22))
    talk.front_end("GET_SHMEM_CONFIG")
    assert [one[:2] for one in found(talk)] == [("VU-SHM-01", "warning")]


@pytest.mark.parametrize("channel, row", ROWS, ids=NAMES)
def test_a_request_of_the_wrong_end_is_found(channel: str, row: Message) -> None:
    talk = agreed()
    wrong = 1 - row.sender
    send(talk, channel, row, payload(row), descriptors(row), by=wrong)
    rule = "VU-RPL-07" if channel == "main" else "VU-RPL-16"
    assert (rule, "error", wrong, 8) in found(talk)


ACKED = [(channel, row) for channel, row in ROWS if row.answer == "ack" and row.reply is None]


@pytest.mark.parametrize("channel, row", ACKED, ids=[f"{channel}:{row.name}" for channel, row in ACKED])
def test_an_acknowledgement_that_was_asked_for_is_fine_and_another_is_not(channel: str, row: Message) -> None:
    talk = agreed()
    send(talk, channel, row, payload(row), descriptors(row), flags=9)
    ack = pack("<IIIQ", row.id, 5, 8, 0)
    talk.octets(ack, channel, 1 - row.sender)
    assert not any(rule.startswith(("VU-RPL", "VU-SZ")) for rule, *_ in found(talk))
    talk.octets(ack, channel, 1 - row.sender)
    # of a name that came before without NEED_REPLY: that one is now acknowledged
    rules = {"main": {"VU-RPL-07", "VU-RPL-03"}, "backend": {"VU-RPL-16"}}
    assert {rule for rule, severity, who, no in found(talk) if (severity, who, no) == ("error", 1 - row.sender, 10)} & (
        rules[channel]
    )


@pytest.mark.parametrize("channel, row", ACKED, ids=[f"{channel}:{row.name}" for channel, row in ACKED])
def test_an_acknowledgement_has_eight_bytes(channel: str, row: Message) -> None:
    talk = agreed()
    send(talk, channel, row, payload(row), descriptors(row), flags=9)
    talk.octets(pack("<IIII", row.id, 5, 4, 0), channel, 1 - row.sender)
    assert ("VU-SZ-13", "error", 1 - row.sender, 9) in found(talk)


def test_every_row_is_here() -> None:
    """A new message is a new row, and with it all of the above."""
    assert {row.sender for channel, row in ROWS if channel == "backend"} == {BACK_END}
    assert len(ROWS) > 50
