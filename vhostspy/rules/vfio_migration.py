"""vfio-user: features of the device, its migration, and the tracking of written pages."""

from __future__ import annotations

from .rule import Breach, Case, Outcome, rule
from .vfio_header import called
from .vfio_state import answer, asked, command, state

FEATURE = "vfio-user, VFIO_USER_DEVICE_FEATURE"
SIZES = "vfio-user, Message sizes"
KNOWN = {1: "MIGRATION", 2: "MIG_DEVICE_STATE", 6: "DMA_LOGGING_START", 7: "DMA_LOGGING_STOP", 8: "DMA_LOGGING_REPORT"}
ERROR, STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY = 0, 1, 2, 3, 4, 6
STATES = {0: "ERROR", 1: "STOP", 2: "RUNNING", 3: "STOP_COPY", 4: "RESUMING", 5: "RUNNING_P2P", 6: "PRE_COPY",
          7: "PRE_COPY_P2P"}  # fmt: skip


@rule("VF-MIG-01", "error", "a feature is got or set, not both, and is a known one", f"{FEATURE}; libvfio-user",
      on=command("DEVICE_FEATURE"), malformed=True, pure=True, notes="A probe may name both.")  # fmt: skip
def feature(case: Case) -> Outcome:
    fields = case.fields
    if "feature" not in fields:
        return None
    if fields["get"] and fields["set"] and not fields["probe"]:
        return f"{called(case)}: expected GET or SET, came both"
    if not (fields["get"] or fields["set"] or fields["probe"]):
        return f"{called(case)}: expected GET, SET or PROBE, came none"
    if fields["feature"] in KNOWN:
        return None
    return f"{called(case)}: expected one of the features {', '.join(map(str, KNOWN))}, came {fields['feature']}"


@rule("VF-MIG-02", "error", "a state is asked for that can be reached: not ERROR, not PRE_COPY from STOP_COPY",
      f"{FEATURE}, MIG_DEVICE_STATE", on=command("DEVICE_FEATURE"))  # fmt: skip
def arcs(case: Case) -> Outcome:
    fields = case.fields
    if fields.get("feature") != 2 or not fields.get("set") or fields.get("probe"):
        return None
    wanted = fields.get("device_state", RUNNING)
    before = state(case.memory).migration
    if wanted == ERROR or wanted not in STATES:
        return f"{called(case)}: expected a state that can be asked for, came {STATES.get(wanted, wanted)}"
    if before == STOP_COPY and wanted == PRE_COPY:
        return f"{called(case)}: expected another state after STOP_COPY, came PRE_COPY"
    return None


@rule("VF-MIG-03", "error", "a report of written pages is asked for while they are tracked",
      f"{FEATURE}, DMA_LOGGING_REPORT", on=command("DEVICE_FEATURE"))  # fmt: skip
def not_tracked(case: Case) -> Outcome:
    fields = case.fields
    if not case.sure or fields.get("feature") != 8 or fields.get("probe") or state(case.memory).logging:
        return None
    return f"{called(case)}: expected DMA_LOGGING_START before DMA_LOGGING_REPORT, there was none"


@rule("VF-MIG-04", "error", "pages are a power of two, and the bitmap has a bit for each",
      f"{FEATURE}, DMA_LOGGING_REPORT", on=(command("DEVICE_FEATURE"), answer("DEVICE_FEATURE")),
      pure=True)  # fmt: skip
def bitmap(case: Case) -> Outcome:
    fields = case.fields
    if fields.get("feature") not in (6, 8) or fields.get("probe") or "page_size" not in fields:
        return None
    page = fields["page_size"]
    if page <= 0 or page & (page - 1):
        return f"{called(case)}: expected a page size that is a power of two, came {page}"
    if not case.message.is_reply or "bitmap" not in fields:
        return None
    pages = -(-fields["length"] // page)
    wanted = -(-pages // 64) * 8
    came = len(fields["bitmap"])
    return (
        f"{called(case)}: expected a bitmap of {wanted} bytes for {pages} pages, came {came}"
        if came != wanted
        else None
    )


@rule("VF-MIG-05", "error", "state is read in PRE_COPY and STOP_COPY, and written in RESUMING",
      "vfio-user, VFIO_USER_MIG_DATA_READ", on=command("MIG_DATA_READ", "MIG_DATA_WRITE"))  # fmt: skip
def data_state(case: Case) -> Outcome:
    before = state(case.memory).migration
    reads = case.message.name == "MIG_DATA_READ"
    if before is None or before in ((PRE_COPY, STOP_COPY) if reads else (RESUMING,)):
        return None
    wanted = "PRE_COPY or STOP_COPY" if reads else "RESUMING"
    return f"{called(case)}: expected the state {wanted}, it is {STATES.get(before, before)}"


@rule("VF-MIG-06", "warning", "no more data at once than max_data_xfer_size", SIZES,
      on=command("MIG_DATA_READ", "MIG_DATA_WRITE"))  # fmt: skip
def data_size(case: Case) -> Outcome:
    message = case.message
    taker = message.sender if message.name == "MIG_DATA_READ" else 1 - message.sender
    most = state(case.memory).limit(taker, "max_data_xfer_size")
    came = case.fields["length"]
    if not case.sure or came <= most:
        return None
    return f"{called(case)}: expected at most {most} bytes by max_data_xfer_size, came {came}"


@rule("VF-MIG-07", "warning", "state is read to its end, a reply of less than was asked for",
      "vfio-user, VFIO_USER_MIG_DATA_READ", on=(answer("MIG_DATA_READ"), command("DEVICE_FEATURE")))  # fmt: skip
def read_to_the_end(case: Case) -> Outcome:
    notes = case.memory.of("VF-MIG-07")
    message = case.message
    if message.is_reply:
        request = asked(case)
        if request is not None and not message.refused:
            more = case.fields.get("length", 0) >= request.fields.get("length", 0)
            notes["open"] = message.no if more else None
        return None
    fields = case.fields
    no = notes.get("open")
    if fields.get("feature") != 2 or not fields.get("set") or fields.get("probe") or no is None:
        return None
    if state(case.memory).migration != STOP_COPY:
        return None
    notes["open"] = None
    text = f"{called(case)}: expected MIG_DATA_READ until less comes than was asked for, #{no} had all of it"
    return Breach(text, evidence=(no,))


@rule("VF-MIG-08", "warning", "a reset does not undo a migration",
      "libvfio-user 4f4fce4: put the state back to RUNNING",
      on=(command("DEVICE_RESET", "DEVICE_FEATURE"), answer("DEVICE_FEATURE")), malformed=True,
      notes="Where a state is refused after DEVICE_RESET during a migration.")  # fmt: skip
def reset_in_migration(case: Case) -> Outcome:
    message, fields = case.message, case.fields
    notes = case.memory.of("VF-MIG-08")
    if message.name == "DEVICE_RESET":
        # the state is kept anew only after this
        if state(case.memory).migration not in (None, ERROR, RUNNING):
            notes["reset"] = message.no
        return None
    if message.kind == "request":
        if fields.get("feature") == 2 and fields.get("set") and "reset" in notes:
            notes["asked"] = message.no, STATES.get(fields.get("device_state", ERROR), "a state")
        return None
    no, wanted = notes.pop("asked", (0, ""))
    if message.answers != no or not no:
        return None
    reset = notes.pop("reset")
    if not message.refused:
        return None
    text = (
        f"{called(case)}: expected {wanted} to be taken as asked in #{no}, it was refused; DEVICE_RESET #{reset} came "
    )
    return Breach(f"{text}during the migration, and may have put the state back to RUNNING", evidence=(reset, no))
