"""Whole messages: what the header says, and the payload behind it."""

from __future__ import annotations

from struct import pack

import pytest

from tests.wireshark.synthetic import said
from vhostspy.dissectors import codec
from vhostspy.dissectors.codec import WireError
from vhostspy.dissectors.heads import Heads, heads

from .samples import SAMPLES, Sample
from .test_samples import decode, each_sample, octets, row


def known(sample: Sample) -> Heads:
    found = heads(sample.protocol, sample.channel, sample.byte_order)
    assert found is not None
    return found


@each_sample
def test_a_payload_reads_the_same_behind_its_header(sample: Sample) -> None:
    message = said(sample)
    head = known(sample).of(message.octets, message.sender)
    assert (head.id, head.name, head.kind == "request") == (row(sample).id, sample.message, sample.kind == "request")
    alone = codec.decode(row(sample), sample.kind == "reply", octets(sample), sample.context, sample.byte_order)
    behind = known(sample).decode(message.octets, message.sender, sample.context)
    assert (behind, behind.names) == (alone, sample.names)


@each_sample
def test_octets_behind_a_message_are_left_over_as_behind_a_payload(sample: Sample) -> None:
    message = said(sample)
    more = known(sample).decode(message.octets + b"\xff" * 9, message.sender, sample.context)
    assert more == decode(sample, octets(sample) + b"\xff" * 9)


@pytest.mark.parametrize("sample", SAMPLES[:1] + SAMPLES[-1:], ids=["vhost-user", "vfio-user"])
def test_a_header_that_is_not_there_whole(sample: Sample) -> None:
    message = said(sample)
    whole = known(sample)
    whole.of(message.octets, message.sender)  # known or not
    length = whole.of(message.octets, message.sender).length
    for cut in range(length):
        with pytest.raises(WireError, match=f"a header is {length} bytes, here are {cut}"):
            whole.decode(message.octets[:cut], message.sender)


def test_messages_that_no_row_explains_are_left_over() -> None:
    main = heads("vhost-user", "main", "<")
    assert main is not None
    message = pack("<III", 9999, 1, 3) + b"abc"
    assert main.of(message, 0).row is None
    assert main.decode(message, 0) == (None, {}, b"abc", 0, None, codec.NOTHING_KNOWN)


def test_numbers_and_errors_of_vfio_user() -> None:
    main = heads("vfio-user", "main", "<")
    assert main is not None and main.number is not None
    # two refusals of DMA_MAP, by their errors; the first comes twice, as the answer to two commands
    refused = [pack("<HHIII", number, 2, 16, 0x21, error) for number, error in ((7, 22), (8, 22), (9, 14))]
    assert [main.number(each) for each in refused] == [(7,), (8,), (9,)]
    first, second, third = (main.of(each, 1) for each in refused)
    assert first is second
    assert (first.name, first.error, first.refused) == ("DMA_MAP", 22, True)
    assert (third.name, third.error, third.refused) == ("DMA_MAP", 14, True)


def test_unknown_channels_have_no_headers() -> None:
    assert heads("vhost-user", "third", "<") is None
    assert heads("NFS", "main", "<") is None
