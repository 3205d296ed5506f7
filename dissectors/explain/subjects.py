"""What the rows give to look up: messages, structures, feature and status bits, devices and their configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

from .. import registry, virtio
from ..rows import Channel, Layout, Message, Names, Protocol, Word, with_nested
from ..spelling import full_name, prefix, spelled, squashed
from . import article, table
from .article import Article, Section
from .book import Subject


def every() -> Iterator[Subject]:
    """All that the rows know of, in the order of the lists."""
    for protocol in registry.PROTOCOLS.values():
        yield from messages(protocol)
        yield from protocol_features(protocol)
    yield from bits(
        "virtio feature",
        "virtio features of every device",
        virtio.COMMON_FEATURES,
        ("virtio", "virtio feature"),
        "VIRTIO_F_",
    )
    yield from bits(
        "status bit", "virtio device status", virtio.STATUS_BITS, ("status", "device status"), "VIRTIO_CONFIG_S_"
    )
    for device in virtio.DEVICES.values():
        yield _device(device)
    for device in virtio.DEVICES.values():
        yield from _device_features(device)
    for device in virtio.DEVICES.values():
        yield from _configurations(device)
    for protocol in registry.PROTOCOLS.values():
        yield from structures(protocol)


def _keys(*spellings: str) -> frozenset[str]:
    return frozenset(map(squashed, spellings))


# -- messages ----------------------------------------------------------------------------------------------------------


def channels(protocol: Protocol) -> Iterator[tuple[Channel, dict[tuple[int, int], Message]]]:
    """The channels with the messages that no earlier one has."""
    seen: set[int] = set()
    for channel in protocol.channels.values():
        own = {key: row for key, row in channel.messages.items() if id(row) not in seen}
        seen |= {id(row) for row in own.values()}
        if own:
            yield channel, own


def messages(protocol: Protocol) -> Iterator[Subject]:
    for channel, rows in channels(protocol):
        for row in rows.values():
            yield _message(protocol, channel, row)
            for other in row.others:
                yield _message(protocol, channel, other, row)


def _message(protocol: Protocol, channel: Channel, row: Message, today: Message | None = None) -> Subject:
    """``today``: the row that has its number now, if it has lost it."""
    own = prefix(protocol, channel)
    starts = {"", "message ", own, f"{protocol.name} ", f"{channel.name} ", f"{protocol.ends[row.sender]} "}
    if channel.name == "backend":
        # what the back-end's channel was called until 2023
        starts |= {"VHOST_USER_SLAVE_", "SLAVE_"}
    numbers = {"", "message ", f"{protocol.name} ", f"{protocol.name} {channel.name} ", own, f"{channel.name} "}
    numbers |= {f"{protocol.ends[row.sender]} ", f"{channel.name} message ", f"{channel.name} channel "}
    return Subject(
        row.name,
        f"{protocol.name}, {channel.name} channel",
        full_name(protocol, channel, row) + (f" {row.id}" if today is not None else ""),
        row.text,
        _keys(
            *(start + name for start in starts for name in (row.name, *row.older)),
            *(f"{start}{row.id}" for start in numbers),
        ),
        partial(article.message, protocol, channel, row, today),
        partial(table.message, protocol, channel, row, today),
        str(row.id),
        weak_keys=_keys(*(start + name for start in starts for name in row.also)),
    )


# -- bits --------------------------------------------------------------------------------------------------------------


def protocol_features(protocol: Protocol) -> Iterator[Subject]:
    if protocol.features is not None:
        start = spelled(f"{protocol.name} protocol F ")
        yield from bits(
            "protocol feature",
            f"{protocol.name}, protocol features",
            protocol.features,
            ("protocol", "protocol feature"),
            start,
            protocol,
        )


def bits(
    kind: str, group: str, names: Names, words: tuple[str, ...], start: str, protocol: Protocol | None = None
) -> Iterator[Subject]:
    """A subject a bit. ``words`` may stand before its number, ``start`` is the specification's prefix."""
    for bit, name in names.names.items():
        text = names.texts.get(bit, "")
        starts = {"", "F_", f"{words[0]} ", f"{words[-1]} ", f"{words[0]} F ", start, f"VHOST_USER_{start}"}
        if kind != "protocol feature":
            # headers differ: VIRTIO_F_RING_PACKED, VIRTIO_RING_F_EVENT_IDX, VHOST_F_LOG_ALL, VHOST_USER_F_PROTOCOL_…
            starts |= {"VIRTIO_RING_F_", "VHOST_F_", "VHOST_USER_F_", "VIRTIO_F_RING_", "S_"}
        numbers = {"bit ", "feature ", *(f"{word} {also}" for word in words for also in ("", "bit ", "feature "))}
        yield Subject(
            name,
            group,
            start + name,
            text,
            _keys(*(one + name for one in starts), *(f"{one}{bit}" for one in numbers)),
            partial(_bit_article, kind, names, bit, start, protocol),
            partial(_bit_value, kind, names, bit, start, protocol),
            str(bit),
            # SHMEM_MAP is a message too
            weak_keys=_keys(*(one + older for one in starts for older in names.older.get(bit, ()))),
        )


