"""The sessions of our own peers in ``captures/`` can be recorded anew, and say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from .peers.conversation import conversation
from .recorded import SESSIONS, Session, record
from .test_captures import EXPECTED, shown


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_it_says_the_same_again(session: Session, tmp_path: Path) -> None:
    capture = tmp_path / "again.pcapng"
    record(session, capture)
    assert conversation(shown(capture)) == (EXPECTED / f"{session.name}.txt").read_text()
