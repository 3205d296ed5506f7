"""Descriptors: how many come with a message, at which octet, and what they are.

How many a message carries says its row; here each sort of message has its rule's name.
"""

from __future__ import annotations

from vhostspy.capture.record import INCOMPLETE, LATE_FDS, UNSURE_FDS
from vhostspy.dissectors.rows import BACK_END, Fds

from .gates import BACK, FRONT, LOG_SHMFD
from .rule import Breach, Case, Outcome, Slot, every, reply, request, rule

COMMUNICATION = "vhost-user, Communication"
PLATFORMS = "vhost-user, Support for platforms other than Linux"
BACKEND_SEND_FD = 1 << 10
#: a receiver of the back-end channel has room for so many
MOST_FDS = 8


def plural(count: int) -> str:
    return f"{count} descriptor{'' if count == 1 else 's'}"


def counted(case: Case, least: int, most: int | None = None, why: str = "") -> str | None:
    """The sentence if their number is another; none where it is not certain whose they are."""
    message = case.message
    came = len(message.fds)
    most = least if most is None else most
    if least <= came <= most or message.marks & (UNSURE_FDS | INCOMPLETE):
        return None
    wanted = plural(least) if least == most else f"{least} to {plural(most)}"
    return f"{case.name}: expected {wanted}{why and ' ' + why}, came {came}"


def _fds(slot: Slot) -> Fds | None:
    """What the row says of such messages; None: nothing is known, or it is an acknowledgement (VU-SZ-13)."""
    if slot.row is None or slot.kind == "ack":
        return None
    return slot.row.request_fds if slot.kind == "request" else slot.row.reply_fds


@rule(
    "VU-FD-01", "error", "descriptors come with the first octet of the header", COMMUNICATION, on=every(),
    malformed=True, pure=True,
)  # fmt: skip
def late(case: Case) -> Outcome:
    message = case.message
    if not message.marks & LATE_FDS or message.marks & UNSURE_FDS:
        return None
    return f"{case.name}: expected descriptors with octet 0 of the message, came with octet {message.fds_at}"


#: they carry none, and have a rule of their own
_NONE_ELSEWHERE = {("backend", "SHMEM_UNMAP"), ("backend", "SHARED_OBJECT_LOOKUP")}


def _carries_none(slot: Slot) -> bool:
    fds = _fds(slot)
    if fds is None or fds.most or slot.row is None:
        return False
    return slot.kind == "reply" or (slot.channel, slot.row.name) not in _NONE_ELSEWHERE


@rule(
    "VU-FD-02", "error", "no descriptors with messages that carry none", COMMUNICATION, on=every(_carries_none),
    malformed=True, pure=True, notes="REM_MEM_REG: see VU-MEM-12.",
)  # fmt: skip
def none_wanted(case: Case) -> Outcome:
    return counted(case, 0)


@rule("VU-FD-03", "error", "SET_MEM_TABLE carries one descriptor a region", FRONT + "SET_MEM_TABLE",
      on=request("SET_MEM_TABLE"), pure=True)  # fmt: skip
def one_a_region(case: Case) -> Outcome:
    count = case.fields.get("count", 0)
    return counted(case, count, why=f"for {count} regions")


_ONE = ("SET_LOG_FD", "SET_BACKEND_REQ_FD", "SET_INFLIGHT_FD", "GPU_SET_SOCKET", "ADD_MEM_REG", "SET_DEVICE_STATE_FD")


@rule("VU-FD-04", "error", f"exactly one descriptor with {', '.join(_ONE)}", "vhost-user, Front-end message types",
      on=request(*_ONE), malformed=True, pure=True)  # fmt: skip
def exactly_one(case: Case) -> Outcome:
    message = case.message
    # in postcopy a last message of 8 octets acknowledges the back-end's addresses
    thanks = message.name == "ADD_MEM_REG" and message.size == 8
    return counted(case, 0 if thanks else 1)


@rule("VU-FD-05", "error", "SET_VRING_KICK, _CALL and _ERR carry one descriptor, and none with NOFD",
      FRONT + "SET_VRING_KICK", on=request("SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"), pure=True)  # fmt: skip
def by_nofd(case: Case) -> Outcome:
    nofd = bool(case.fields.get("nofd"))
    return counted(case, 0 if nofd else 1, why=f"as NOFD is {'set' if nofd else 'clear'}")


@rule("VU-FD-06", "error", "SET_LOG_BASE carries one descriptor with LOG_SHMFD, and none without",
      "vhost-user, Migration", on=request("SET_LOG_BASE"), pure=True)  # fmt: skip
