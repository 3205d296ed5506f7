"""Bugs of the field through a live proxy: found, with the right side and message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from vhostspy.message import Finding

from ...relay.harness import Relayed
from . import cases, cases_vfio, test_elsewhere
from .cases import Case
from .notation import steps
from .player import Played, judge, play

CASES = cases.CASES + cases_vfio.CASES
#: id -> findings, and what was sent
Found = Mapping[str, tuple[list[Finding], Played]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """All cases, played one after the other through one relay."""
    played: dict[str, Played] = {}
    with Relayed(tmp_path_factory.mktemp("bugs")) as relayed:
        for case in CASES:
            played[case.id] = play(relayed, steps(case.script))
        records = relayed.stop()
    results: dict[str, tuple[list[Finding], Played]] = {}
    session = 0
    for case in CASES:
        mine = range(session + 1, session + 1 + played[case.id].sessions)
        session = mine[-1]
        findings = judge((one for one in records if one.session in mine), played[case.id], case.profile)
        results[case.id] = findings, played[case.id]
    yield results


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_it_is_found(case: Case, found: Found) -> None:
    findings, played = found[case.id]
    came = [(one.rule, one.severity, one.who, one.no) for one in findings]
    assert (case.rule, case.severity, case.who, played.marked) in came
    texts = [one.text for one in findings if one.rule == case.rule and one.no == played.marked]
    assert any(case.says in text for text in texts), texts


def test_ids_are_ones_own() -> None:
    assert len({case.id for case in CASES}) == len(CASES)


#: all bugs that are kept; those without a case here have their test elsewhere
IDS = (
    *(f"N{number}" for number in range(1, 20, 2)), *(f"R{number}" for number in range(1, 18, 2)),
    *(f"F{number}" for number in range(1, 14, 2)), *(f"M{number}" for number in range(1, 12, 2)),
    *(f"V{number}" for number in range(1, 20, 2)), *(f"C{number}" for number in range(1, 10, 2)),
    *(f"I{number}" for number in range(1, 6, 2)), *(f"L{number}" for number in range(1, 10, 2)),
    *(f"G{number}" for number in range(1, 8, 2)), "T1", "T3", *(f"B{number}" for number in range(1, 10, 2)),
    "RS1", "RS3", "RS5", *(f"U{number}" for number in range(1, 20, 2)), *(f"S{number}" for number in range(1, 10, 2)),
    "P1",
)  # fmt: skip
#: not to be seen in one session's messages: where they are tested
ELSEWHERE = {
    "V19": test_elsewhere.test_a_ring_that_is_disabled_before_it_is_stopped,
    "C1": test_elsewhere.test_a_front_end_that_never_connects_again,
    "C5": test_elsewhere.test_a_back_end_that_accepts_nobody,
    "P1": test_elsewhere.test_what_came_in_pieces_goes_on_in_one,
}


def test_every_bug_is_played() -> None:
    played = {case.id.partition(" ")[0] for case in CASES} | set(ELSEWHERE)
    assert played == set(IDS)
