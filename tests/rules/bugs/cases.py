"""Bugs that people have hunted, as the messages in which they show. The ids are those under which we keep them.

Each is written in the notation of ``notation``; what is expected is a rule, its severity, who is to blame, and the
message marked by ``*``.
"""

from __future__ import annotations

from typing import NamedTuple

from .notation import BACK, FRONT

BOTH = 2
#: one region of 16 MiB where RING(i) has its rings
ONE = "mt(1;0/0x1000000/0x7f0000000000/0)"
MEMORY = f"> 5 {ONE}+1fd\n"


class Case(NamedTuple):
    id: str
    title: str
    script: str
    rule: str
    severity: str
    who: int | None
    profile: tuple[str | None, str | None] = (None, None)
    #: a part of the sentence
    says: str = ""


CASES = (
    # -- negotiation
    Case("N1", "a bit that the front-end does not know, and it refuses the whole offer", """
        > 1
        < 1{R}=0x140000000
        > 15
        *< 15{R}=0x80008
        > EOF""", "VU-CLS-04", "warning", FRONT,
         says="DEVICE_STATE"),
    Case("N3", "an acknowledgement depends on bit 30, which SET_FEATURES left out", f"""
        > 1
        < 1{{R}}=0x140000000
        > 15
        < 15{{R}}=0x8
        > 16=0x8
        > 3
        > 2=0x100000000
        *> 5{{NR}} {ONE}+1fd
        …
        > EOF""", "VU-RPL-02", "error", BACK),
    Case("N5", "the first SET_FEATURES has bit 30 only: taken for a legacy guest", """
        > 1
        < 1{R}=0x140000000
        *> 2=0x40000000
        < EOF""", "VU-NEG-14", "note", FRONT),
    Case("N5 end", "and the back-end ends on it", """
        > 1
        < 1{R}=0x140000000
        *> 2=0x40000000
        < EOF""", "VU-CLS-01", "warning", BACK),
    Case("N7", "rings that wait to be enabled, and nobody does it", f"""
        HELLO(0x8)
        {MEMORY}
        > 8 st(0,256)
        > 10 st(0,0)
        > 9 a(0,0,0x7f0000000000,0x7f0000002000,0x7f0000001000,0)
        *> 12=0 +1fd
        > 13=0 +1fd
        …
        > EOF""", "VU-VR-15", "warning", FRONT),
    Case("N9", "shared memory mapped by peers that agreed on bit 21, which once meant that", """
        HELLO(0x200428)
        > 5 mt(1;0/0x1000000/0/0)+1fd
        > 21 +1fd
        *b< 9 mmap(0,0,0,4096,1)+1fd
        > EOF""", "VU-SHM-01", "warning", BACK,
         says="drafts had it on bit 21"),
    Case("N9 gpa", "bit 21 agreed on by accident: addresses are not the guest's", f"""
        HELLO(0x200428)
        *{MEMORY}
        > EOF""", "VU-MEM-13", "error", FRONT,
         says="is bit 21 meant as SHMEM?"),
    Case("N11", "a bit acknowledged that was not offered", """
        > 1
        < 1{R}=0x140000000
        > 3
        *> 2{NR}=0x1140000000
        > EOF""", "VU-NEG-01", "error", FRONT,
         says="ORDER_PLATFORM"),
    Case("N13", "rings enabled one by one without bit 30", """
        > 3
        > 1
        < 1{R}=0x140000000
        > 15
        < 15{R}=0x9
        > 16=0x9
        > 2=0x100000000
        *> 18 st(0,1)
        > EOF""", "VU-NEG-16", "warning", FRONT),
    Case("N15", "what was agreed on is forgotten over a reconnect", """
        HELLO(0x1208)
        > EOF
        again
        > 1
        < 1{R}=0x140000000
        > 15
        < 15{R}=0x1208
        *> 16=0x8
        > EOF""", "VU-SES-01", "warning", FRONT,
         says="CONFIG, INFLIGHT_SHMFD"),
    Case("N17", "a packed ring's position in the form of a split one", """
        > 1
        < 1{R}=0x540000000
        > 3
        > 2=0x540000000
        > 8 st(0,256)
        *> 10 st(0,0)
        > EOF""", "VU-NEG-18", "warning", FRONT),
    Case("N19", "a back-end without bit 30 is refused, and memory slots are blamed", """
        > 1
        < 1{R}=0x100000000
        > 3
        *> 1
        > EOF""", "VU-CLS-03", "warning", FRONT,
         says="has not offered PROTOCOL_FEATURES (bit 30)"),
    # -- replies
    Case("R1", "an answer is waited for whose request was never sent", f"""
        HELLO(0x9)
        > 17
        < 17{{R}}=4
        > 5{{NR}} {ONE}+1fd
        < 5{{R}}=0
        > 8 st(0,256)
        > 10 st(0,0)
        > 9 a(0,0,0x7f0000000000,0x7f0000002000,0x7f0000001000,0)
        *> 13=0 +1fd
        …
        > EOF""", "VU-STL-03", "note", FRONT,
         says="nobody owed anything"),
    Case("R3 0 bytes", "an answer to SET_LOG_BASE that its front-end waits for, in vain", f"""
        HELLO(0xa)
        {MEMORY}
        > 6 log(4096,0)+1fd
        *< 6{{R}}
        …
        > EOF""", "VU-STL-04", "warning", None, ("cloud-hypervisor", None)),
    Case("R3 8 bytes", "the same, of libvhost-user", f"""
        HELLO(0xa)
        {MEMORY}
        > 6 log(4096,0)+1fd
        *< 6{{R}}=0
        > EOF""", "VU-STL-04", "warning", None, ("rust-vmm", None)),
    Case("R3 16 bytes", "the same, of rust-vmm, to a front-end that may read 8", f"""
        HELLO(0xa)
        {MEMORY}
        > 6 log(4096,0)+1fd
        *< 6{{R}} log(4096,0)
        > EOF""", "VU-STL-04", "note", None),
    Case("R5", "an acknowledgement asked for that nobody agreed on", """
        > 1
        < 1{R}=0x140000000
        > 15
        < 15{R}=0x8
        > 16=0x0
        *> 3{NR}
        …
        > EOF""", "VU-HDR-08", "warning", FRONT),
    Case("R7", "offers acknowledgements, and never sends one", f"""
        HELLO(0x8)
        *> 5{{NR}} {ONE}+1fd
        …
        < EOF""", "VU-RPL-02", "error", BACK),
    Case("R9", "acknowledged with 0, and gone", """
        HELLO(0x8)
        *> 5{NR} mt(2;0/0x100000/0x7f0000000000/0,0x200000/0x100000/0x7f0000200000/0)+2fd
        < 5{R}=0
        < EOF""", "VU-CLS-01", "error", BACK,
         says="most likely about SET_MEM_TABLE"),
    Case("R11", "an answer that was made, and not sent", """
        HELLO(0x80008)
        *> 43
        …
        > EOF""", "VU-RPL-01", "error", BACK),
    Case("R13", "enabled, and nobody waits until it is", f"""
        HELLO(0x8)
        {MEMORY}
        RING(0)
        *> 18 st(0,1)
        ~2000
        > EOF""", "VU-RACE-01", "note", FRONT),
    Case("R15", "memory changed under started rings, without waiting", f"""
        HELLO(0x8)
        {MEMORY}
        > 1
        < 1{{R}}=0x140000000
        RING(0)
        > 18 st(0,1)
        *> 5 mt(2;0/0x1000000/0x7f0000000000/0,0x2000000/0x100000/0x7f0002000000/0)+2fd
        > 13=0 +1fd
        > EOF""", "VU-RACE-02", "warning", FRONT),
    Case("R17", "an error's text behind the acknowledgement", f"""
        HELLO(0x8)
        > 5{{NR}} {ONE}+1fd
        *< 5{{R}} zeros(40)
        > EOF""", "VU-SZ-01", "error", BACK,
         says="came 40"),
    # -- descriptors
    Case("F1", "a descriptor with a message that carries none", """
        *> 1 +1fd
        < 1{R}=0x140000000
        > EOF""", "VU-FD-02", "error", FRONT),
    Case("F3 polling", "no descriptor, as bit 8 says: refused by DPDK after a fix", """
        HELLO(0)
        *> 13=0x100
        > EOF""", "VU-VR-20", "note", FRONT),
    Case("F3 with", "bit 8, and a descriptor", """
        HELLO(0)
        *> 13=0x100 +1fd
        > EOF""", "VU-FD-05", "error", FRONT),
    Case("F3 without", "no bit 8, and no descriptor", """
        HELLO(0)
        *> 13=0
        > EOF""", "VU-FD-05", "error", FRONT),
    Case("F3 three", "three descriptors for a ring", """
        HELLO(0)
        *> 13=0 +3fd
        > EOF""", "VU-FD-05", "error", FRONT),
    Case("F5", "in-flight regions asked for again and again, none given back", "HELLO(0x1000)\n" + """
        > 31 inf(0,0,1,128)
        < 31{R} inf(4096,0,1,128)+1fd
        """ * 8 + "*> 31 inf(0,0,1,128)\n> EOF", "VU-INF-02", "error", FRONT,
         says="came 9 times"),
    Case("F5 set", "a region handed back again and again: each is another mapping", "HELLO(0x1000)\n" +
         "> 32 inf(8192,0,1,128)+1fd\n" * 8 + "*> 32 inf(8192,0,1,128)+1fd\n> EOF", "VU-INF-02", "error", FRONT,
         says="came 9 times"),
    Case("F7", "a second back-end channel in place of the first", """
        HELLO(0x28)
        > 21{NR} +1fd
        < 21{R}=0
        *> 21{NR} +1fd
        < 21{R}=0
        > EOF""", "VU-BE-02", "warning", FRONT),
    Case("F9", "eight octets of an eventfd in the middle of the stream: its number was another's by then", """
        HELLO(0)
        > 1
        *< raw(01 00 00 00 00 00 00 00)
        < 1{R}=0x140000000
        > EOF""", "VU-HDR-01", "error", BACK,
         says="a write to an eventfd"),
    Case("F11", "descriptors run out, and a header of zeros is what comes", """
        HELLO(0)
        *> raw(00 00 00 00 00 00 00 00 00 00 00 00)
        > EOF""", "VU-HDR-03", "error", FRONT),
    Case("F11 rate", "call descriptors that a back-end does not close", "HELLO(0)\n" + "> 13=0 +1fd\n" * 50 +
         "*> 13=0 +1fd\n" + "> 13=0 +1fd\n" * 49 + "> EOF", "VU-FD-17", "note", FRONT,
         says="runs out of descriptors"),
    Case("F13", "two regions, and an assertion that counts octets", """
        HELLO(0)
        *> 5 mt(2;0/0x100000/0x7f0000000000/0,0x200000/0x100000/0x7f0000200000/0)+2fd
        < EOF""", "VU-CLS-01", "warning", BACK),
    # -- memory
    Case("M1", "a region of 36 bytes, as QEMU sent it for years", """
        HELLO(0x8008)
        *> 37 zeros(36)+1fd
        > EOF""", "VU-SZ-05", "error", FRONT,
         says="as of QEMU 5.0"),
    Case("M3", "neighbours merged that have different files", """
        HELLO(0)
        *> 5 mt(1;0/0x200000/0x7f0000000000/0)+1fd:1M
        > EOF""", "VU-MEM-10", "warning", FRONT),
    Case("M5", "one region more than slots", """
        HELLO(0x8000)
        > 36
        < 36{R}=2
        > 37 mr(0/0x100000/0x7f0000000000/0)+1fd
        > 37 mr(0x100000/0x100000/0x7f0000100000/0)+1fd
        *> 37 mr(0x200000/0x100000/0x7f0000200000/0)+1fd
        > EOF""", "VU-MEM-05", "error", FRONT),
    Case("M7", "a ring outside of every region", f"""
        HELLO(0)
        {MEMORY}
        > 8 st(0,256)
        *> 9 a(0,0,0xdead0000,0xdeae0000,0xdeaf0000,0)
        > EOF""", "VU-VR-06", "error", FRONT),
    Case("M9", "memory that takes six seconds to be mapped", f"""
        HELLO(0x8)
        *> 5{{NR}} {ONE}+1fd
        ~6000
        < 5{{R}}=0
        > EOF""", "VU-RPL-15", "warning", BACK),
    Case("M11", "a region without a descriptor", """
        HELLO(0)
        *> 5 mt(2;0/0x100000/0x7f0000000000/0,0x200000/0x100000/0x7f0000200000/0)+1fd
        > EOF""", "VU-FD-03", "error", FRONT),
    # -- rings
    Case("V1", "kicks between start and enable", f"""
        HELLO(0x8)
        {MEMORY}
        RING(0)
        ~300
        *> 18 st(0,1)
        > EOF""", "VU-RACE-03", "note", FRONT,
         says="may be lost"),
    Case("V3", "nobody enables rings, as bit 30 is not agreed on", f"""
        > 1
        < 1{{R}}=0x140000000
        > 3
        > 2=0x100000000
        {MEMORY}
        > 8 st(0,256)
        > 10 st(0,0)
        > 9 a(0,0,0x7f0000000000,0x7f0000002000,0x7f0000001000,0)
        *> 12=0 +1fd
        > 13=0 +1fd
        > EOF""", "VU-RUN-10", "note", FRONT),
    Case("V5", "a ring that ran from 500 says that it is at 0", f"""
        HELLO(0x8)
        {MEMORY}
        RING(0)
        > 18 st(0,1)
        > 18 st(0,0)
        > 11 st(0,0)
        < 11{{R}} st(0,700)
        > 10 st(0,500)
        > 12=0 +1fd
        > 11 st(0,0)
        *< 11{{R}} st(0,0)
        > EOF""", "VU-RUN-03", "warning", BACK),
    Case("V7", "a ring is stopped that never was", """
        HELLO(0)
        *> 11 st(1,0)
        < 11{R} st(1,0)
        > EOF""", "VU-RUN-02", "warning", FRONT),
    Case("V9", "every other ring is enabled", f"""
        HELLO(0)
        {MEMORY}
        RING(0)
        > 8 st(1,256)
        > 9 a(1,0,0x7f0000010000,0x7f0000012000,0x7f0000011000,0)
        *> 12=1 +1fd
        > 18 st(0,1)
        > EOF""", "VU-VR-15", "warning", FRONT),
    Case("V11", "the back-end reads a message, and nothing follows", """
        HELLO(0x8)
        *> 13{NR}=0 +1fd
        …
        > EOF""", "VU-STL-02", "warning", BACK),
    Case("V13", "enabled without bit 30, and the back-end ends on it", """
        > 1
        < 1{R}=0x140000000
        > 15
        < 15{R}=0x8
        > 16=0x8
        > 3
        > 2=0x100000000
        *> 18{NR} st(0,1)
        < EOF""", "VU-NEG-16", "error", FRONT),
    Case("V15", "a split ring of 100", """
        HELLO(0x8)
        *> 8{NR} st(0,100)
        < 8{R}=1
        > EOF""", "VU-VR-01", "error", FRONT),
    Case("V17", "a guest restarts, its rings were never stopped", f"""
        HELLO(0)
        {MEMORY}
        RING(0)
        > 18 st(0,1)
        *> 8 st(0,128)
        > EOF""", "VU-VR-02", "error", FRONT,
         says="256, now 128"),
    # -- reconnect
    Case("C1", "the back-end dies before its first answer", """
        *> 1
        < EOF""", "VU-CLS-03", "warning", BACK,
         says="step 1 of 10"),
    Case("C3", "features are not restored", """
        HELLO(0x8)
        < EOF
        again
        > 1
        < 1{R}=0x140000000
        > 3
        *> 2=0x100000000
        > EOF""", "VU-SES-01", "warning", FRONT),
    Case("C7", "accepted by a process that is about to end", """
        *> 3
        < RESET""", "VU-CLS-03", "warning", BACK),
    Case("C9", "the back-end has another front-end already", """
        > 3
        > 1
        < 1{R}=0x140000000
        beside
        *> 3
        …
        > EOF""", "VU-SES-04", "note", FRONT),
    # -- in-flight
    Case("I1", "asked for before anybody knows how rings look", """
        > 1
        < 1{R}=0x140000000
        > 15
        < 15{R}=0x1000
        > 16=0x1000
        > 3
        *> 31 inf(0,0,1,128)
        > EOF""", "VU-INF-04", "warning", FRONT),
    Case("I3", "65535 queues in two pages", """
        HELLO(0x1008)
        *> 32{NR} inf(8192,0,0xffff,128)+1fd
        > EOF""", "VU-INF-05", "error", FRONT),
    Case("I5", "positions are lost, and nobody says so", f"""
        HELLO(0)
        {MEMORY}
        RING(0)
        *> 11 st(0,0)
        < EOF""", "VU-RPL-01", "error", BACK,
         says="GET_VRING_BASE"),
    # -- migration
    Case("L1", "the log once more for each pair of queues", f"""
        HELLO(0x2)
        {MEMORY}
        RING(0)
        > 6 log(4096,0)+1fd
        < 6{{R}}
        *> 6 log(4096,0)+1fd
        < 6{{R}}
        > EOF""", "VU-LOG-06", "warning", FRONT),
    Case("L3", "offset and size of the log wrap", """
        HELLO(0x2)
        *> 6 log(0x2000,0xfffffffffffff000)+1fd
        > EOF""", "VU-LOG-03", "error", FRONT),
    Case("L5", "logging without a log", """
        > 1
        < 1{R}=0x144000000
        > 3
        *> 2=0x144000000
        > EOF""", "VU-LOG-01", "warning", FRONT),
    Case("L7", "a descriptor is said to come, and does not", """
        HELLO(0x80000)
        > 42 ds(0,0)+1fd
        *< 42{R}=0
        > EOF""", "VU-FD-09", "error", BACK),
    Case("L9", "the state is asked for while rings run", f"""
        HELLO(0x80000)
        {MEMORY}
        RING(0)
        > 18 st(0,1)
        *> 42 ds(1,0)+1fd
        < 42{{R}}=0x100
        > EOF""", "VU-DS-03", "error", FRONT),
    Case("L9 check", "and nobody looks whether it came", """
        HELLO(0x80000)
        *> 42 ds(1,0)+1fd
        < 42{R}=0x100
        > EOF""", "VU-DS-07", "warning", FRONT),
    Case("RS3 ungated", "a status although nobody agreed on it", """
        HELLO(0)
        *> 39=1
        > EOF""", "VU-ST-01", "error", FRONT,
         says="STATUS (bit 16)"),
    Case("L3 page", "a log that begins within a page", """
        HELLO(0x2)
        *> 6 log(0x1000,0x10)+1fd
        > EOF""", "VU-LOG-03", "warning", FRONT,
         says="whole pages"),
    Case("S5 wrap", "a region whose offset and size wrap", """
        HELLO(0)
        *> 5 mt(1;0/0xfffffffffffff000/0x1000/0x2000)+1fd
        > EOF""", "VU-MEM-03", "error", FRONT,
         says="offset in its file and size below 2^64"),
    Case("M5 nine", "one region more than a table has room for", "HELLO(0)\n*> 5 mt(9;" + ",".join(
         f"{at << 20:#x}/0x100000/{0x7f0000000000 + (at << 20):#x}/0" for at in range(9)) + ")+8fd\n> EOF",
         "VU-MEM-04", "error", FRONT,
         says="1 to 8 regions, came 9"),
    Case("V5 next", "a ring is started elsewhere than where it stopped", f"""
        HELLO(0x8)
        {MEMORY}
        RING(0)
        > 18 st(0,1)
        > 18 st(0,0)
        > 11 st(0,0)
        < 11{{R}} st(0,700)
        *> 10 st(0,650)
        > EOF""", "VU-RUN-06", "warning", FRONT,
         says="to go on at 700 as in #17, came 650"),
    # -- configuration
    Case("G1", "an offset that counts from where PCI has it", """
        HELLO(0x200)
        *> 24 cfg(0x100,60,0)
        > EOF""", "VU-CFG-02", "error", FRONT,
         says="is it counted from 0x100"),
    Case("G3", "a refusal of no bytes", """
        HELLO(0x200)
        > 24 cfg(0,256,0)
        *< 24{R}
        > EOF""", "VU-CFG-03", "note", BACK,
         says="expected 256 bytes at 0 as in #8, came none"),
    Case("G5", "the back-end's memory behind the device's configuration", """
        > 1
        < 1{R}=0x140000044
        > 15
        < 15{R}=0x200
        > 16=0x200
        > 3
        > 2=0x140000044
        > 24 cfg(0,200,0)
        *< 24{R} leak(0,200,0)
        > EOF""", "VU-CFG-09", "note", BACK,
         says="a5 a5"),
    Case("G7", "a configuration in two pieces: read short, without MSG_WAITALL", """
        HELLO(0x200)
        > 24 cfg(0,60,0)
        *< 24{R} cfg(0,60,0) |24
        > EOF""", "VU-HDR-12", "note", BACK),
    # -- IOTLB
    Case("T1", "misses that the front-end does not read, and a request that the back-end does not read", f"""
        > 1
        < 1{{R}}=0x340000000
        > 15
        < 15{{R}}=0x28
        > 16=0x28
        > 3
        > 2=0x340000000
        {MEMORY}
        > 21 +1fd
        """ + "b< 1 iotlb(0x1000,0,0,1,1)\n" * 200 + """
        *> 22 iotlb(0x800000,4096,0x7f0000000000,0,3)
        …
        > EOF""", "VU-STL-01", "error", BOTH,
         says="on the backend channel"),
    Case("T3", "an update that failed", f"""
        HELLO(0x28)
        {MEMORY}
        > 22{{NR}} iotlb(0,4096,0x7f0000000000,3,2)
        *< 22{{R}}=1
        > EOF""", "VU-RPL-08", "warning", None),
    # -- back-end channel
    Case("B1", "each end waits for the other, on one channel each", f"""
        HELLO(0x400428)
        {MEMORY}
        > 21 +1fd
        RING(0)
        > 11 st(0,0)
        *b< 10{{NR}} mmap(0,0,0,4096,0)
        …
        > EOF""", "VU-STL-01", "error", BOTH,
         says="SHMEM_UNMAP"),
    Case("B3", "two threads write, one message in the other", f"""
        HELLO(0x428)
        {MEMORY}
        > 21 +1fd
        RING(0)
        b< raw(04 00 00 00 09 00 00 00 08 00 00 00  02 00 00 00 09 00 00 00)
        *b< raw(00 00 00 00 00 00 00 00 01 00 00 00 00)
        > EOF""", "VU-HDR-03", "error", BACK),
    Case("B5", "host notifiers in another order than rings", f"""
        HELLO(0xc28)
        {MEMORY}
        > 21 +1fd
        RING(0)
        *b< 3{{NR}} area(1,4096,0)+1fd
        > EOF""", "VU-BE-08", "note", BACK),
    Case("B7", "CONFIG_CHANGE is answered although nobody asked", """
        HELLO(0x228)
        > 21 +1fd
        b< 2
        *b> 2{R}=0
        > EOF""", "VU-BE-05", "warning", FRONT),
    Case("B9", "a kick that is waited for, and calls that are waited for", f"""
        HELLO(0x4028)
        {MEMORY}
        > 21 +1fd
        RING(0)
        > 35{{NR}} st(0,0)
        *b< 4{{NR}} st(0,0)
        …
        > EOF""", "VU-STL-01", "error", BOTH),
    # -- status
    Case("RS1", "the device is reset before its positions are asked for", f"""
        HELLO(0x10000)
        {MEMORY}
        RING(0)
        > 18 st(0,1)
        > 39=0
        *> 11 st(0,0)
        < 11{{R}} st(0,0)
        > EOF""", "VU-RST-01", "warning", FRONT),
    Case("RS3", "FEATURES_OK, and nothing before it", """
        HELLO(0x10000)
        *> 39=8
        > EOF""", "VU-ST-04", "note", FRONT),
    Case("RS5", "a header of the other byte order", """
        *> raw(00 00 00 01 00 00 00 01 00 00 00 00)
        > EOF""", "VU-CLS-05", "error", FRONT,
         says="big-endian"),
    # -- malformed
    Case("S1", "a log that ends behind its file", """
        HELLO(0x2)
        *> 6 log(0x2000,0x1000)+1fd:8K
        > EOF""", "VU-LOG-03", "error", FRONT),
    Case("S3", "a key that is longer than its room", """
        HELLO(0x80)
        *> 26 at(1072,12,65)
        > EOF""", "VU-CR-02", "error", FRONT),
    Case("S5", "more regions than there are octets", """
        HELLO(0)
        *> 5 hex(ffffffff 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000)+1fd
        > EOF""", "VU-MEM-04", "error", FRONT),
    Case("S7", "a number that nobody knows", """
        HELLO(0x8)
        *> 99{NR}=0
        > EOF""", "VU-HDR-04", "warning", FRONT,
         says="came number 99, which nobody knows"),
    Case("S9", "the number of queues is believed", """
        HELLO(0x1001)
        > 17
        < 17{R}=2
        *> 32 inf(0x1000000,0,64,128)+1fd
        > EOF""", "VU-INF-05", "error", FRONT),
)  # fmt: skip
