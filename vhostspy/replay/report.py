"""An outcome for programs: JSON lines, and JUnit XML with a test case a session."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from xml.sax.saxutils import escape as xml
from xml.sax.saxutils import quoteattr

from vhostspy.message import Message, end_name
from vhostspy.output.units import escape

from .outcome import Mismatch, Outcome


def lines(outcome: Outcome) -> Iterator[str]:
    """``mismatch``, ``note`` and ``session`` events, then one ``summary``."""
    for session in outcome.sessions:
        for one in session.mismatches:
            yield _encode({"event": "mismatch", **_mismatch(one)})
        for note in session.notes:
            yield _encode({"event": "note", "session": session.number, "text": note})
        yield _encode(
            {
                "event": "session", "session": session.number, "sent": session.sent, "matched": session.matched,
                "mismatches": len(session.mismatches), "took_ns": session.took_ns, "text": session.ended,
            }
        )  # fmt: skip
    for note in outcome.notes:
        yield _encode({"event": "note", "session": 0, "text": note})
    yield _encode(
        {
            "event": "summary", "file": outcome.name, "status": outcome.status, "sessions": len(outcome.sessions),
            "sent": outcome.sent, "matched": outcome.matched, "mismatches": len(outcome.mismatches),
            "failure": outcome.failure or None, "text": outcome.sentence,
        }
    )  # fmt: skip


def _mismatch(one: Mismatch) -> dict[str, Any]:
    return {
        "session": one.session,
        "expected": _about(one.expected),
        "came": _about(one.came),
        "differences": [
            {"member": each.member, "expected": each.expected, "came": each.came} for each in one.differences
        ],
        "text": str(one),
    }


def _about(message: Message | None) -> dict[str, Any] | None:
    if message is None:
        return None
    return {
        "no": message.no, "channel": message.channel, "channel_no": message.channel_no,
        "from": end_name(message.protocol, message.sender), "message": message.name, "id": message.id,
        "kind": message.kind, "info": message.info,
    }  # fmt: skip


def table(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """For people: a line for each of several captures, and one for all of them."""
    all_ = list(outcomes)
    width = max((len(outcome.name) for outcome in all_), default=0)
    for outcome in all_:
        count = len(outcome.mismatches)
        verdict = "failed" if outcome.failure else f"{count} not as recorded" if count else "as recorded"
        yield f"{outcome.name:<{width}}  {outcome.sent:>4} sent  {outcome.matched:>4} matched  {verdict}"
    passed = sum(not outcome.status for outcome in all_)
    yield f"{passed} of {len(all_)} as recorded"


def junit(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """JUnit XML: a test suite a capture, a case a session."""
    all_ = list(outcomes)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield "<testsuites>"
    for outcome in all_:
        failed = sum(1 for session in outcome.sessions if session.mismatches)
        errors = int(bool(outcome.failure))
        yield (
            f"<testsuite name={quoteattr(f'vhostspy replay {escape(outcome.name)}')} "
            f'tests="{len(outcome.sessions) + errors}" failures="{failed}" errors="{errors}">'
        )
        for session in outcome.sessions:
            yield (
                f'<testcase classname="vhostspy.replay" '
                f"name={quoteattr(f'{escape(outcome.name)} session {session.number}')} "
                f'time="{session.took_ns / 1e9:.6f}">'
            )
            if session.mismatches:
                text = "\n".join(escape(line) for one in session.mismatches for line in one.lines())
                yield f'<failure message="{len(session.mismatches)} not as recorded">{xml(text)}</failure>'
            if session.notes:
                yield f"<system-out>{xml(chr(10).join(map(escape, session.notes)))}</system-out>"
            yield "</testcase>"
        if outcome.failure:
            yield f'<testcase classname="vhostspy.replay" name={quoteattr(escape(outcome.name))}>'
            yield f"<error message={quoteattr(escape(outcome.failure))}/></testcase>"
        yield "</testsuite>"
    yield "</testsuites>"


def _encode(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
