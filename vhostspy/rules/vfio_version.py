"""vfio-user: VERSION, which is first, and the capabilities that both ends tell with it."""

from __future__ import annotations

from typing import Any

from .rule import Breach, Case, Outcome, rule
from .vfio_header import called, is_request
from .vfio_state import CLIENT, SERVER, answer, asked, capabilities, command, state, version_data

VERSION = "vfio-user, VFIO_USER_VERSION"
LIBVFIO = "libvfio-user, lib/tran.c"
_KNOWN: dict[str, tuple[type, ...]] = {
    "max_msg_fds": (int,),
    "max_data_xfer_size": (int,),
    "max_dma_maps": (int,),
    "pgsizes": (int,),
    "twin_socket": (dict,),
    "write_multiple": (bool,),
    "migration": (dict,),
}
BOTH = (command("VERSION"), answer("VERSION"))


def _data(case: Case) -> bytes:
    data: bytes = case.fields.get("version_data", b"")
    return data


@rule("VF-VER-01", "error", "VERSION is the first message", VERSION, on=is_request, malformed=True)
def first(case: Case) -> Outcome:
    message = case.message
    kept = state(case.memory)
    if not case.sure or message.name == "VERSION" or kept.version[CLIENT] is not None:
        return None
    return f"{called(case)}: expected VERSION first, it has not come" if case.first("VF-VER-01") else None


@rule("VF-VER-02", "error", "no other command before VERSION is answered", VERSION, on=is_request, malformed=True)
def too_early(case: Case) -> Outcome:
    kept = state(case.memory)
    asked_at = kept.version[CLIENT]
    if not case.sure or asked_at is None or kept.version[SERVER] is not None or case.message.name == "VERSION":
        return None
    if not case.first("VF-VER-02"):
        return None
    return Breach(f"{called(case)}: expected VERSION #{asked_at.no} to be answered before, it is not",
                  evidence=(asked_at.no,))  # fmt: skip


@rule("VF-VER-03", "error", "the reply has the command's major version, and no higher minor one", VERSION,
      on=answer("VERSION"))  # fmt: skip
def numbers(case: Case) -> Outcome:
    request = asked(case)
    if request is None or case.message.refused or "major" not in request.fields:
        return None
    major, minor = request.fields["major"], request.fields["minor"]
    came_major, came_minor = case.fields["major"], case.fields["minor"]
    if came_major == major and came_minor <= minor:
        return None
    text = f"{called(case)}: expected {major}.{minor} or a lower minor version, came {came_major}.{came_minor}"
    return Breach(text, evidence=(request.no,))


@rule("VF-VER-04", "error", "VERSION has its numbers, and behind them nothing, or a JSON object that ends with a NUL",
      f"{VERSION}; {LIBVFIO}", on=BOTH, malformed=True)  # fmt: skip
def text_of_json(case: Case) -> Outcome:
    message = case.message
    if message.refused or message.incomplete:
        return None
    if len(message.payload) < 4:
        return f"{called(case)}: expected 4 bytes of version numbers, came {len(message.payload)}"
    data = message.payload[4:]
    if not data:
        return None
    if not data.endswith(b"\0"):
        return f"{called(case)}: expected a NUL behind the JSON text, came {data[-1]:#x}"
    if b"\0" in data[:-1]:
        return f"{called(case)}: expected one NUL at the end of the JSON text, came {data.count(0)}"
    if version_data(data) is None:
        return f"{called(case)}: expected a JSON object, what came is none"
    return None


@rule("VF-VER-05", "warning", "the JSON object has capabilities, of known names", VERSION, on=BOTH)
def names(case: Case) -> Outcome:
    data = _data(case)
    found = version_data(data) if not case.message.refused else None
    if not data or found is None:
        return None
    if not isinstance(found.get("capabilities"), dict):
        return f"{called(case)}: expected an object called capabilities, there is none"
    unknown = sorted(set(capabilities(data)) - set(_KNOWN))
    if not unknown:
        return None
    return f"{called(case)}: expected capabilities of the specification, came also {', '.join(map(str, unknown[:4]))}"


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


@rule("VF-VER-06", "warning", "capabilities have the types that they should have", LIBVFIO, on=BOTH)
def types(case: Case) -> Outcome:
    found = capabilities(_data(case)) if not case.message.refused else {}
    for name, wanted in _KNOWN.items():
        if name in found and not _fits(found[name], wanted):
            expected = {int: "an integer", bool: "a boolean", dict: "an object"}[wanted[0]]
            return f"{called(case)}: expected {expected} as {name}, came {str(found[name])[:40]!r}"
    return None


def _twin(case: Case) -> dict[str, Any]:
    twin = capabilities(_data(case)).get("twin_socket")
    return twin if isinstance(twin, dict) else {}


@rule("VF-VER-07", "error", "no descriptors with VERSION; with its reply the server's own socket alone", LIBVFIO,
      on=BOTH, malformed=True)  # fmt: skip
def descriptors(case: Case) -> Outcome:
    message = case.message
    count = len(message.fds)
    most = 1 if message.is_reply and _twin(case).get("supported") is True else 0
    if count <= most:
        return None
    return f"{called(case)}: expected {'one descriptor' if most else 'no descriptor'}, came {count}"


@rule("VF-VER-08", "error", "a server's own socket is offered to who asked for it, by the place of its descriptor",
      VERSION, on=answer("VERSION"))  # fmt: skip
def twin_socket(case: Case) -> Outcome:
    twin = _twin(case)
    request = asked(case)
    if not twin.get("supported") or request is None:
        return None
    wanted = capabilities(request.fields.get("version_data", b"")).get("twin_socket")
    if not isinstance(wanted, dict) or wanted.get("supported") is not True:
        return Breach(f"{called(case)}: expected no twin_socket as it was not asked for, came one",
                      evidence=(request.no,))  # fmt: skip
    index = twin.get("fd_index")
    if not isinstance(index, int) or not 0 <= index < len(case.message.fds):
        return f"{called(case)}: expected the place of a descriptor as fd_index, came {str(index)[:20]}"
    return None


@rule("VF-VER-09", "warning", "the reply is no longer than the command", "QEMU, hw/vfio-user/proxy.c: refuses it",
      on=answer("VERSION"))  # fmt: skip
def longer(case: Case) -> Outcome:
    request = asked(case)
    size = case.message.size or 0
    if request is None or case.message.refused or size <= (request.size or 0) or (request.size or 0) <= 20:
        return None  # a command without JSON leaves all of it to the reply
    return f"{called(case)}: expected at most {request.size} bytes as the command has, came {size}"


@rule("VF-VER-10", "note", "VERSION comes once a connection", VERSION, on=command("VERSION"), malformed=True)
def again(case: Case) -> Outcome:
    before = state(case.memory).version[CLIENT]
    if before is None:
        return None
    return Breach(f"{called(case)}: expected once on a connection, came again", evidence=(before.no,))
