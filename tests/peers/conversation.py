"""What two programs said to each other, as text that is the same from run to run.

Addresses, times and the number of tries differ each time; what stays is which requests come, in which order, for which
ring, with which descriptors, and how they are answered. So each request is one line with its answer behind it:

    session 1
      main
        GET_FEATURES = reply
        SET_VRING_CALL ring 0 + eventfd
        ADD_MEM_REG + memfd = ack 0
          and again
      main, any time: SET_VRING_CALL + eventfd
      back-end ended it

``and again`` stands for the same once more, or many times. A request that is repeated whenever the guest likes (a call
descriptor changed as interrupts are masked, an IOTLB miss, pixels, an access to a region) is not a step but named after
them, with "any time".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Line = Mapping[str, Any]

#: requests whose number and moment depend on the guest's and the programs' timing; the first SET_VRING_CALL of a ring,
#: which sets the ring up, is a step
ANY_TIME = {"SET_VRING_CALL", "IOTLB_MSG", "UPDATE", "REGION_READ", "REGION_WRITE", "REGION_WRITE_MULTI"}

#: so many steps that repeat as a whole are seen as a repetition
LONGEST_BLOCK = 4


#: protocol feature bit PAGEFAULT, which qemu-storage-daemon and virtiofsd offer only if the user may use userfaultfd
PAGEFAULT = 1 << 8


def _protocol_features(line: Line) -> str:
    return f" {line['fields']['protocol_features'] & ~PAGEFAULT:#x}"


def _answer(reply: Line | None) -> str:
    if reply is None:
        return ""
    if reply["kind"] == "ack":
        return f" = ack {reply['fields'].get('value', reply['fields'])}"
    value = ""
    if reply["message"] == "GET_PROTOCOL_FEATURES":
        value = _protocol_features(reply)
    if reply.get("error"):
        return f" = error {reply['error']}"
    changed = ", changed by us" if "changed" in reply else ""
    return f" = reply{value}{_descriptors(reply)}{changed}"


def _descriptors(line: Line) -> str:
    kinds = [fd["kind"] for fd in line["fds"]]
    return f" + {' '.join(kinds)}" if kinds else ""


def _ring(line: Line) -> int | None:
    """The ring that a request is about: a member of its own, or the low bits of a word."""
    index = line["fields"].get("index")
    return index if isinstance(index, int) and "VRING" in str(line["message"]) else None


def _value(request: Line) -> str:
    """What a request says, where that is the same each time and more than a size or an address."""
    names = request["names"]
    match request["message"]:
        case "SET_PROTOCOL_FEATURES":
            return _protocol_features(request)
        case "SET_VRING_ENABLE":
            return f" {names['num']}"
        case "SET_STATUS":
            return f" {' '.join(names.get('status', ['0']))}"
        case "SET_FEATURES" if "LOG_ALL" in names["features"]:
            return " with LOG_ALL"
        case "VERSION":
            return f" {request['fields']['major']}.{request['fields']['minor']}"
        case "DEVICE_GET_REGION_INFO" | "DEVICE_GET_IRQ_INFO":
            return f" {names['index']}"
        case "DEVICE_SET_IRQS":
            return f" {names['index']} {' '.join(names['irq_flags'])} × {request['fields']['count']}"
        case "REGION_READ" | "REGION_WRITE":
            return f" {names['region']}"
        case "DMA_MAP":
            return f" {' '.join(names['dma_flags'])}"
    return ""


def _step(request: Line, reply: Line | None) -> str:
    ring = _ring(request)
    where = "" if ring is None else f" ring {ring}"
    name = request["message"] or f"message {request['id']}"
    return f"{name}{where}{_value(request)}{_descriptors(request)}{_answer(reply)}"


def _folded(steps: list[str]) -> list[str]:
    """One or several steps that come again right behind themselves, as one time and a line that says so."""
    folded: list[str] = []
    at = 0
    while at < len(steps):
        for width in range(1, LONGEST_BLOCK + 1):
            block = steps[at : at + width]
            behind = at + width
            while steps[behind : behind + width] == block:
                behind += width
            if behind > at + width:
                folded += [*block, "  and again" if width == 1 else f"  and these {width} again"]
                at = behind
                break
        else:
            folded.append(steps[at])
            at += 1
    return folded


def _without_reset(steps: list[str]) -> list[str]:
    """Without the rings that QEMU enables again behind their end, as it resets the device.

    Whether a guest has it do so when it ends depends on the guest's kernel.
    """
    end = 1 + max((at for at, step in enumerate(steps) if step.startswith("GET_VRING_BASE")), default=len(steps))
    if any(step.startswith("SET_VRING_KICK") for step in steps[end:]):
        return steps
    return steps[:end] + [step for step in steps[end:] if not step.startswith("SET_VRING_ENABLE")]


def _channel(lines: list[Line]) -> tuple[list[str], list[str]]:
    """The steps of one channel, and the requests that came at any time."""
    replies = {line["answers"]: line for line in lines if line["kind"] in ("reply", "ack")}
    steps: list[str] = []
    any_time: set[str] = set()
    begun: set[int | None] = set()
    for line in lines:
        if line["kind"] == "raw":
            steps.append("raw bytes")
        if line["kind"] != "request":
            continue
        step = _step(line, replies.get(line["no"]))
        ring = _ring(line)
        if line["message"] not in ANY_TIME or (ring is not None and ring not in begun):
            begun.add(ring if line["message"] in ANY_TIME else None)
            steps.append(step)
        else:
            any_time.add(_step(line if ring is None else {**line, "fields": {}}, replies.get(line["no"])))
    return _folded(_without_reset(steps)), sorted(any_time)


def conversation(lines: Iterable[Line]) -> str:
    """The text for the JSON lines of a capture."""
    sessions: dict[int, dict[tuple[str, int], list[Line]]] = {}
    ended: dict[int, str] = {}
    for line in lines:
        if "kind" in line:
            channels = sessions.setdefault(line["session"], {})
            channels.setdefault((line["channel"], line["channel_no"]), []).append(line)
        elif line["event"] in ("eof", "reset") and line.get("channel") == "main":
            # of two ends only the first is sure to be the peer's own wish
            ended.setdefault(line["session"], f"{line['from']} ended it")
    text: list[str] = []
    for session, channels in sorted(sessions.items()):
        text.append(f"session {session}")
        # by number, "main" first, not by the moment of their first message
        for (name, number), messages in sorted(channels.items(), key=lambda item: (item[0][0] != "main", item[0])):
            title = name if number == 1 else f"{name} {number}"
            steps, any_time = _channel(messages)
            if steps:
                text.append(f"  {title}")
                text += (f"    {step}" for step in steps)
            text += (f"  {title}, any time: {step}" for step in any_time)
        if session in ended:
            text.append(f"  {ended[session]}")
    return "".join(f"{line}\n" for line in text)