def _bit_article(kind: str, names: Names, bit: int, start: str, protocol: Protocol | None) -> Article:
    name, older = names.names[bit], names.older.get(bit)
    facts = [("written as", start + name), ("value", f"{1 << bit:#x}")]
    if older:
        facts.insert(1, ("older names", ", ".join(older)))
    word = {"protocol feature": "protocol", "virtio feature": "virtio"}.get(kind, "")
    if word:
        gated, layouts = _gated(word, bit, protocol)
        if gated:
            facts.append(("lets be sent", ", ".join(gated)))
        if layouts:
            facts.append(("changes", ", ".join(layouts)))
    if protocol is not None:
        facts.append(("source", f"{protocol.source}, Protocol features"))
    elif kind == "status bit":
        facts.append(("source", "virtio, Device Status Field"))
    else:
        facts.append(("source", "virtio, Reserved Feature Bits"))
    return Article(name, f"{kind}, bit {bit}", names.texts.get(bit, ""), tuple(facts))


def _bit_value(kind: str, names: Names, bit: int, start: str, protocol: Protocol | None) -> dict[str, object]:
    name = names.names[bit]
    word = {"protocol feature": "protocol", "virtio feature": "virtio"}.get(kind, "")
    gated, layouts = _gated(word, bit, protocol) if word else ([], [])
    return {
        "kind": kind,
        "protocol": protocol.name if protocol is not None else None,
        "name": name,
        "full_name": start + name,
        "bit": bit,
        "text": names.texts.get(bit, ""),
        "older": list(names.older.get(bit, ())),
        "gates": gated,
        "changes": layouts,
    }


def _gated(word: str, bit: int, only: Protocol | None) -> tuple[list[str], list[str]]:
    """Messages and structures that need a bit: of all protocols a virtio one, of its own a protocol's."""
    rows: dict[str, None] = {}
    layouts: dict[str, None] = {}
    for protocol in registry.PROTOCOLS.values() if only is None else (only,):
        for channel, own in channels(protocol):
            for row in own.values():
                gates = [*row.needs, *(fds.needs for fds in (row.request_fds, row.reply_fds) if fds.needs)]
                if any((gate.word, gate.bit) == (word, bit) for gate in gates):
                    rows[full_name(protocol, channel, row).removeprefix("VHOST_USER_")] = None
                for one in (*row.request, *(row.reply or ())):
                    if any((gate.word, gate.bit) == (word, bit) for gate in one.needs):
                        layouts[one.name] = None
    return list(rows), list(layouts)


# -- devices -----------------------------------------------------------------------------------------------------------


def _device(device: virtio.Device) -> Subject:
    return Subject(
        device.name,
        "virtio devices",
        f"virtio {device.name}",
        f"{device.title[:1].upper()}{device.title[1:]}.",
        _keys(
            *(start + name for name in (device.name, *device.aliases) for start in ("", "virtio ", "device ")),
            *(f"{name} device" for name in (device.name, *device.aliases)),
            f"device {device.id}",
            f"virtio device {device.id}",
            f"virtio id {device.id}",
        ),
        partial(_device_article, device),
        partial(_device_value, device),
        str(device.id),
    )


def _device_article(device: virtio.Device) -> Article:
    facts = []
    if device.aliases:
        facts.append(("also called", ", ".join(device.aliases)))
    if device.queues:
        facts.append(("queues", device.queues))
    sections = []
    if device.features:
        rows = tuple((str(bit), name, _with(device, name)) for bit, name in device.features.items())
        sections.append(Section("features of its own", ("bit", "name", ""), rows, right=frozenset({0})))
    sections += [article.structure(one, "configuration space") for one in device.config]
    facts.append(("source", "virtio, Device Types"))
    text = f"{device.title[:1].upper()}{device.title[1:]}."
    return Article(device.name, f"virtio device {device.id}", text, tuple(facts), tuple(sections))


def _with(device: virtio.Device, feature: str) -> str:
    """The members of the configuration space that a feature brings."""
    words = [
        member.name
        for layout in device.config
        for member in layout.members
        if not isinstance(member, Word) and feature in getattr(member, "text", "").replace(",", "").split()
    ]
    return f"configuration: {', '.join(dict.fromkeys(words))}" if words else ""


def _device_value(device: virtio.Device) -> dict[str, object]:
    return {
        "kind": "device",
        "name": device.name,
        "id": device.id,
        "title": device.title,
        "aliases": list(device.aliases),
        "queues": device.queues,
        "features": table.numbered(device.features),
        "config": [table.layout(one) for one in device.config],
    }


