"""Who is at the ends: implementations that are known to bend rules, recognised by what they send.

Nobody says who they are. A dialect is believed on what nobody else does: an order of messages, a set of offered bits,
flags of replies, and the program's name as the kernel gives it. Where there is room for doubt the peer stays unknown,
and every rule weighs for it what it weighs.

Source: vhost-user, sequences and fingerprints of real front-ends, and the deviations known of each implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.session.state import Session

from .rule import Case, Rule, Slot, Topic, every, reply, request

#: dialects by the name that ``--peer-profile`` takes, with what people call them
TITLES: Mapping[str, str] = {
    "cloud-hypervisor": "cloud-hypervisor",
    "crosvm": "crosvm",
    "dpdk": "DPDK",
    "firecracker": "Firecracker",
    "libkrun": "libkrun",
    "libvhost-user": "libvhost-user",
    "passt": "passt",
    "qemu": "QEMU",
    "rust-vmm": "rust-vmm",
    "snabb": "Snabb",
    "spdk": "SPDK",
    "uml": "user-mode Linux",
    "vpp": "VPP",
}
#: an end that is nobody we know, whatever it sends
UNKNOWN = "unknown"
DIALECTS: tuple[str, ...] = (*TITLES, UNKNOWN)
#: who is built on whose code, and bends what that bends
BUILT_ON: Mapping[str, tuple[str, ...]] = {
    "cloud-hypervisor": ("rust-vmm",),
    "firecracker": ("rust-vmm",),
    "spdk": ("dpdk",),
}
#: a program's name (as the kernel cuts it, 15 characters) begins with
_PROGRAMS: tuple[tuple[str, str], ...] = (
    ("qemu-system", "qemu"),
    ("qemu-kvm", "qemu"),
    ("qemu-storage", "libvhost-user"),
    ("cloud-hyp", "cloud-hypervisor"),
    ("crosvm", "crosvm"),
    ("dpdk-testpmd", "dpdk"),
    ("testpmd", "dpdk"),
    ("firecracker", "firecracker"),
    ("krun", "libkrun"),
    ("passt", "passt"),
    ("snabb", "snabb"),
    ("spdk_", "spdk"),
    ("vhost-device-", "rust-vmm"),
    ("vpp_main", "vpp"),
)


class Portrait(NamedTuple):
    """Who an end is, and what tells us."""

    dialect: str
    why: str


class Portraits:
    """Both ends of one session; ``profile`` as the user gives it."""

    __slots__ = ("_named", "ends", "given", "spoke")

    def __init__(self, profile: tuple[str | None, str | None] = (None, None)) -> None:
        self.given = profile
        self.ends: list[Portrait | None] = [Portrait(one, "as was said") if one else None for one in profile]
        self._named = False
        #: names of the front-end's first requests, in order
        self.spoke: list[str] = []

    def known(self, end: int, dialects: tuple[str, ...]) -> str | None:
        """Which of these dialects an end speaks, if it does."""
        portrait = self.ends[end]
        if portrait is None:
            return None
        names = (portrait.dialect, *BUILT_ON.get(portrait.dialect, ()))
        return next((name for name in names if name in dialects), None)

    def recognise(self, end: int, dialect: str, why: str) -> None:
        """What tells first holds; what the user says holds most."""
        if self.ends[end] is None:
            self.ends[end] = Portrait(dialect, why)

    def look_at_programs(self, session: Session) -> None:
        if self._named:
            return
        self._named = True
        for end, peer in enumerate(session.peers):
            for name, dialect in _PROGRAMS:
                if peer.program.rpartition("/")[2].startswith(name):
                    self.recognise(end, dialect, f"its program is called {peer.program}")
                    break


def _observer(on: Topic, watch: Callable[[Case], None]) -> Rule:
    """An observer has the form of a rule, without a name, and never finds anything."""
    return Rule("", "note", "", "", (on,), watch, malformed=True)


_BEGINNING = 16


def _beginning(case: Case) -> None:
    """QEMU negotiates protocol features, then takes ownership, and asks for the features once more."""
    portraits: Portraits = case.memory.peers
    spoke = portraits.spoke
    if len(spoke) >= _BEGINNING:
        return
    portraits.look_at_programs(case.before)
    if not case.sure:
        return
    spoke.append(case.message.name or "")
    if (
        spoke[-2:] == ["SET_OWNER", "GET_FEATURES"]
        and spoke[0] == "GET_FEATURES"
        and "SET_PROTOCOL_FEATURES" in spoke[:-2]
    ):
        portraits.recognise(FRONT_END, "qemu", "SET_OWNER comes after the features, which are asked for again")
    if (
        spoke[-1] == "SET_FEATURES"
        and spoke[0] == "SET_OWNER"
        and "SET_VRING_CALL" in spoke
        and "SET_VRING_ERR" not in spoke
        and not (case.before.protocol_agreed or 0) & ~0x10009
    ):
        portraits.recognise(FRONT_END, "dpdk", "SET_VRING_CALL of all rings comes before SET_FEATURES, after SET_OWNER")


def _asks_twice(case: Case) -> None:
    """Only rust-vmm's front-ends ask for an acknowledgement of what has a reply anyway."""
    if case.message.need_reply and (case.before.protocol_agreed or 0) & 8 and not case.message.fds:
        case.memory.peers.recognise(FRONT_END, "rust-vmm", f"{case.message.name} asks for an acknowledgement")


