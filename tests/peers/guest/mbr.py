"""A disk whose boot sector tests a virtio-blk device with nothing but the PC's firmware.

SeaBIOS loads the boot sector from the disk (one read), which reads sector 1 and writes it to sector 2 with INT 13h, so
through SeaBIOS's own virtio driver; then it prints ``MARK-OK mbr`` on the first serial port and leaves QEMU through its
isa-debug-exit device at port 0xf4: QEMU's exit status is 1, or 3 after an error of INT 13h. With ``stay`` it halts
instead, so that one can look at what the driver has left in memory.
"""

from __future__ import annotations

import os
from pathlib import Path

SECTOR = 512
SIZE_BYTES = 1 << 20

# xor ax, ax; mov ds, ax; mov es, ax
SET_SEGMENTS = "31c0 8ed8 8ec0"
# mov ax, 0201 (read one); mov bx, 8000; mov cx, 2 (cylinder 0, sector 2: they count from 1); mov dx, 80 (disk); int 13
READ_SECTOR_1 = "b80102 bb0080 b90200 ba8000 cd13"
# the same with 0301 (write one) and sector 3
WRITE_SECTOR_2 = "b80103 bb0080 b90300 ba8000 cd13"
# jc; the distance is filled in below
JUMP_IF_CARRY = "72 00"
# mov dx, 3f8; mov al, CHAR; out dx, al
PRINT = "baf803 b0{:02x} ee"
# mov al, CODE; out f4, al; hlt; and again
LEAVE = "b0{:02x} e6f4 f4 ebfd"


# hlt; and again
HALT = "f4 ebfd"


def boot_sector(stay: bool = False) -> bytes:
    """512 octets of 8086 code, up to the partition table, and the boot signature."""
    code = bytearray()
    jumps: list[int] = []

    def put(octets: str) -> None:
        code.extend(bytes.fromhex(octets))

    put(SET_SEGMENTS)
    for step in (READ_SECTOR_1, WRITE_SECTOR_2):
        put(step)
        put(JUMP_IF_CARRY)
        jumps.append(len(code))
    for char in b"\nMARK-OK mbr\n":
        put(PRINT.format(char))
    put(HALT if stay else LEAVE.format(0))  # QEMU ends with 2 * code + 1
    for end in jumps:
        code[end - 1] = len(code) - end
    put(LEAVE.format(1))
    if len(code) > 446:
        raise ValueError(f"boot code is {len(code)} bytes, the partition table begins at 446")
    return bytes(code).ljust(510, b"\0") + b"\x55\xaa"


def make_disk(path: Path, stay: bool = False) -> Path:
    """Write the disk image: the boot sector, a sector of random octets, zeros up to 1 MiB."""
    path.write_bytes((boot_sector(stay) + os.urandom(SECTOR)).ljust(SIZE_BYTES, b"\0"))
    return path


def sector(path: Path, number: int) -> bytes:
    return path.read_bytes()[number * SECTOR : (number + 1) * SECTOR]
