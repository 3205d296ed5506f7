"""What the rules of vfio-user remember of a session: capabilities, DMA regions, regions, interrupts, migration.

Kept after each message, so that a rule sees what was before it. What was refused is taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from json import loads
from typing import Any, NamedTuple

from vhostspy.message import Message

from .rule import Case, Memory, Rule, Slot, Topic

PROTOCOL = "vfio-user"
CLIENT, SERVER = 0, 1
#: where an end does not say: descriptors a message, bytes of data a message, DMA regions
DEFAULTS = {"max_msg_fds": 1, "max_data_xfer_size": 1 << 20, "max_dma_maps": 65535}
#: more regions than that are not kept
_MOST = 65536


class Dma(NamedTuple):
    """A DMA region: addresses of the device, and whether a descriptor came with it."""

    address: int
    length: int
    no: int
    mapped: bool


class State:
    """One session's. ``sure`` is the session's own word (``Case.sure``)."""

    __slots__ = (
        "capabilities",
        "dma",
        "info",
        "irqs",
        "logging",
        "migration",
        "noreply",
        "regions",
        "undo",
        "used",
        "version",
    )

    def __init__(self) -> None:
        #: of each end, as it has said them; None: not yet
        self.capabilities: list[dict[str, Any] | None] = [None, None]
        #: VERSION and its reply
        self.version: list[Message | None] = [None, None]
        self.dma: dict[int, Dma] = {}
        #: addresses of regions that were reached by messages
        self.used: set[int] = set()
        #: members of DEVICE_GET_INFO's reply
        self.info: dict[str, Any] | None = None
        self.regions: dict[int, dict[str, Any]] = {}
        #: type of interrupt -> how many there are
        self.irqs: dict[int, int] = {}
        self.migration: int | None = None
        self.logging = False
        #: (asker, message id, command) of commands that wanted no reply -> how many
        self.noreply: dict[tuple[int, int | None, int | None], int] = {}
        #: number of a command -> how to take back what it did, if it is refused
        self.undo: dict[int, Callable[[], object]] = {}

    def limit(self, end: int, name: str) -> int:
        """What ``end`` can take, by its own word."""
        value = (self.capabilities[end] or {}).get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else DEFAULTS[name]


def state(memory: Memory) -> State:
    found = memory.kept.get(PROTOCOL)
    if not isinstance(found, State):
        found = memory.kept[PROTOCOL] = State()
    return found


def version_data(data: bytes) -> dict[str, Any] | None:
    """The JSON object behind VERSION's numbers; empty where there is none, None where it cannot be read."""
    if not data:
        return {}
    try:
        found = loads(data.split(b"\0", 1)[0])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def capabilities(data: bytes) -> dict[str, Any]:
    found = (version_data(data) or {}).get("capabilities")
    return found if isinstance(found, dict) else {}


def vfio(choose: Callable[[Slot], bool] = lambda slot: True, text: str = "every message of vfio-user") -> Topic:
    """Messages of vfio-user's channels that ``choose`` chooses, pieces that could not be framed left out."""
    return Topic(lambda slot: slot.protocol == PROTOCOL and slot.kind != "raw" and choose(slot), text=text)


def command(*names: str) -> Topic:
    """Commands of these names, on either socket."""
    return vfio(lambda slot: slot.kind == "request" and slot.row is not None and slot.row.name in names,
                f"{', '.join(names)} (command)")  # fmt: skip


def answer(*names: str) -> Topic:
    """Their replies."""
    return vfio(lambda slot: slot.kind != "request" and slot.row is not None and slot.row.name in names,
                f"{', '.join(names)} (reply)")  # fmt: skip


def asked(case: Case) -> Message | None:
    """The command that this reply answers."""
    message = case.message
    queue = case.before.ledger.get((message.channel, message.channel_no))
    if queue is None or message.answers is None:
        return None
    return next((one for one in queue.waiting if one.no == message.answers), None)


# -- keeping


