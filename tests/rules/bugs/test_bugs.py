"""Bugs of the field through a live proxy: found, with the right side and message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from vhostspy.message import Finding

from ...relay.harness import Relayed
from .cases import CASES, Case
from .notation import steps
from .player import Played, judge, play

#: id -> findings, their message's position in the case
Found = Mapping[str, tuple[list[Finding], int, Played]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """All cases, played one after the other through one relay."""
    played: dict[str, Played] = {}
    with Relayed(tmp_path_factory.mktemp("bugs")) as relayed:
        for case in CASES:
            played[case.id] = play(relayed, steps(case.script))
        records = relayed.stop()
    results: dict[str, tuple[list[Finding], int, Played]] = {}
    session = 0
    for case in CASES:
        mine = range(session + 1, session + 1 + played[case.id].sessions)
        session = mine[-1]
        findings, base = judge((one for one in records if one.session in mine), played[case.id], case.profile)
        results[case.id] = findings, base, played[case.id]
    yield results


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_it_is_found(case: Case, found: Found) -> None:
    findings, base, played = found[case.id]
    came = [(one.rule, one.severity, one.who, one.no - base) for one in findings]
    assert (case.rule, case.severity, case.who, played.marked) in came


def test_ids_are_ones_own() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
