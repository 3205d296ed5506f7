"""A request in a few words, from the first bytes of its buffers: what device types have in common to say.

Only headers are looked at, never what they carry. Source: VIRTIO 1.3, the device types; Linux, include/uapi/linux.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct

from .chain import Chain
from .guest import Outside, Space

#: octets of a request that are looked at
FIRST = 64

_BLOCK = {
    0: "read", 1: "write", 2: "SCSI command", 4: "flush", 8: "get id", 10: "get lifetime", 11: "discard",
    13: "write zeroes", 14: "secure erase", 15: "zone append", 16: "zone report", 18: "zone open", 20: "zone close",
    22: "zone finish", 24: "zone reset", 26: "zone reset all",
}  # fmt: skip
_FUSE = {
    1: "LOOKUP", 2: "FORGET", 3: "GETATTR", 4: "SETATTR", 5: "READLINK", 6: "SYMLINK", 8: "MKNOD", 9: "MKDIR",
    10: "UNLINK", 11: "RMDIR", 12: "RENAME", 13: "LINK", 14: "OPEN", 15: "READ", 16: "WRITE", 17: "STATFS",
    18: "RELEASE", 20: "FSYNC", 21: "SETXATTR", 22: "GETXATTR", 23: "LISTXATTR", 24: "REMOVEXATTR", 25: "FLUSH",
    26: "INIT", 27: "OPENDIR", 28: "READDIR", 29: "RELEASEDIR", 30: "FSYNCDIR", 31: "GETLK", 32: "SETLK", 33: "SETLKW",
    34: "ACCESS", 35: "CREATE", 36: "INTERRUPT", 37: "BMAP", 38: "DESTROY", 39: "IOCTL", 40: "POLL", 42: "BATCH_FORGET",
    43: "FALLOCATE", 44: "READDIRPLUS", 45: "RENAME2", 46: "LSEEK", 47: "COPY_FILE_RANGE", 48: "SETUPMAPPING",
    49: "REMOVEMAPPING", 50: "SYNCFS", 51: "TMPFILE", 52: "STATX",
}  # fmt: skip
_VSOCK = {1: "REQUEST", 2: "RESPONSE", 3: "RST", 4: "SHUTDOWN", 5: "RW", 6: "CREDIT_UPDATE", 7: "CREDIT_REQUEST"}
_GPU = {
    0x100: "GET_DISPLAY_INFO", 0x101: "RESOURCE_CREATE_2D", 0x102: "RESOURCE_UNREF", 0x103: "SET_SCANOUT",
    0x104: "RESOURCE_FLUSH", 0x105: "TRANSFER_TO_HOST_2D", 0x106: "RESOURCE_ATTACH_BACKING",
    0x107: "RESOURCE_DETACH_BACKING", 0x108: "GET_CAPSET_INFO", 0x109: "GET_CAPSET", 0x10A: "GET_EDID",
    0x10B: "RESOURCE_ASSIGN_UUID", 0x10C: "RESOURCE_CREATE_BLOB", 0x10D: "SET_SCANOUT_BLOB", 0x200: "CTX_CREATE",
    0x201: "CTX_DESTROY", 0x202: "CTX_ATTACH_RESOURCE", 0x203: "CTX_DETACH_RESOURCE", 0x204: "RESOURCE_CREATE_3D",
    0x205: "TRANSFER_TO_HOST_3D", 0x206: "TRANSFER_FROM_HOST_3D", 0x207: "SUBMIT_3D", 0x208: "RESOURCE_MAP_BLOB",
    0x209: "RESOURCE_UNMAP_BLOB", 0x300: "UPDATE_CURSOR", 0x301: "MOVE_CURSOR",
}  # fmt: skip
_SOUND = {
    1: "JACK_INFO", 2: "JACK_REMAP", 0x100: "PCM_INFO", 0x101: "PCM_SET_PARAMS", 0x102: "PCM_PREPARE",
    0x103: "PCM_RELEASE", 0x104: "PCM_START", 0x105: "PCM_STOP", 0x200: "CHMAP_INFO",
}  # fmt: skip


def describe(device: str | None, queue: int, chain: Chain, memory: Space) -> str:
    """``write 8 sectors at 2048``, or its sizes where nothing more can be told."""
    sizes = _sizes(chain)
    reader = _DEVICES.get(device or "")
    if reader is None or chain.problem or chain.unknown:
        return chain.problem or chain.unknown or sizes
    struct, tell = reader
    try:
        octets = _first(chain, memory)
    except Outside:
        return sizes
    if len(octets) < struct.size:
        return sizes
    told = tell(struct.unpack_from(octets), queue, chain)
    return told or sizes


def _first(chain: Chain, memory: Space) -> bytes:
    """The first octets that the driver wrote for the device."""
    octets = b""
    for buffer in chain.buffers:
        if buffer.writable or len(octets) >= FIRST:
            break
        octets += memory.octets(buffer.address, min(buffer.length, FIRST - len(octets)))
    return octets


def _sizes(chain: Chain) -> str:
    out = sum(buffer.length for buffer in chain.buffers if not buffer.writable)
    in_ = sum(buffer.length for buffer in chain.buffers if buffer.writable)
    return " and ".join(text for size, text in ((out, f"{out} bytes to read"), (in_, f"{in_} to write")) if size)


def _block(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    kind, _, sector = values
    name = _BLOCK.get(kind & 0x7FFF_FFFF, f"type {kind}")
    if kind not in (0, 1):
        return name
    # header before, status byte behind
    size = sum(buffer.length for buffer in chain.buffers if buffer.writable == (kind == 0))
    sectors = max(size - (1 if kind == 0 else 16), 0) // 512
    return f"{name} {sectors} sector{'' if sectors == 1 else 's'} at {sector}"


def _fs(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    length, opcode, unique, node = values
    return f"{_FUSE.get(opcode, f'opcode {opcode}')} node {node}, unique {unique}"


def _net(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    size = sum(buffer.length for buffer in chain.buffers)
    return f"a frame of {max(size - 12, 0)} bytes" if queue % 2 else ""


def _scsi(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    return f"command {values[12]:#04x}, tag {values[8]}" if queue >= 2 else ""


def _vsock(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    source, target, source_port, target_port, length, _, operation = values
    name = _VSOCK.get(operation, f"operation {operation}")
    return f"{name} {source}:{source_port} to {target}:{target_port}, {length} bytes" if queue == 1 else ""


def _gpu(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    return _GPU.get(values[0], f"type {values[0]:#x}")


def _console(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    return f"port {values[0]}, event {values[1]}, value {values[2]}" if queue == 3 else ""


def _crypto(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    return f"opcode {values[0]:#x}, algorithm {values[1]}, session {values[2]}"


def _sound(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    return _SOUND.get(values[0], f"code {values[0]:#x}") if queue == 0 else ""


def _i2c(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    return f"{'read' if values[1] & 2 else 'write'} at {values[0] >> 1:#04x}"


def _gpio(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    return f"type {values[0]}, line {values[1]}" if queue == 0 else ""


def _input(values: tuple[int, ...], queue: int, chain: Chain) -> str:
    return f"type {values[0]}, code {values[1]}, value {values[2]}" if queue == 1 else ""


#: device -> its header, and what to say of it
_DEVICES: Mapping[str, tuple[Struct, Callable[[tuple[int, ...], int, Chain], str]]] = {
    "block": (Struct("<IIQ"), _block),
    "fs": (Struct("<IIQQ"), _fs),
    "net": (Struct("<10B"), _net),
    "scsi": (Struct("<8BQBBBB"), _scsi),
    "vsock": (Struct("<QQIIIHH"), _vsock),
    "gpu": (Struct("<I"), _gpu),
    "console": (Struct("<IHH"), _console),
    "crypto": (Struct("<IIQ"), _crypto),
    "sound": (Struct("<I"), _sound),
    "i2c": (Struct("<HxxI"), _i2c),
    "gpio": (Struct("<HHI"), _gpio),
    "input": (Struct("<HHI"), _input),
}