def _keep(case: Case) -> None:
    message = case.message
    kept = state(case.memory)
    if message.kind == "request":
        if not message.need_reply and len(kept.noreply) < _MOST:
            key = (message.sender, message.msgid, message.id)
            kept.noreply[key] = kept.noreply.get(key, 0) + 1
        keep = _COMMANDS.get(message.name or "")
        if keep is not None:
            keep(kept, message)
            if not message.awaited:
                kept.undo.pop(message.no, None)
        return
    undo = kept.undo.pop(message.answers or 0, None)
    if message.refused:
        if undo is not None:
            undo()
        return
    keep_reply = _REPLIES.get(message.name or "")
    if keep_reply is not None:
        keep_reply(kept, message, asked(case))


def _version(kept: State, message: Message) -> None:
    kept.version[CLIENT] = message
    kept.capabilities[CLIENT] = capabilities(message.fields.get("version_data", b""))


def _map(kept: State, message: Message) -> None:
    address, length = message.fields.get("address"), message.fields.get("length")
    if not isinstance(address, int) or not isinstance(length, int) or len(kept.dma) >= _MOST or address in kept.dma:
        return
    kept.dma[address] = Dma(address, length, message.no, bool(message.fds))
    kept.undo[message.no] = lambda: kept.dma.pop(address, None)


def _use(kept: State, message: Message) -> None:
    address = message.fields.get("address", -1)
    for one in kept.dma.values():
        if one.address <= address < one.address + one.length:
            kept.used.add(one.address)
            return


def _unmap(kept: State, message: Message) -> None:
    fields = message.fields
    if fields.get("dma_flags", 0) & 2:
        before, kept.dma = kept.dma, {}
        kept.undo[message.no] = lambda: setattr(kept, "dma", before)
        return
    found = kept.dma.get(fields.get("address", -1))
    if found is not None and found.length == fields.get("length"):
        del kept.dma[found.address]
        kept.undo[message.no] = lambda: kept.dma.setdefault(found.address, found)


def _feature(kept: State, message: Message) -> None:
    fields = message.fields
    if fields.get("probe"):
        return
    feature = fields.get("feature")
    if feature == 2 and fields.get("set"):
        before = kept.migration
        kept.migration = fields.get("device_state")
        kept.undo[message.no] = lambda: setattr(kept, "migration", before)
    elif feature in (6, 7):
        before_logging = kept.logging
        kept.logging = feature == 6
        kept.undo[message.no] = lambda: setattr(kept, "logging", before_logging)


def _reset(kept: State, message: Message) -> None:
    kept.migration = 2  # running


_COMMANDS: dict[str, Callable[[State, Message], None]] = {
    "VERSION": _version,
    "DMA_MAP": _map,
    "DMA_UNMAP": _unmap,
    "DMA_READ": _use,
    "DMA_WRITE": _use,
    "DEVICE_FEATURE": _feature,
    "DEVICE_RESET": _reset,
}


def _version_reply(kept: State, message: Message, request: Message | None) -> None:
    kept.version[SERVER] = message
    kept.capabilities[SERVER] = capabilities(message.fields.get("version_data", b""))


def _info(kept: State, message: Message, request: Message | None) -> None:
    if "num_regions" in message.fields:
        kept.info = dict(message.fields)


def _region_info(kept: State, message: Message, request: Message | None) -> None:
    index = message.fields.get("index")
    if isinstance(index, int) and len(kept.regions) < _MOST:
        kept.regions[index] = dict(message.fields)


def _irq_info(kept: State, message: Message, request: Message | None) -> None:
    index, count = message.fields.get("index"), message.fields.get("count")
    if isinstance(index, int) and isinstance(count, int) and len(kept.irqs) < _MOST:
        kept.irqs[index] = count


def _feature_reply(kept: State, message: Message, request: Message | None) -> None:
    if message.fields.get("feature") == 2 and message.fields.get("get"):
        kept.migration = message.fields.get("device_state")


_REPLIES: dict[str, Callable[[State, Message, Message | None], None]] = {
    "VERSION": _version_reply,
    "DEVICE_GET_INFO": _info,
    "DEVICE_GET_REGION_INFO": _region_info,
    "DEVICE_GET_IRQ_INFO": _irq_info,
    "DEVICE_FEATURE": _feature_reply,
}

KEEPERS: tuple[Rule, ...] = (Rule("", "note", "", "", (vfio(),), _keep, malformed=True),)