def by_log_shmfd(case: Case) -> Outcome:
    agreed = case.before.protocol_agreed
    if agreed is None or not case.sure:
        return None
    has = bool(agreed & LOG_SHMFD)
    return counted(case, 1 if has else 0, why=f"as LOG_SHMFD is {'' if has else 'not '}agreed on")


@rule("VU-FD-07", "error", "the reply of GET_INFLIGHT_FD carries one descriptor, unless mmap_length is 0",
      FRONT + "GET_INFLIGHT_FD", on=reply("GET_INFLIGHT_FD"), pure=True)  # fmt: skip
def by_inflight_length(case: Case) -> Outcome:
    length = case.fields.get("mmap_length", 0)
    return counted(case, 1 if length else 0, why=f"as mmap_length is {length}")


@rule("VU-FD-08", "error", "the reply of POSTCOPY_ADVISE carries one userfaultfd", FRONT + "POSTCOPY_ADVISE",
      on=reply("POSTCOPY_ADVISE"), bends=("rust-vmm",), malformed=True)  # fmt: skip
def userfault(case: Case) -> Outcome:
    wrong = counted(case, 1)
    if wrong is not None:
        return wrong
    kinds = [fd.kind for fd in case.message.fds if fd.kind not in ("", "userfaultfd")]
    return f"{case.name}: expected a userfaultfd, came a descriptor of kind {kinds[0]}" if kinds else None


@rule("VU-FD-09", "error", "the reply of SET_DEVICE_STATE_FD carries a descriptor when its bit 8 is clear, and only "
      "then; none together with an error", FRONT + "SET_DEVICE_STATE_FD", on=reply("SET_DEVICE_STATE_FD"),
      pure=True)  # fmt: skip
def by_state_answer(case: Case) -> Outcome:
    fields = case.fields
    if fields.get("error"):
        return counted(case, 0, why="with an error")
    nofd = bool(fields.get("nofd"))
    return counted(case, 0 if nofd else 1, why=f"as bit 8 is {'set' if nofd else 'clear'}")


@rule("VU-FD-10", "error", "the reply of GET_SHARED_OBJECT carries at most one descriptor", FRONT + "GET_SHARED_OBJECT",
      on=reply("GET_SHARED_OBJECT"), malformed=True, pure=True)  # fmt: skip
def one_object(case: Case) -> Outcome:
    return counted(case, 0, 1)


@rule(
    "VU-FD-11", "error", "descriptors on the back-end channel only with BACKEND_SEND_FD, and at most 8",
    "vhost-user, Back-end communication",
    on=every(lambda slot: slot.channel == "backend" and slot.kind == "request" and slot.sender == BACK_END),
    bends=("crosvm", "rust-vmm"), malformed=True, pure=True,
)  # fmt: skip
def on_back_end_channel(case: Case) -> Outcome:
    message = case.message
    came = len(message.fds)
    if not came or message.marks & UNSURE_FDS:
        return None
    if came > MOST_FDS:
        return f"{case.name}: expected at most {plural(MOST_FDS)}, came {came}"
    agreed = case.before.protocol_agreed
    if agreed is None or agreed & BACKEND_SEND_FD or not case.sure:
        return None
    return f"{case.name}: expected no descriptor as BACKEND_SEND_FD is not agreed on, came {came}"


@rule("VU-FD-12", "error", "SHMEM_MAP carries one descriptor, SHMEM_UNMAP none", BACK + "SHMEM_MAP",
      on=request("SHMEM_MAP", "SHMEM_UNMAP", channel="backend"), malformed=True, pure=True)  # fmt: skip
def mapped(case: Case) -> Outcome:
    return counted(case, 1 if case.message.name == "SHMEM_MAP" else 0)


@rule(
    "VU-FD-13", "error", "SHARED_OBJECT_LOOKUP: one descriptor in a reply of 0, none in others and in the request",
    BACK + "SHARED_OBJECT_LOOKUP",
    on=(request("SHARED_OBJECT_LOOKUP", channel="backend"), reply("SHARED_OBJECT_LOOKUP", channel="backend")),
    bends=("qemu", "rust-vmm"), pure=True)  # fmt: skip
def looked_up(case: Case) -> Outcome:
    if not case.message.is_reply:
        return counted(case, 0, why="in the request")
    value = case.fields.get("value")
    return counted(case, 0 if value else 1, why=f"as the value is {value}")


