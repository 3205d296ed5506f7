"""Octets that were tried on real back-ends, through a live relay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from vhostspy.message import Finding

from ...relay.harness import Relayed
from .cases import Case
from .forms import FORMS, USED
from .notation import steps
from .player import Played, judge, play

SCRIPTS = {case.id: case.script for case in FORMS} | USED
Found = Mapping[str, tuple[list[Finding], Played]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    with Relayed(tmp_path_factory.mktemp("forms")) as relayed:
        played = [play(relayed, steps(script)) for script in SCRIPTS.values()]
        records = relayed.stop()
    results = {}
    for number, (id, one) in enumerate(zip(SCRIPTS, played, strict=True), 1):
        results[id] = judge((record for record in records if record.session == number), one), one
    yield results


@pytest.mark.parametrize("case", FORMS, ids=[case.id for case in FORMS])
def test_it_is_found(case: Case, found: Found) -> None:
    findings, played = found[case.id]
    came = [(one.rule, one.severity, one.who, one.no) for one in findings]
    assert (case.rule, case.severity, case.who, played.marked) in came


@pytest.mark.parametrize("title", USED)
def test_what_is_in_use_is_no_error(title: str, found: Found) -> None:
    findings, _ = found[title]
    assert [f"{one.rule}: {one.text}" for one in findings if one.severity == "error"] == []
