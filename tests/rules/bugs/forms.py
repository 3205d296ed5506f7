"""Messages that are not quite right, as they were tried on real back-ends octet by octet; and odd ones that are in use.

``FORMS``: what the rules say of each. ``USED``: legal or historical forms that some front-end sends and back-ends take:
no error in any.
"""

from __future__ import annotations

from .cases import MEMORY, ONE, Case
from .notation import BACK, FRONT

OWNER = "03 00 00 00 01 00 00 00 00 00 00 00"
TWO = "mt(2;0/0x100000/0x7f0000000000/0,0x200000/0x100000/0x7f0000200000/0)"
OVER = "mt(2;0/0x200000/0x7f0000000000/0,0x100000/0x100000/0x7f0000200000/0)"
ALL = "HELLO(0x8028)\n"


def form(id: str, title: str, script: str, rule: str, severity: str, who: int = FRONT) -> Case:
    return Case(id, title, script, rule, severity, who)


FORMS = (
    form("5 + 7", "a header in two pieces", "*> 1 |5\n> EOF", "VU-HDR-12", "note"),
    form("12 + 0", "a header, then the payload", "HELLO(0)\n*> 8 st(0,256) |12\n> EOF", "VU-HDR-12", "note"),
    form("16 + 4", "a payload in two pieces", "HELLO(0)\n*> 8 st(0,256) |16\n> EOF", "VU-HDR-12", "note"),
    form("fd late", "a descriptor that comes with the payload", "HELLO(0)\n*> 13=0 +1fd |12fd\n> EOF",
         "VU-FD-01", "error"),
    form("half", "half a header, and the end", "> 1\n*> raw(01 00 00 00 01 00)\n> EOF", "VU-CLS-05", "error"),
    form("NR", "NEED_REPLY that was not agreed on", "*> 3{NR}\n> EOF", "VU-HDR-08", "warning"),
    form("99", "a number that nobody knows", "HELLO(0)\n*> 99\n> EOF", "VU-HDR-04", "warning"),
    form("99 NR", "and an answer to it", "HELLO(0x8)\n*> 99{NR}\n> EOF", "VU-HDR-04", "warning"),
    form("0", "number 0", "*> 0\n> EOF", "VU-HDR-03", "error"),
    form("version 2", "another version", "*> raw(03 00 00 00 02 00 00 00 00 00 00 00)\n> EOF", "VU-HDR-01", "error"),
    form("REPLY", "a request that is a reply", "*> 3{R}\n> EOF", "VU-HDR-05", "error"),
    form("100000", "a payload of 100000 octets", "> 3\n*> raw(01 00 00 00 01 00 00 00 a0 86 01 00)\n> EOF",
         "VU-CLS-05", "error"),
    form("1 long", "GET_FEATURES with a payload", "*> 1 zeros(8)\n> EOF", "VU-SZ-01", "error"),
    form("2 short", "half of the features", "> 3\n*> 2 zeros(4)\n> EOF", "VU-SZ-01", "error"),
    form("1 fd", "a descriptor that nobody wants", "*> 1 +1fd\n> EOF", "VU-FD-02", "error"),
    form("1 9fd", "and nine", "*> 1 +9fd\n> EOF", "VU-FD-02", "error"),
    form("13 3fd", "three call descriptors", "HELLO(0)\n*> 13=0 +3fd\n> EOF", "VU-FD-05", "error"),
    form("13 0fd", "none", "HELLO(0)\n*> 13=0\n> EOF", "VU-FD-05", "error"),
    form("13 nofd", "none wanted, and one came", "HELLO(0)\n*> 13=0x100 +1fd\n> EOF", "VU-FD-05", "error"),
    form("11 far", "a ring of number 60000 is stopped", "HELLO(0)\n*> 11 st(60000,0)\n> EOF", "VU-RUN-02", "warning"),
    form("8 far", "a ring of number 65536", "HELLO(0x8)\n*> 8{NR} st(65536,256)\n> EOF", "VU-VR-12", "error"),
    form("11 none", "a ring is stopped that was never set up", "HELLO(0)\n*> 11 st(1,0)\n> EOF", "VU-RUN-02",
         "warning"),
    form("8 zero", "a ring of no descriptors", "HELLO(0x8)\n*> 8{NR} st(0,0)\n> EOF", "VU-VR-01", "error"),
    form("8 hundred", "a ring of a hundred", "HELLO(0x8)\n*> 8{NR} st(0,100)\n> EOF", "VU-VR-01", "error"),
    form("2 surplus", "a feature that was not offered", "HELLO(0x8)\n*> 2{NR}=0x1000000140000000\n> EOF",
         "VU-NEG-01", "error"),
    form("6 NR", "an answer that repeats NEED_REPLY", f"HELLO(0xa)\n{MEMORY}> 6{{NR}} log(4096,0)+1fd\n"
         "*< 6{R,NR}=0\n> EOF", "VU-RPL-05", "warning", BACK),
    form("6 no fd", "a log without its descriptor", f"HELLO(0xa)\n{MEMORY}*> 6 log(4096,0)\n> EOF", "VU-FD-06",
         "error"),
    form("6 old", "a log of 2014", f"HELLO(0xa)\n{MEMORY}*> 6=0 +1fd\n> EOF", "VU-SZ-10", "warning"),
    form("5 1fd", "a region without a descriptor", f"HELLO(0x8)\n*> 5{{NR}} {TWO}+1fd\n> EOF", "VU-FD-03", "error"),
    form("5 none", "no region", "HELLO(0x8)\n*> 5{NR} mt(0;)\n> EOF", "VU-MEM-04", "note"),
    form("5 over", "regions that overlap", f"HELLO(0x8)\n*> 5{{NR}} {OVER}+2fd\n> EOF", "VU-MEM-01", "error"),
    form("5 wraps", "an offset that wraps", "HELLO(0x8)\n*> 5{NR} mt(1;0/0x100000/0x7f0000000000/0xfffffffffff00001)"
         "+1fd\n> EOF", "VU-MEM-03", "error"),
    form("9 outside", "a ring outside of memory", f"HELLO(0x8)\n{MEMORY}> 8 st(0,256)\n"
         "*> 9{NR} a(0,0,0xdead0000,0xdeae0000,0xdeaf0000,0)\n> EOF", "VU-VR-06", "error"),
    form("9 odd", "a ring at an odd address", f"HELLO(0x8)\n{MEMORY}> 8 st(0,256)\n"
         "*> 9{NR} a(0,0,0x7f0000000001,0x7f0000002002,0x7f0000001001,0)\n> EOF", "VU-VR-04", "error"),
    form("21 no fd", "no socket", "HELLO(0x28)\n*> 21{NR}\n> EOF", "VU-FD-04", "error"),
    form("21 pipe", "a pipe for a socket", "HELLO(0x28)\n*> 21{NR} +1fd:pipe\n> EOF", "VU-FD-14", "warning"),
    form("31", "an in-flight region that was not agreed on", "HELLO(0)\n*> 31 inf(0,0,1,128)\n> EOF", "VU-INF-01",
         "error"),
    form("32", "65535 queues", "HELLO(0x1008)\n*> 32{NR} inf(8192,0,0xffff,128)+1fd\n> EOF", "VU-INF-05", "error"),
    form("22", "an IOTLB message of type 99", "HELLO(0x28)\n*> 22{NR} iotlb(0,4096,0x7f0000000000,3,99)\n> EOF",
         "VU-IOT-02", "error"),
    form("24", "a configuration that was not agreed on", "HELLO(0)\n*> 24 cfg(0,60,0)\n> EOF", "VU-CFG-01", "error"),
    form("24 far", "one that is counted from 0x100", "HELLO(0x200)\n*> 24 cfg(0x100,60,0)\n> EOF", "VU-CFG-02",
         "error"),
    form("24 whole", "all 256 bytes, refused", "HELLO(0x200)\n> 24 cfg(0,256,0)\n*< 24{R}\n> EOF", "VU-CFG-03", "note",
         BACK),
    form("24 bare", "no room for the contents", "HELLO(0x200)\n*> 24 hex(00000000 3c000000 00000000)\n> EOF",
         "VU-SZ-08", "error"),
    form("37 short", "a region of 36 bytes", f"{ALL}*> 37{{NR}} zeros(36)+1fd\n> EOF", "VU-SZ-05", "error"),
    form("38 unknown", "a region that is not there is taken back", f"{ALL}"
         "*> 38{NR} mr(0/0x100000/0x7f0000000000/0)\n> EOF", "VU-MEM-08", "error"),
)  # fmt: skip

