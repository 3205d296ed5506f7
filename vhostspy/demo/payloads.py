"""Payloads of more than one integer; byte order of the machine, sizes as they are on the wire."""

from __future__ import annotations

import struct

#: u32 ring, u32 value
STATE = struct.Struct("=II")
#: u32 ring, u32 flags, u64 descriptors, u64 used, u64 available, u64 log address
ADDRESS = struct.Struct("=IIQQQQ")
#: u32 offset, u32 length of the data that follows, u32 flags
CONFIG = struct.Struct("=III")
#: u64 mmap size, u64 mmap offset, u16 queues, u16 queue size, padding to 24 bytes
INFLIGHT = struct.Struct("=QQHH4x")
