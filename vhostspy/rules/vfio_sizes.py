"""vfio-user: payloads are as long as the structure that their row names, where no other rule speaks of it."""

from __future__ import annotations

from .rule import Breach, Case, Outcome, Slot, rule
from .sizes import mistaken, sizes_of
from .vfio_header import called
from .vfio_state import vfio

#: (name, whether a reply) -> the rule that its size has
ELSEWHERE = {
    ("VERSION", False): "VF-VER-04",
    ("VERSION", True): "VF-VER-04",
    ("DMA_MAP", False): "VF-DMA-01",
    ("DMA_UNMAP", False): "VF-DMA-01",
    ("DMA_UNMAP", True): "VF-DMA-08",
    ("DEVICE_GET_INFO", False): "VF-INF-01",
    ("DEVICE_GET_REGION_INFO", False): "VF-INF-01",
    ("DEVICE_GET_REGION_IO_FDS", False): "VF-INF-01",
    ("DEVICE_GET_IRQ_INFO", False): "VF-INF-01",
    ("DEVICE_SET_IRQS", False): "VF-IRQ-02",
    ("REGION_READ", False): "VF-REG-02",
    ("REGION_READ", True): "VF-REG-02",
    ("REGION_WRITE", False): "VF-REG-02",
    ("DMA_READ", False): "VF-REG-02",
    ("DMA_READ", True): "VF-REG-02",
    ("DMA_WRITE", False): "VF-REG-02",
    ("DEVICE_RESET", False): "VF-RST-01",
    ("REGION_WRITE_MULTI", False): "VF-REG-04",
    # removed long ago, see VF-HDR-07
    ("DIRTY_PAGES", False): "VF-HDR-07",
    ("DIRTY_PAGES", True): "VF-HDR-07",
}


def _others(slot: Slot) -> bool:
    return slot.row is not None and (slot.row.name, slot.kind != "request") not in ELSEWHERE


@rule("VF-SZ-01", "error", "a payload is as long as the message's structure", "vfio-user, Message sizes",
      on=vfio(_others, "commands and replies whose size has no rule of its own"), malformed=True, pure=True,
      notes="Longer than it: a warning, as receivers read past that.")  # fmt: skip
def as_long_as_its_structure(case: Case) -> Outcome:
    message = case.message
    if message.refused or not mistaken(case):
        return None  # of an error: VF-HDR-04
    longer = message.decoded.layout is not None and not message.decoded.missing
    text = f"{called(case)}: expected a payload of {sizes_of(case)}, came {len(message.payload)}"
    return Breach(text, severity="warning" if longer else None)
