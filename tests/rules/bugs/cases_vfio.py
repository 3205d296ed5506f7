"""Bugs of vfio-user that people have hunted, as the messages in which they show."""

from __future__ import annotations

from .cases import BOTH, Case
from .vfio import CLIENT, SERVER

TEXT = '{"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1048576, "migration": {"pgsize": 4096}}}'
HELLO = f"""
        C #0 1 version(1, {TEXT})
        S #0 1{{R}} version(1, {TEXT})"""
MEMORY = """
        C #1 2 map(0,0x4000000,3) +1fd
        S #1 2{R}"""
#: of PCI: BAR 0 of 4 KiB, and what GET_REGION_INFO asks with
BAR = "hex(20000000 00000000 00000000 00000000 0000000000000000 0000000000000000)"

CASES = (
    Case("U1", "commands cross on the one socket", f"""{HELLO}{MEMORY}
        S #0 11 dma(0x1000,64)
        *C #8 9 io(0,0,4)
        > EOF""", "VF-HDR-11", "note", CLIENT),
    Case("U1 end", "and the end that waits for its reply takes the command for it", f"""{HELLO}{MEMORY}
        S #0 11 dma(0x1000,64)
        *C #8 9 io(0,0,4)
        < EOF""", "VF-HDR-11", "error", CLIENT),
    Case("U1 wait", "or both wait for ever", f"""{HELLO}{MEMORY}
        S #0 11 dma(0x1000,64)
        *C #8 9 io(0,0,4)
        …
        > EOF""", "VF-STL-01", "error", BOTH),
    Case("U3", "more eventfds than one message carries", f"""{HELLO}
        *C #1 8 irqs(0x24,2,0,300) +253fd
        > EOF""", "VF-FD-01", "error", CLIENT),
    Case("U3 17", "one more than the server takes", f"""{HELLO}
        *C #1 8 irqs(0x24,2,0,17) +17fd
        > EOF""", "VF-FD-01", "error", CLIENT),
    Case("U3 count", "and fewer than there are interrupts", f"""{HELLO}
        *C #1 8 irqs(0x24,2,0,300) +253fd
        > EOF""", "VF-IRQ-02", "error", CLIENT),
    Case("U5", "an error that is a command by its type", f"""{HELLO}
        C #5 9 io(0,0,4)
        *S #5 9{{X,22}}
        > EOF""", "VF-HDR-02", "error", SERVER),
    Case("U7", "the second piece is the first again", f"""{HELLO}{MEMORY}
        S #0 11 dma(0x1000,0x100000)
        *S #1 11 dma(0x1000,0x100000)
        > EOF""", "VF-DMA-12", "warning", SERVER),
    Case("U7 over", "a piece that is larger than the client takes", f"""{HELLO}{MEMORY}
        *S #0 11 dma(0x1000,0x100001)
        > EOF""", "VF-REG-02", "error", SERVER),
    Case("U7 last", "the last piece goes beyond what is mapped", f"""{HELLO}{MEMORY}
        *S #0 11 dma(0x3f80000,0x100000)
        > EOF""", "VF-DMA-09", "warning", SERVER),
    Case("U9", "a part of what was mapped is taken back", f"""{HELLO}
        C #1 2 map(0,0x200000,3) +1fd
        S #1 2{{R}}
        *C #2 3 unmap(0,0x100000)
        > EOF""", "VF-DMA-05", "error", CLIENT),
    Case("U9 during", "memory is read while it is being taken back", f"""{HELLO}{MEMORY}
        C #2 3 unmap(0,0x4000000)
        *S #0 11 dma(0x1000,64)
        > EOF""", "VF-DMA-09", "warning", SERVER,
         says="which DMA_UNMAP #5 is taking back"),
    Case("U11", "capabilities that are not there", f"""{HELLO}
        C #1 5 {BAR}
        *S #1 5{{R}} region(11,4096,32)
        > EOF""", "VF-INF-04", "error", SERVER),
    Case("U11 fd", "a descriptor although the region cannot be mapped", f"""{HELLO}
        C #1 5 {BAR}
        *S #1 5{{R}} region(3,4096,0) +1fd
        > EOF""", "VF-INF-03", "error", SERVER),
    Case("U13", "no NUL behind the text", f"""
        *C #0 1 bare(1, {TEXT})
        > EOF""", "VF-VER-04", "error", CLIENT),
    Case("U13 up", "the reply's minor version is above the command's", f"""
        C #0 1 version(0, {TEXT})
        *S #0 1{{R}} version(1, {TEXT})
        > EOF""", "VF-VER-03", "error", SERVER),
    Case("U13 type", "a number as text", """
        *C #0 1 version(1, {"capabilities": {"max_msg_fds": "16"}})
        > EOF""", "VF-VER-06", "warning", CLIENT),
    Case("U13 silent", "VERSION is never answered", f"""
        *C #0 1 version(1, {TEXT})
        …
        > EOF""", "VF-RTP-01", "note", SERVER, says="VERSION #"),
    Case("U15", "a reset in the middle of a migration, and its next step is refused", f"""{HELLO}
        C #1 16 feature(2,2,6,0)
        S #1 16{{R}} feature(2,2,6,0)
        C #2 13
        S #2 13{{R}}
        C #3 16 feature(2,2,3,0)
        *S #3 16{{E,22}}
        > EOF""", "VF-MIG-08", "warning", SERVER),
    Case("U17", "descriptors, and nothing to do with them", f"""{HELLO}
        *C #1 8 irqs(0x21,2,0,0) +1fd
        > EOF""", "VF-IRQ-05", "warning", CLIENT),
    Case("U17 slot", "an interrupt that the type has not", f"""{HELLO}
        C #1 7 info(0,3,0)
        S #1 7{{R}} info(1,3,1)
        *C #2 8 irqs(0x24,3,1,1) +1fd
        > EOF""", "VF-IRQ-03", "error", CLIENT),
    Case("U17 both", "fewer descriptors than interrupts", f"""{HELLO}
        *C #1 8 irqs(0x24,2,0,4) +3fd
        > EOF""", "VF-IRQ-02", "error", CLIENT),
    Case("U19", "an answer later than QEMU waits for", f"""{HELLO}
        *C #1 9 io(0,0,4)
        ~6000
        S #1 9{{R}} io(0,0,4;4)
        > EOF""", "VF-RTP-01", "note", SERVER),
)  # fmt: skip
