"""A back-end's side, for tests of front-ends: requests as they come, answers by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from errno import EINVAL
from typing import Any

from vhostspy.dissectors.rows import BACK_END
from vhostspy.replay.log import rows_of

from .talk import Heard, Talk

#: what ``serve`` answers unless the test says otherwise: a device of two queues that can do little
ANSWERS: Mapping[str, Mapping[str, object]] = {
    "GET_FEATURES": {"features": ["VERSION_1", "PROTOCOL_FEATURES"]},
    "GET_PROTOCOL_FEATURES": {"protocol_features": ["MQ", "REPLY_ACK"]},
    "GET_QUEUE_NUM": {"queues": 2},
    "GET_MAX_MEM_SLOTS": {"slots": 32},
    "GET_STATUS": {"status": 0},
}


class BackEnd(Talk):
    side = BACK_END

    def __enter__(self) -> BackEnd:
        return self

    def reply(self, request: Heard, *, fds: Sequence[int] = (), **members: Any) -> None:
        """Answer a request; with ``value`` alone it is an acknowledgement."""
        __tracebackhide__ = True
        row = request.message.row
        if row is None:
            raise ValueError(f"nothing is known of {request.name}: there is no answer to it")
        self._say(row, True, dict(members), fds, False, None, request.channel, request.message.msgid)

    def refuse(self, request: Heard, error: int = EINVAL) -> None:
        """Answer a request with a failure: vhost-user's acknowledgement that says no, vfio-user's error number."""
        __tracebackhide__ = True
        header = rows_of(self.protocol, request.channel).header
        if not header.error_mask:
            self.reply(request, value=error)
            return
        flags = header.reply_value | header.error_mask
        octets = self._header(header, request.message.id or 0, flags, 0, request.message.msgid)
        octets[header.error_at : header.error_at + 4] = error.to_bytes(4, sys.byteorder)
        self.send_octets(bytes(octets), channel=request.channel)

    def serve(self, until: str, answers: Mapping[str, Mapping[str, object]] = {}) -> Heard:
        """Answer all that comes until this request has come (and was answered); what came is in ``messages``.

        answers: request -> the answer's members, beside ``ANSWERS``. What wants an acknowledgement gets it.
        """
        __tracebackhide__ = True
        known = {**ANSWERS, **answers}
        while True:
            heard = self._next(until)
            row = heard.message.row
            if row is not None and row.reply is not None and row.answer == "reply":
                self.reply(heard, **self._members(heard, known))
            elif heard.message.need_reply and row is not None:
                self.reply(heard, value=0)
            if heard.name == until:
                return heard

    def _members(self, heard: Heard, known: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
        if heard.name in known:
            return dict(known[heard.name])
        # an answer like the question: a ring's base, a piece of the configuration space
        fields = heard.message.fields
        return {name: value for name, value in fields.items() if name != "rest"}