_NOTIFIES = ("eventfd", "pipe", "")
#: kinds that no memory can be
_NO_MEMORY = frozenset(("eventfd", "pipe", "socket", "userfaultfd"))


@rule(
    "VU-FD-14", "warning", "descriptors are of the kind their use needs: eventfds (pipes off Linux) to notify, files "
    "to map, sockets to talk", PLATFORMS,
    on=every(lambda slot: (fds := _fds(slot)) is not None and fds.most > 0), malformed=True,
    notes="A socket as call descriptor is a note: user-mode Linux does so.",
)  # fmt: skip
def kinds(case: Case) -> Outcome:
    breaches = []
    for fd in case.message.fds:
        wanted = ""
        if fd.role in ("kick", "call", "err", "log-event"):
            wanted = "an eventfd" if fd.kind not in _NOTIFIES else ""
        elif fd.role in ("memory", "log", "inflight"):
            wanted = "memory that can be mapped" if fd.kind in _NO_MEMORY else ""
        elif fd.role == "socket":
            wanted = "a socket" if fd.kind not in ("socket", "") else ""
        if wanted:
            text = f"{case.name}: expected {wanted} as {fd.role} descriptor, came one of kind {fd.kind}"
            breaches.append(Breach(text, severity="note" if (fd.role, fd.kind) == ("call", "socket") else None))
    return breaches


_PAIR = ("SET_VRING_KICK", "SET_VRING_CALL", "GET_VRING_BASE", "GET_VRING_BASE_SKIP_DRAIN")


@rule("VU-FD-15", "warning", "a ring's kick and call are not the same eventfd",
      "of no use: a kick would come back as a call", on=request(*_PAIR))  # fmt: skip
def kick_is_call(case: Case) -> Outcome:
    message = case.message
    index = case.fields.get("index", -1)
    stopped = case.memory.of("VU-FD-15")
    if message.name not in ("SET_VRING_KICK", "SET_VRING_CALL"):
        # its eventfds may be closed from now on, and their ids are given again
        stopped[index] = message.no
        return None
    ring = case.before.rings.get(index)
    if ring is None or not message.fds:
        return None
    other = ring.call if message.name == "SET_VRING_KICK" else ring.kick
    mine = message.fds[0].eventfd_id
    if mine is None or other is None or other.fd is None or other.fd.eventfd_id != mine:
        return None
    if other.no < stopped.get(index, 0):
        return None
    return Breach(
        f"{case.name}: expected another eventfd than the one of #{other.no}, came the same (eventfd {mine})",
        evidence=(other.no,),
    )


@rule(
    "VU-FD-16", "note", "libvhost-user since QEMU 8.2 gets at most one descriptor a message",
    "libvhost-user, vu_message_read_default: asserts that their octets are fewer than 8",
    on=every(lambda slot: slot.channel == "main" and slot.kind == "request" and (fds := _fds(slot)) is not None
             and fds.most > 1),
    malformed=True,
)  # fmt: skip
def several(case: Case) -> Outcome:
    message = case.message
    if len(message.fds) < 2 or not case.memory.peers.known(BACK_END, ("libvhost-user",)):
        return None
    if not case.first("VU-FD-16"):
        return None
    return f"{case.name}: expected one descriptor, since libvhost-user of QEMU 8.2 aborts, came {len(message.fds)}"


#: guests that mask interrupts give a ring another call descriptor now and then, but not so often
MANY_ALIKE = 50


@rule("VU-FD-17", "note", "a ring's descriptors are not given again and again", "Snabb #560: numbers ran out at 1024",
      on=request("SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR", "SET_VRING_NUM", "SET_VRING_BASE",
                 "SET_VRING_ADDR", "GET_VRING_BASE", "SET_VRING_ENABLE"),
      notes="More than 50 of one kind for one ring, which nothing else was said of.")  # fmt: skip
def again_and_again(case: Case) -> Outcome:
    message, index = case.message, case.fields.get("index")
    #: ring -> (name, how many, the first)
    alike: dict[int | None, tuple[str | None, int, int]] = case.memory.of("VU-FD-17")
    if not message.fds:
        alike.pop(index, None)
        return None
    name, count, first = alike.get(index, (None, 0, 0))
    if name != message.name:
        name, count, first = message.name, 0, message.no
    alike[index] = name, count + 1, first
    if count != MANY_ALIKE or not case.first("VU-FD-17", index, name):
        return None
    text = f"{case.name}: expected a change now and then, this is number {count + 1} for ring {index} since #{first}; "
    return Breach(f"{text}a back-end that closes none of them runs out of descriptors", evidence=(first,))
