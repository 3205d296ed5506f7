"""Who is recognised, by what, and what that excuses."""

from __future__ import annotations

import pytest

from vhostspy.rules.engine import Rules
from vhostspy.rules.peers import Portrait

from .talk import Talk, broken, features

FRONT, BACK = 0, 1
USUAL = 1 << 30 | 1 << 32


def portrait(talk: Talk, end: int) -> str | None:
    rules = talk.pipeline.rules
    assert rules is not None
    known: Portrait | None = rules._memories[1].peers.ends[end]
    return None if known is None else known.dialect


def test_nobody_is_known_at_first() -> None:
    talk = Talk()
    features(talk)
    assert (portrait(talk, FRONT), portrait(talk, BACK)) == (None, None)


def test_qemu_takes_ownership_late_and_asks_once_more() -> None:
    talk = Talk()
    talk.ask("GET_FEATURES", {"features": USUAL})
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": 0})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=0)
    talk.front_end("SET_OWNER")
    assert portrait(talk, FRONT) is None
    talk.ask("GET_FEATURES", {"features": USUAL})
    assert portrait(talk, FRONT) == "qemu"
    assert broken(talk, "VU-NEG-15") == []


def test_dpdk_sends_all_calls_before_the_features() -> None:
    talk = Talk()
    talk.front_end("SET_OWNER")
    talk.ask("GET_FEATURES", {"features": USUAL})
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": 0x10CBF})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=0x10009)
    talk.front_end("SET_VRING_CALL", index=0, nofd=True)
    talk.front_end("SET_FEATURES", features=USUAL)
    assert (portrait(talk, FRONT), portrait(talk, BACK)) == ("dpdk", "dpdk")


@pytest.mark.parametrize("offered, dialect", [(0x8F2B, "libvhost-user"), (0x8A42B, None), (0x10CBF, "dpdk"), (9, None)])
def test_libraries_by_what_they_always_offer(offered: int, dialect: str | None) -> None:
    talk = Talk()
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": offered})
    assert portrait(talk, BACK) == dialect


@pytest.mark.parametrize("program, dialect", [("qemu-system-x86", "qemu"), ("crosvm", "crosvm"), ("qemufoo", None)])
def test_programs_by_name(program: str, dialect: str | None) -> None:
    talk = Talk(whole=False)
    talk.event("open", text="", front_end={"path": "a", "pid": 7, "program": program})
    talk.front_end("GET_FEATURES")
    assert portrait(talk, FRONT) == dialect


def test_what_the_user_says_holds_most() -> None:
    talk = Talk(profile=("unknown", None), whole=False)
    talk.event("open", text="", front_end={"path": "a", "pid": 7, "program": "qemu-system-x86"})
    talk.front_end("GET_FEATURES")
    assert portrait(talk, FRONT) == "unknown"


def test_an_error_of_somebody_known_is_a_warning_and_says_so() -> None:
    for dialect, severity in (("qemu", "warning"), (None, "error"), ("dpdk", "error")):
        talk = Talk(profile=(dialect, None))
        talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=1 << 14)
        assert broken(talk, "VU-NEG-07") == [(severity, FRONT, 1)]


def test_cloud_hypervisor_bends_what_rust_vmm_bends() -> None:
    talk = Talk(profile=("cloud-hypervisor", None))
    features(talk, protocol=8)
    talk.front_end("GET_QUEUE_NUM", need_reply=True)
    assert broken(talk, "VU-HDR-09") == []


def test_rules_that_are_left_out() -> None:
    talk = Talk()
    talk.pipeline.rules = Rules(disabled={"VU-OWN-02"})
    talk.front_end("SET_OWNER")
    talk.front_end("SET_OWNER")
    assert talk.findings == []
