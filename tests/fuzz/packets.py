"""The same octets as packets of scapy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.dissectors.samples import SAMPLES
from tests.wireshark.synthetic import said, write

from .octets import CHANNELS
from .source import Source


def scapy_message(octets: bytes) -> None:
    """Any octets are a packet of a channel; written anew it is the same octets, and it can be shown."""
    from vhostspy.dissectors import scapy_layers

    source = Source(octets)
    protocol, channel = source.one_of(CHANNELS)
    came = source.rest()
    if len(came) < channel.header.length:
        return  # scapy makes a packet of nothing, and says struct.error of half a header
    packet = scapy_layers.HEADERS[protocol.name, channel.name](came)
    packet.clear_cache()
    assert bytes(packet) == came
    assert packet.summary() and packet.hashret() is not None
    assert packet.answers(packet) in (0, 1)


def scapy_seeds() -> Iterator[bytes]:
    numbers: dict[tuple[str, str], int] = {
        (protocol.name, channel.name): at for at, (protocol, channel) in enumerate(CHANNELS)
    }
    for sample in SAMPLES:
        if sample.byte_order == "<":
            yield bytes([numbers[sample.protocol, sample.channel]]) + said(sample).octets


def scapy_record(octets: bytes) -> None:
    """The same of a packet of our captures."""
    from vhostspy.dissectors import scapy_layers

    if not octets:
        return  # what scapy makes of nothing has the usual tags
    packet = scapy_layers.ExportedPdu(octets)
    packet.clear_cache()
    assert bytes(packet) == octets
    assert packet.summary()


def scapy_record_seeds() -> Iterator[bytes]:
    from scapy.utils import rdpcap

    with tempfile.TemporaryDirectory() as folder:
        few = [sample for sample in SAMPLES if len(sample.octets) < 400][::9]
        path = write(Path(folder, "seed.pcapng"), [said(sample) for sample in few])
        yield from (bytes(packet) for packet in rdpcap(str(path)))
