"""The dirty log of migration: in which order it begins and ends, and whether it reaches far enough."""

from __future__ import annotations

from vhostspy.session.state import Log, Session

from .gates import FRONT, LOG_SHMFD
from .memory import PAGE, WRAP
from .negotiation import LOG_ALL
from .rule import Breach, Case, Outcome, request, rule

MIGRATION = "vhost-user, Migration"
QEMU = "QEMU, hw/virtio/vhost.c, vhost_migration_log"
GUEST_ANNOUNCE = 1 << 21
#: guest memory that one octet of the log stands for: a bit a page
STEP = 8 * PAGE


@rule("VU-LOG-01", "warning", "SET_LOG_BASE comes before LOG_ALL is acknowledged", MIGRATION,
      on=request("SET_FEATURES"))  # fmt: skip
def logging_without_log(case: Case) -> Outcome:
    if not case.fields["features"] & LOG_ALL or case.before.log is not None or not case.sure:
        return None
    if not case.first("VU-LOG-01"):
        return None
    return "SET_FEATURES: expected SET_LOG_BASE before LOG_ALL (bit 26) is acknowledged, there was none"


@rule("VU-LOG-02", "error", "LOG_ALL is acknowledged only where it was offered", MIGRATION,
      on=request("SET_FEATURES"))  # fmt: skip
def logging_not_offered(case: Case) -> Outcome:
    offered = case.before.virtio_offered
    if offered is None or offered & LOG_ALL or not case.fields["features"] & LOG_ALL:
        return None
    return "SET_FEATURES: expected LOG_ALL (bit 26) to be offered, it is acknowledged without"


def _highest(session: Session) -> int:
    return max((region.guest_address + region.size for region in session.regions if region.size), default=0)


def needed(session: Session) -> int:
    """Bytes of log for all of guest memory."""
    highest = _highest(session)
    return (highest - 1) // STEP + 1 if highest else 0


def _too_short(session: Session, log: Log, name: str) -> Breach | None:
    wanted = needed(session)
    if log.size >= wanted or not session.whole:
        return None
    text = f"{name}: expected a log of {wanted} bytes for guest memory up to {_highest(session):#x}, it has {log.size}"
    return Breach(text, evidence=(log.no,))


@rule(
    "VU-LOG-03", "error", "the log reaches to the highest guest address and to what rings log, and its file is as long",
    MIGRATION, on=request("SET_LOG_BASE", "SET_VRING_ADDR", "SET_MEM_TABLE", "ADD_MEM_REG"),
    notes="Memory that grows while nothing is logged: not judged. An offset of no whole pages: a warning.",
)  # fmt: skip
def too_short(case: Case) -> Outcome:
    session, name = case.after, case.message.name
    log = session.log
    if log is None or name == "SET_LOG_BASE" and "mmap_length" not in case.fields:
        return None
    if name == "SET_LOG_BASE":
        return _log_area(case, log) or _too_short(session, log, case.name)
    if name != "SET_VRING_ADDR":
        return _too_short(session, log, case.name) if session.logging else None
    if not case.fields.get("log_used"):
        return None
    address = case.fields["log_address"]
    if address // STEP < log.size:
        return None
    text = f"SET_VRING_ADDR: expected the bits of {address:#x} within the log of {log.size} bytes, they are at "
    return Breach(f"{text}{address // STEP}", evidence=(log.no,))


def _log_area(case: Case, log: Log) -> Breach | None:
    end = log.offset + log.size
    if end > WRAP:
        return Breach(
            f"{case.name}: expected offset and size below 2^64, came {log.offset:#x} with {log.size:#x} bytes"
        )
    fd = log.fd
    if fd is not None and fd.size is not None and fd.kind in ("memfd", "file") and end > fd.size:
        return Breach(f"{case.name}: expected a file of {end:#x} bytes or more, came {fd.size:#x}")
    if log.offset % PAGE:
        text = f"{case.name}: expected an offset of whole pages, came {log.offset:#x}"
        return Breach(text, severity="warning")
    return None


@rule("VU-LOG-04", "warning", "rings log only while LOG_ALL is acknowledged", MIGRATION, on=request("SET_VRING_ADDR"))
def ring_logs_alone(case: Case) -> Outcome:
    if not case.fields.get("log_used") or case.before.virtio_agreed is None or case.before.logging or not case.sure:
        return None
    return f"SET_VRING_ADDR: expected LOG_ALL before ring {case.fields['index']} logs, it is not acknowledged"


@rule("VU-LOG-05", "note", "logging begins with the log, then features, then rings; and ends the other way round", QEMU,
      on=request("SET_FEATURES"))  # fmt: skip
def order(case: Case) -> Outcome:
    before, after = case.before, case.after
    if not before.logging or after.logging:
        return None
    logging = [number for number, ring in before.rings.items() if ring.logged and ring.started]
    if not logging:
        return None
    return f"SET_FEATURES: expected ring {logging[0]} to stop logging before LOG_ALL is taken back, it still does"


@rule("VU-LOG-06", "warning", "the log is handed over once", "QEMU, hw/virtio/vhost.c, vhost_dev_log_resize",
      on=request("SET_LOG_BASE"), notes="Of another size, or while no ring is started: a note. DPDK has unmapped logs "
      "in use.")  # fmt: skip
def replaced(case: Case) -> Outcome:
    old, new = case.before.log, case.after.log
    if old is None or new is None:
        return None
    started = [number for number, ring in case.before.rings.items() if ring.started]
    text = f"SET_LOG_BASE: expected the log of #{old.no} to stay"
    text += f" while ring {started[0]} is started, it is replaced" if started else ", it is replaced"
    mild = not started or old.size != new.size
    return Breach(text, evidence=(old.no,), severity="note" if mild else None)


@rule("VU-LOG-07", "warning", "SEND_RARP is for guests that do not announce themselves", FRONT + "SEND_RARP",
      on=request("SEND_RARP"), malformed=True)  # fmt: skip
def announces_itself(case: Case) -> Outcome:
    if not (case.before.virtio_agreed or 0) & GUEST_ANNOUNCE or not case.first("VU-LOG-07"):
        return None
    return "SEND_RARP: expected none as the guest announces itself (GUEST_ANNOUNCE, bit 21)"


@rule("VU-LOG-08", "warning", "a log is handed over only with LOG_SHMFD", QEMU, on=request("SET_LOG_BASE"),
      malformed=True)  # fmt: skip
def not_shared(case: Case) -> Outcome:
    agreed = case.before.protocol_agreed
    if agreed is None or agreed & LOG_SHMFD or not case.sure or not case.first("VU-LOG-08"):
        return None
    return "SET_LOG_BASE: expected LOG_SHMFD to be agreed on, it is not: the log cannot be shared"