def _device_features(device: virtio.Device) -> Iterator[Subject]:
    names = (device.name, *device.aliases)
    # the headers use the short names: VIRTIO_BLK_F_MQ
    start = spelled(f"virtio {min(names, key=len)} F ")
    for bit, name in device.features.items():
        starts = {"", "F_", *(f"{also}{one}{f}" for one in names for f in (" ", " F ") for also in ("", "virtio "))}
        config = _with(device, name)
        text = f"A feature of the {device.title}."
        yield Subject(
            name,
            f"features of virtio {device.name}",
            start + name,
            text,
            _keys(
                *(one + name for one in starts),
                f"bit {bit}",
                f"virtio bit {bit}",
                *(f"{one} {word}{bit}" for one in names for word in ("bit ", "feature ")),
            ),
            partial(_device_feature_article, device, name, bit, text, config, start),
            partial(_device_feature_value, device, name, bit, start),
            str(bit),
            weak_keys=_keys(*(one + older for one in starts for older in device.older.get(bit, ()))),
        )


def _device_feature_article(device: virtio.Device, name: str, bit: int, text: str, config: str, start: str) -> Article:
    facts = [("written as", start + name), ("value", f"{1 << bit:#x}")]
    if bit in device.older:
        facts.insert(1, ("older names", ", ".join(device.older[bit])))
    if config:
        facts.append(("brings", config))
    facts.append(("source", f"virtio, {device.title}, Feature bits"))
    return Article(name, f"virtio feature of {device.name}, bit {bit}", text, tuple(facts))


def _device_feature_value(device: virtio.Device, name: str, bit: int, start: str) -> dict[str, object]:
    return {
        "kind": "virtio feature",
        "device": device.name,
        "name": name,
        "full_name": start + name,
        "bit": bit,
        "older": list(device.older.get(bit, ())),
    }


# -- structures --------------------------------------------------------------------------------------------------------


def _configurations(device: virtio.Device) -> Iterator[Subject]:
    for layout in device.config:
        spellings = [layout.name]
        if len(device.config) == 1 or layout is device.config[0]:
            for name in (device.name, *device.aliases):
                spellings += [
                    f"{name} config", f"{name} configuration", f"{name} configuration space", f"{name} config space",
                    f"virtio {name} config", f"struct virtio {name} config",
                ]  # fmt: skip
        yield Subject(
            layout.name,
            "configuration spaces",
            " with ".join((layout.name, *(gate.name for gate in layout.needs))),
            f"Configuration space of the {device.title}.",
            _keys(*spellings),
            partial(_structure_article, layout, f"configuration space of virtio {device.name}", ()),
            partial(_structure_value, layout, "configuration space", {"device": device.name}),
            members=_members(layout),
        )


#: structures, each with what uses it; the same members under other conditions are no other structure
Used = dict[tuple[str, int], tuple[Layout, dict[str, None]]]


def structures(protocol: Protocol) -> Iterator[Subject]:
    used: Used = {}
    for channel, rows in channels(protocol):
        _note(used, channel.header.layout, f"every message of the {channel.name} channel")
        for row in [one for main in rows.values() for one in (main, *main.others)]:
            name = full_name(protocol, channel, row).removeprefix("VHOST_USER_")
            for layout in row.request:
                _note(used, layout, name)
            for layout in row.reply or ():
                _note(used, layout, f"{name} reply")
    times = Counter(layout.name for layout, _ in used.values())
    for layout, users in used.values():
        if layout.members:
            where = tuple(users)
            # of several that have one name, each is told by its first user
            title = layout.name if times[layout.name] == 1 else f"{layout.name} of {where[0]}"
            yield Subject(
                layout.name,
                f"{protocol.name}, structures",
                f"{protocol.name} structure {title}",
                f"In {', '.join(where)}.",
                _keys(*(start + name for start in ("struct ", "structure ") for name in (layout.name, title))),
                partial(_structure_article, layout, f"structure of {protocol.name}", where),
                partial(_structure_value, layout, "structure", {"protocol": protocol.name, "used_by": list(where)}),
                weak_keys=_keys(
                    *(start + name for start in ("", f"{protocol.name} ") for name in (layout.name, title))
                ),
                members=_members(layout),
            )


def _note(used: Used, layout: Layout, where: str) -> None:
    for each in with_nested(layout):
        used.setdefault((each.name, id(each.members)), (each, {}))[1][where] = None


def _members(layout: Layout) -> frozenset[str]:
    """The names of members, and of their values and bits."""
    found: list[str] = []
    for member in layout.members:
        for one in member.parts if isinstance(member, Word) else (member,):
            found.append(one.name)
            names: Names | None = getattr(one, "names", None)
            if names is not None:
                found += names.names.values()
    return _keys(*found)


def _structure_article(layout: Layout, subtitle: str, used_by: tuple[str, ...]) -> Article:
    facts = [("used by", ", ".join(used_by))] if used_by else []
    if layout.source:
        facts.append(("source", layout.source))
    return Article(layout.name, subtitle, "", tuple(facts), (article.structure(layout),))


def _structure_value(layout: Layout, kind: str, more: Mapping[str, object]) -> dict[str, object]:
    return {"kind": kind, **more, **table.layout(layout)}
