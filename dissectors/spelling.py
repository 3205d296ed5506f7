"""What things are called in the specifications, and how people write that."""

from __future__ import annotations

from .rows import Channel, Message, Protocol


def prefix(protocol: Protocol, channel: Channel) -> str:
    """What the specification puts before a message's name: ``VHOST_USER_BACKEND_``."""
    own = channel.name in ("backend", "gpu") and not protocol.name.endswith(channel.name)
    return f"{protocol.name}-{channel.name}_".upper().replace("-", "_") if own else spelled(f"{protocol.name} ")


def full_name(protocol: Protocol, channel: Channel, message: Message) -> str:
    """As the specification writes it: ``VHOST_USER_SET_VRING_KICK``."""
    return prefix(protocol, channel) + message.name


def spelled(text: str) -> str:
    """As a constant: ``memory table of 2014`` becomes ``MEMORY_TABLE_OF_2014``."""
    return "".join(c if c.isalnum() else "_" for c in text).upper()


def squashed(text: str) -> str:
    """What is left when nobody cares for case, blanks and strokes: one for all spellings of a name."""
    return "".join(filter(str.isalnum, text)).lower()


def camel(text: str) -> str:
    """As a class: ``memory table of 2014`` becomes ``MemoryTableOf2014``."""
    words = "".join(c if c.isalnum() else " " for c in text).split()
    return "".join(word[:1].upper() + word[1:] for word in words)