_LIBVHOST_USER = 0x8C2B
_NOT_LIBVHOST_USER = 1 << 2 | 1 << 4 | 1 << 7 | 1 << 13 | 1 << 16 | 1 << 19
_DPDK = 1 << 2 | 1 << 4 | 1 << 7 | 1 << 11


def _offers(case: Case) -> None:
    """The bits that a library always offers together."""
    offered = case.message.fields.get("protocol_features")
    if not isinstance(offered, int):
        return
    if offered & _LIBVHOST_USER == _LIBVHOST_USER and not offered & _NOT_LIBVHOST_USER:
        case.memory.peers.recognise(BACK_END, "libvhost-user", f"it offers protocol features {offered:#x}")
    elif offered & _DPDK == _DPDK:
        case.memory.peers.recognise(BACK_END, "dpdk", f"it offers protocol features {offered:#x}")


def _log_answered(case: Case) -> None:
    """rust-vmm's back-end answers SET_LOG_BASE with the structure that came."""
    if case.message.size == 16:
        case.memory.peers.recognise(BACK_END, "rust-vmm", "it answers SET_LOG_BASE with 16 bytes")


def _echoes(case: Case) -> None:
    """Only libvhost-user keeps NEED_REPLY in replies with a body of more than a number."""
    if case.message.flags == 0xD:
        case.memory.peers.recognise(BACK_END, "libvhost-user", "it keeps NEED_REPLY in its replies")


def _maps(case: Case) -> None:
    case.memory.peers.recognise(BACK_END, "crosvm", f"{case.message.name} is crosvm's own")


def _front_ends(slot: Slot) -> bool:
    return slot.channel == "main" and slot.sender == FRONT_END and slot.kind == "request"


OBSERVERS: tuple[Rule, ...] = (
    _observer(every(_front_ends), _beginning),
    _observer(request("GET_FEATURES", "GET_QUEUE_NUM", "GET_MAX_MEM_SLOTS", "GET_VRING_BASE"), _asks_twice),
    _observer(reply("GET_PROTOCOL_FEATURES"), _offers),
    _observer(reply("SET_LOG_BASE"), _log_answered),
    _observer(reply("GET_CONFIG", "GET_VRING_BASE", "GET_INFLIGHT_FD"), _echoes),
    _observer(request("GPU_MAP", "EXTERNAL_MAP", channel="backend"), _maps),
)
