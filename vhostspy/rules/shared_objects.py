"""Objects that devices share by UUID: added, looked up, removed. That a found one has its descriptor: VU-FD-13."""

from __future__ import annotations

from .gates import BACK, FRONT
from .rule import Breach, Case, Outcome, request, rule

_OWN = ("SHARED_OBJECT_ADD", "SHARED_OBJECT_REMOVE", "SHARED_OBJECT_LOOKUP")
_CHANNEL = request(*_OWN, channel="backend")
_EMPTY = (bytes(16), b"\xff" * 16)
#: objects that are remembered of a session
MOST = 4096


def _uuid(case: Case) -> bytes | None:
    value = case.fields.get("uuid")
    return value if isinstance(value, bytes) and len(value) == 16 else None


@rule("VU-SO-02", "warning", "an object has a UUID, not all zeros or ones", "rust-vmm/vhost, VhostUserSharedMsg",
      on=(_CHANNEL, request("GET_SHARED_OBJECT")))  # fmt: skip
def no_uuid(case: Case) -> Outcome:
    uuid = _uuid(case)
    return f"{case.name}: expected a UUID, came {uuid.hex()}" if uuid in _EMPTY and uuid is not None else None


@rule("VU-SO-03", "warning", "a back-end removes objects that it has added", BACK + "SHARED_OBJECT_REMOVE",
      on=_CHANNEL, notes="It may look up what others have added.")  # fmt: skip
def removes_unknown(case: Case) -> Outcome:
    added: dict[bytes, int] = case.memory.of("shared objects")
    uuid = _uuid(case)
    if case.message.name != "SHARED_OBJECT_REMOVE" or uuid is None:
        return None
    if added.pop(uuid, None) is not None or not case.sure:
        return None
    return f"{case.name}: expected an object that was added before, came {uuid.hex()}"


@rule("VU-SO-05", "error", "GET_SHARED_OBJECT says which object", FRONT + "GET_SHARED_OBJECT",
      on=request("GET_SHARED_OBJECT"), bends=("qemu",), malformed=True,
      notes="QEMU leaves the size 0: the UUID is never sent.")  # fmt: skip
def asks_for_none(case: Case) -> Outcome:
    return "GET_SHARED_OBJECT: expected a UUID of 16 bytes, came a payload of 0" if case.message.size == 0 else None


@rule("VU-SO-06", "warning", "an object is added once", BACK + "SHARED_OBJECT_ADD", on=_CHANNEL)
def added_again(case: Case) -> Outcome:
    added: dict[bytes, int] = case.memory.of("shared objects")
    uuid = _uuid(case)
    if case.message.name != "SHARED_OBJECT_ADD" or uuid is None:
        return None
    earlier = added.get(uuid)
    if len(added) < MOST:
        added[uuid] = case.message.no
    if earlier is None:
        return None
    return Breach(f"{case.name}: expected a new object, came {uuid.hex()} again as in #{earlier}", evidence=(earlier,))