RING = "RING(0)\n> 18 st(0,1)\n"
ONE_REGION = "mr(0/0x100000/0x7f0000000000/0)"
#: title -> what is sent
USED = {
    "three messages at once": f"> raw({OWNER} 01 00 00 00 01 00 00 00 00 00 00 00)\n< 1{{R}}=0x140000000\n> EOF",
    "a restored session's handshake": "> 3\n> 1\n< 1{R}=0x140000000\n> 16=0x8\n> 2=0x140000000\n"
    f"> 5{{NR}} {ONE}+1fd\n< 5{{R}}=0\n> EOF",
    "NEED_REPLY on what agrees on it": "> 3\n> 1\n< 1{R}=0x140000000\n> 15\n< 15{R}=0x8\n> 16{NR}=0x8\n"
    "< 16{R}=0\n> EOF",
    "without bit 30, and NEED_REPLY later": "> 3\n> 1\n< 1{R}=0x140000000\n> 15\n< 15{R}=0x8\n> 16=0x8\n"
    f"> 2=0x100000000\n> 5{{NR}} {ONE}+1fd\n< 5{{R}}=0\n> EOF",
    "bit 30 alone": "> 3\n> 1\n< 1{R}=0x140000000\n> 2=0x40000000\n> EOF",
    "enabled before features": "> 3\n> 1\n< 1{R}=0x140000000\n> 15\n< 15{R}=0x8\n> 16=0x8\n> 18 st(0,1)\n"
    "> 2=0x140000000\n> EOF",
    "enabled without bit 30": "> 3\n> 1\n< 1{R}=0x140000000\n> 15\n< 15{R}=0x8\n> 16=0x8\n> 2=0x100000000\n"
    "> 18{NR} st(0,1)\n< 18{R}=0\n> EOF",
    "room for two regions, and one in it": "HELLO(0x8)\n> 5{NR} hex(01000000 00000000 0000000000000000 0000100000000000"
    " 0000000000700000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000)+1fd\n"
    "< 5{R}=0\n> EOF",
    "memory before features": f"> 3\n> 1\n< 1{{R}}=0x140000000\n{MEMORY}> 2=0x140000000\n> EOF",
    "the owner is reset": "HELLO(0)\n> 4\n> EOF",
    "queues are asked for without MQ": "HELLO(0)\n> 17\n< 17{R}=2\n> EOF",
    "a region of 40 bytes": f"{ALL}> 37{{NR}} {ONE_REGION}+1fd\n< 37{{R}}=0\n> EOF",
    "a region twice": f"{ALL}> 37{{NR}} {ONE_REGION}+1fd\n< 37{{R}}=0\n> 37{{NR}} {ONE_REGION}+1fd\n< 37{{R}}=0\n> EOF",
    "a region is taken back with a descriptor": f"{ALL}> 37{{NR}} {ONE_REGION}+1fd\n< 37{{R}}=0\n"
    f"> 38{{NR}} {ONE_REGION}+1fd\n< 38{{R}}=0\n> EOF",
    "a position beyond the ring's size": f"HELLO(0x8)\n{MEMORY}> 8 st(0,256)\n> 10{{NR}} st(0,40000)\n"
    "< 10{R}=0\n> EOF",
    "a kick twice, and other memory": f"HELLO(0x8)\n{MEMORY}{RING}> 12=0 +1fd\n> 5{{NR}} {ONE}+1fd\n< 5{{R}}=0\n> EOF",
    "a socket to call": "HELLO(0)\n> 13=0 +1fd:socket\n> EOF",
    "two hundred calls": "HELLO(0)\n" + "> 13=0 +1fd\n" * 200 + "> EOF",
}  # fmt: skip
