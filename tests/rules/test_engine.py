"""The catalogue as a table, and what the engine does with any octets."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vhostspy import rules
from vhostspy.capture.record import DROPPED, Descriptor
from vhostspy.message import Message
from vhostspy.relay.policy import by_flags
from vhostspy.rules.catalogue import BY_ID, MODULES, RULES, rules_of
from vhostspy.rules.document import ELSEWHERE, WAITING, markdown
from vhostspy.rules.peers import DIALECTS

from ..pipeline.conversation import KICK, RAM
from .talk import Talk, broken, features, found


def test_ids_are_unique() -> None:
    assert len(BY_ID) == len(RULES) > 80


@pytest.mark.parametrize("name", [one.name for one in iter_modules(rules.__path__)])
def test_every_module_with_rules_is_in_the_catalogue(name: str) -> None:
    module = import_module(f"vhostspy.rules.{name}")
    assert module in MODULES or not list(rules_of(module)), f"rules.catalogue.MODULES lacks {name}"


def test_rules_say_what_they_check_where_it_is_written_and_what_they_listen_to() -> None:
    for rule in RULES:
        assert re.fullmatch(r"V[UF]-[A-Z]+-\d\d|VG-\d\d", rule.id)
        assert rule.text and not rule.text.endswith(".") and "\n" not in rule.text
        assert rule.source and rule.on and all(topic.text for topic in rule.on)
        assert set(rule.bends) <= set(DIALECTS)


def test_findings_hang_on_their_message_and_on_no_other() -> None:
    talk = Talk()
    first, second = talk.front_end("SET_OWNER"), talk.front_end("SET_OWNER")
    assert (first.findings, [one.rule for one in second.findings]) == ((), ["VU-OWN-02"])
    assert second.findings[0].evidence == (1, 2)
    assert second.decoded is not None


def test_what_vhostspy_itself_sends_is_nobodys_fault() -> None:
    talk = Talk()
    talk.octets(pack("<III", 0, 0, 0), sender=2)
    assert found(talk) == []


def test_what_reaches_nobody_is_held_against_nobody() -> None:
    """A back-end goes, and its front-end has said more already: a ring's size, which nobody keeps, then its kick."""
    talk = Talk()
    features(talk)
    size, kick = pack("<IIIII", 8, 1, 8, 0, 64), pack("<IIIQ", 12, 1, 8, 0)
    talk.octets(size, flags=DROPPED)
    talk.octets(kick, fds=(KICK,), flags=DROPPED)
    assert not broken(talk, "VU-VR-09")
    # one that a policy has taken away was meant for somebody
    talk.octets(kick, fds=(KICK,), flags=DROPPED | by_flags("drop"))
    assert broken(talk, "VU-VR-09") == [("error", 0, talk.no)]


def test_what_is_remembered_ends_with_the_session() -> None:
    talk = Talk()
    talk.front_end("SET_OWNER")
    rules = talk.pipeline.rules
    assert rules is not None and rules._memories
    talk.event("close")
    assert not rules._memories


CHANNELS = st.sampled_from(["main", "backend"])
FDS: st.SearchStrategy[list[Descriptor]] = st.lists(st.sampled_from([KICK, RAM]), max_size=3)
PAYLOADS = st.one_of(
    st.binary(max_size=64),
    st.sampled_from([0, 8, 12, 16, 24, 32, 40, 72, 632, 1072, 2056]).map(bytes),
    st.integers(0, 2**64 - 1).map(lambda value: pack("<Q", value)),
)
MESSAGES = st.tuples(
    CHANNELS, st.integers(0, 1), st.integers(0, 46), st.sampled_from([1, 5, 9, 0xD, 0]), PAYLOADS, FDS
)  # fmt: skip


@given(st.lists(MESSAGES, max_size=30), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_peers_send_rules_find_values_and_never_fail(
    sent: list[tuple[str, int, int, int, bytes, list[Descriptor]]], whole: bool
) -> None:
    talk = Talk(whole=whole)
    for channel, sender, id, flags, payload, fds in sent:
        message = talk.octets(pack("<III", id, flags, len(payload)) + payload, channel, sender, fds=tuple(fds))
        assert isinstance(message, Message)
    talk.event("eof", sender=1)
    talk.event("close")
    for one in talk.findings:
        assert one.text and one.who in (0, 1, 2, None) and one.rule in BY_ID
        assert not whole or one.no in range(len(sent) + 1)


def test_the_document_is_up_to_date() -> None:
    document = Path(__file__).parents[2] / "docs/rules.md"
    assert document.read_text("utf-8") == markdown(), "python -m vhostspy.rules.document > docs/rules.md"


def test_what_waits_is_not_a_rule_yet() -> None:
    assert not (set(WAITING) | set(ELSEWHERE)) & set(BY_ID)


VFIO = st.tuples(
    st.integers(0, 1), st.integers(0, 3), st.integers(0, 19), st.sampled_from([0, 1, 2, 0x10, 0x20, 0x21]),
    st.one_of(st.binary(max_size=64), st.sampled_from([0, 4, 8, 16, 20, 24, 32, 40, 56]).map(bytes)), FDS,
)  # fmt: skip


DISPLAY = st.tuples(
    st.integers(0, 1), st.integers(1, 2), st.integers(0, 13), st.sampled_from([0, 4, 5]),
    st.one_of(st.binary(max_size=64), st.sampled_from([0, 4, 8, 12, 20, 36, 40, 48, 408, 1056]).map(bytes)), FDS,
)  # fmt: skip


@given(st.lists(DISPLAY, max_size=30), st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_same_of_displays(sent: list[tuple[int, int, int, int, bytes, list[Descriptor]]], whole: bool) -> None:
    talk = Talk(whole=whole)
    if whole:
        talk.event("channel", channel="gpu")
    for sender, channel_no, number, flags, payload, fds in sent:
        header = pack("<III", number, flags, len(payload))
        more = {"channel_no": channel_no, "protocol": "vhost-user-gpu"}
        talk.octets(header + payload, "gpu", sender, fds=tuple(fds), **more)
    talk.event("eof", sender=0, channel="gpu")
    talk.event("close")
    assert all(one.text and one.rule in BY_ID for one in talk.findings)


@given(st.lists(VFIO, max_size=30), st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_same_of_vfio_user(sent: list[tuple[int, int, int, int, bytes, list[Descriptor]]], whole: bool) -> None:
    talk = Talk(whole=whole)
    for sender, msgid, command, flags, payload, fds in sent:
        header = pack("<HHIII", msgid, command, 16 + len(payload), flags, 0)
        talk.octets(header + payload, "main", sender, fds=tuple(fds), protocol="vfio-user")
    talk.event("eof", sender=0)
    talk.event("close")
    assert all(one.text and one.rule in BY_ID for one in talk.findings)


def test_what_is_remembered_of_long_sessions_is_looked_through() -> None:
    """Also of vfio-user, whose notes are of another kind."""
    talk = Talk()
    for number in range(5000):
        talk.octets(pack("<HHIII", number, 13, 16, 0x10, 0), protocol="vfio-user")
    assert talk.no == 5000
