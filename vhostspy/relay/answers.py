"""What the control socket answers: a table of requests, each a function of the relay and the request's JSON object.

Requests have a member ``do``:

- ``status``: names of the sockets, the capture's path, sessions, messages so far;
- ``annotate``, with ``text``: a note for people goes into the capture, between the messages of that moment;
- ``detach``: record no more; the traffic goes on, exactly as before, until it ends;
- ``capture``: a descriptor of the capture, for reading, comes with the answer: how the sessions were set up;
- ``memory``, with ``session`` and ``from`` (0 first): duplicates of the descriptors that lead to its memory come with
  the answer, as many as ``kept`` has entries (message, position in it, role, ring); ``next`` is where to go on;
- ``notifications``, with ``session``: how many kicks and calls of each ring were passed on, and wait to be taken; with
  ``--exact-kicks`` only, as ``memory`` in ``status``;
- ``sample``, with ``session``, ``facts`` (the text of a JSON object) and ``text``: what was seen in its memory goes
  into the capture.

Answers have ``ok``, and ``text`` with a sentence where it is false.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any

from vhostspy.capture.long import LONG

if TYPE_CHECKING:
    from .pairing import Relay
    from .session import Session

#: characters of a note: with each escaped it still fits an event
LONGEST_NOTE = 2_000
#: descriptors that come with one answer; the kernel lets 253 through
MOST_AT_ONCE = 200

Request = Mapping[str, Any]
#: the JSON object, and descriptors to send with it
Answer = tuple[dict[str, Any], list[int]]


class Refused(Exception):
    """The sentence that says why."""


class Answers:
    """Borrows the relay; ``capture`` is the path that people know ("" if there is none)."""

    def __init__(self, relay: Relay, capture: str) -> None:
        self.relay = relay
        self.capture = capture

    def answer(self, line: bytes) -> Answer:
        """The answer to one line. Descriptors to send with it stay their keeper's; a capture's is to be closed then."""
        import json

        try:
            request = json.loads(line)
            wanted = request["do"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return _refusal(f'expected a JSON object with a member "do": {_NAMES}')
        answer = _ANSWERS.get(wanted) if isinstance(wanted, str) else None
        if answer is None:
            return _refusal(f"{str(wanted)[:40]!r} is none of {_NAMES}")
        try:
            members, fds = answer(self, request)
        except Refused as refused:
            return _refusal(f"{wanted}: {refused}")
        return {"ok": True, **members}, fds

    def status(self, request: Request) -> Answer:
        relay = self.relay
        return {
            "pid": os.getpid(),
            "front_end": relay.sides[0].name,
            "back_end": relay.sides[1].name,
            "capture": self.capture,
            "capture_fd": relay.writer.fd,
            "sessions": [session.number for session in relay.sessions],
            "sessions_so_far": relay.count,
            "messages": relay.writer.number,
            "memory": relay.settings.keep_memory and relay.writer.fd >= 0,
            "exact_kicks": relay.settings.exact_kicks,
        }, []

    def annotate(self, request: Request) -> Answer:
        relay, text = self.relay, request.get("text")
        if not isinstance(text, str) or not text:
            raise Refused('expected a member "text" with the words of the note')
        if len(text) > LONGEST_NOTE:
            raise Refused(f"a note of {len(text)} characters; at most {LONGEST_NOTE}")
        self._recording()
        sessions = relay.sessions
        session = sessions[-1].number if len(sessions) == 1 else 0
        relay.writer.event({"event": "note", "text": text}, time_ns(), monotonic_ns(), session=session)
        return {"after": relay.writer.number}, []

    def detach(self, request: Request) -> Answer:
        self.relay.detach()
        return {"messages": self.relay.writer.number}, []

    def open_capture(self, request: Request) -> Answer:
        self._recording()
        self.relay.writer.flush(monotonic_ns())
        # a reader must not be able to move the writer's place, or to write
        try:
            fd = os.open(f"/proc/self/fd/{self.relay.writer.fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(f"the capture cannot be opened again: {error.strerror}") from None
        return {"capture": self.capture}, [fd]

    def memory(self, request: Request) -> Answer:
        session = self._session(request)
        if session.keeper is None:
            raise Refused("no memory is kept: the relay was started with --no-memory, or records nothing or too little")
        self.relay.writer.settle()  # with it come those that passed just now
        start = request.get("from", 0)
        if not isinstance(start, int) or start < 0:
            raise Refused('expected a number in the member "from"')
        kept = session.keeper.kept()
        part = kept[start : start + MOST_AT_ONCE]
        entries = [[one.no, one.at, one.role, one.key[0] if one.role in ("kick", "call") else None] for one in part]
        more = start + len(part)
        following = more if more < len(kept) else None
        return {"kept": entries, "next": following}, [one.fd for one in part]

    def notifications(self, request: Request) -> Answer:
        lines = self._session(request).lines
        if lines is None:
            raise Refused("notifications are not relayed (--exact-kicks)")
        passed = [[role, ring, count, lines.pending(role, ring)] for (role, ring), count in lines.passed.items()]
        return {"passed": passed}, []

    def sample(self, request: Request) -> Answer:
        number = request.get("session")
        if not isinstance(number, int) or not 0 < number <= self.relay.count:
            raise Refused(f"there was no session {str(number)[:20]} yet")
        facts, text = request.get("facts"), request.get("text", "")
        if not isinstance(facts, str) or not isinstance(text, str):
            raise Refused('expected members "facts" and "text", both texts')
        data = facts.encode(errors="replace")
        if len(data) > LONG:
            raise Refused(f"facts of {len(data)} octets; at most {LONG}")
        self._recording()
        self.relay.writer.sample(
            data, text[:LONGEST_NOTE], time_ns(), monotonic_ns(), session=number, protocol="vhost-user"
        )
        return {"after": self.relay.writer.number}, []

    def _recording(self) -> None:
        if self.relay.writer.fd < 0:
            raise Refused("nothing is recorded")

    def _session(self, request: Request) -> Session:
        for session in self.relay.sessions:
            if session.number == request.get("session"):
                return session
        raise Refused(f"there is no session {str(request.get('session'))[:20]} now")


def _refusal(text: str) -> Answer:
    return {"ok": False, "text": text}, []


_ANSWERS: Mapping[str, Callable[[Answers, Request], Answer]] = {
    "status": Answers.status,
    "annotate": Answers.annotate,
    "detach": Answers.detach,
    "capture": Answers.open_capture,
    "memory": Answers.memory,
    "notifications": Answers.notifications,
    "sample": Answers.sample,
}
_NAMES = ", ".join(_ANSWERS)
