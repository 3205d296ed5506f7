"""The rows of vhost-user against the specification's tables, copied by hand: number, name, answer, gates, descriptors.

Answer: A its own, K an acknowledgement, S special, - never. Gates: p protocol feature, v virtio feature, by number;
with ``?`` being offered is enough. Descriptors of the request and of the reply: how many, and what a flag or count says
of them. A row that the specification has not yet needs no line here; its sample is enough.
"""

from __future__ import annotations

import pytest

from vhostspy.dissectors import registry
from vhostspy.dissectors.rows import BACK_END, FRONT_END, Fds

FRONT_END_TABLE = """
0    NONE                      -  none  0              0
1    GET_FEATURES              A  none  0              0
2    SET_FEATURES              K  none  0              0
3    SET_OWNER                 K  none  0              0
4    RESET_OWNER               K  none  0              0
5    SET_MEM_TABLE             S  none  0-8,each=count 0
6    SET_LOG_BASE              S  none  1,p1           0
7    SET_LOG_FD                K  none  1              0
8    SET_VRING_NUM             K  none  0              0
9    SET_VRING_ADDR            K  none  0              0
10   SET_VRING_BASE            K  none  0              0
11   GET_VRING_BASE            A  none  0              0
12   SET_VRING_KICK            K  none  1,unless=nofd  0
13   SET_VRING_CALL            K  none  1,unless=nofd  0
14   SET_VRING_ERR             K  none  1,unless=nofd  0
15   GET_PROTOCOL_FEATURES     A  v30?  0              0
16   SET_PROTOCOL_FEATURES     K  v30?  0              0
17   GET_QUEUE_NUM             A  p0?   0              0
18   SET_VRING_ENABLE          K  v30   0              0
19   SEND_RARP                 K  p2    0              0
20   NET_SET_MTU               K  p4    0              0
21   SET_BACKEND_REQ_FD        K  p5    1,backend      0
22   IOTLB_MSG                 A  v33   0              0
23   SET_VRING_ENDIAN          K  p6    0              0
24   GET_CONFIG                A  p9    0              0
25   SET_CONFIG                K  p9    0              0
26   CREATE_CRYPTO_SESSION     A  p7    0              0
27   CLOSE_CRYPTO_SESSION      K  p7    0              0
28   POSTCOPY_ADVISE           A  p8    0              1
29   POSTCOPY_LISTEN           S  p8    0              0
30   POSTCOPY_END              A  p8    0              0
31   GET_INFLIGHT_FD           A  p12   0              0-1
32   SET_INFLIGHT_FD           K  p12   1              0
33   GPU_SET_SOCKET            K  none  1,gpu          0
34   RESET_DEVICE              K  p13   0              0
35   VRING_KICK                K  p14   0              0
36   GET_MAX_MEM_SLOTS         A  p15   0              0
37   ADD_MEM_REG               S  p15   1              0
38   REM_MEM_REG               K  p15   0-1            0
39   SET_STATUS                K  p16   0              0
40   GET_STATUS                A  p16   0              0
41   GET_SHARED_OBJECT         A  p18   0              0-1
42   SET_DEVICE_STATE_FD       A  p19   1              1,unless=nofd
43   CHECK_DEVICE_STATE        A  p19   0              0
44   GET_SHMEM_CONFIG          A  p22   0              0
45   GET_VRING_BASE_SKIP_DRAIN A  p23   0              0
1004 GET_SHARED_MEMORY_REGIONS A  none  0              0
"""

BACK_END_TABLE = """
0    NONE                      -  none    0              0
1    IOTLB_MSG                 K  v33+p5  0              0
2    CONFIG_CHANGE_MSG         K  p9+p5   0              0
3    VRING_HOST_NOTIFIER_MSG   K  p11+p5  1,p10,unless=nofd 0
4    VRING_CALL                K  p14     0              0
5    VRING_ERR                 K  p14     0              0
6    SHARED_OBJECT_ADD         K  p18     0              0
7    SHARED_OBJECT_REMOVE      K  p18     0              0
8    SHARED_OBJECT_LOOKUP      A  p18     0              0-1
9    SHMEM_MAP                 K  p22     1              0
10   SHMEM_UNMAP               K  p22     0              0
1000 FS_MAP                    K  none    0-1            0
1001 FS_UNMAP                  K  none    0              0
1002 FS_SYNC                   K  none    0              0
1003 FS_IO                     K  none    0-1            0
1006 GPU_MAP                   A  none    1              0
1007 EXTERNAL_MAP              A  none    0              0
"""

ANSWERS = {"reply": "A", "ack": "K", "never": "-", "asked": "S", "with-fds": "S", "postcopy": "S"}


def lines(table: str, channel: str, sender: int) -> list[tuple[str, int, list[str]]]:
    return [(channel, sender, line.split()) for line in table.strip().splitlines()]


def gate(word: str, bit: int, offered: bool) -> str:
    return f"{word[0]}{bit}{'?' * offered}"


def descriptors(fds: Fds) -> str:
    number = f"{fds.least}" if fds.least == fds.most else f"{fds.least}-{fds.most}"
    marks = [gate(fds.needs.word, fds.needs.bit, False)] if fds.needs else []
    marks += [f"each={fds.each}"] if fds.each else []
    marks += [f"unless={fds.unless}"] if fds.unless else []
    marks += [fds.channel] if fds.channel else []
    return ",".join((number, *marks))


@pytest.mark.parametrize(
    ("channel", "sender", "line"),
    [*lines(FRONT_END_TABLE, "main", FRONT_END), *lines(BACK_END_TABLE, "backend", BACK_END)],
    ids=lambda value: value[1] if isinstance(value, list) else None,
)
def test_row_says_what_the_specification_says(channel: str, sender: int, line: list[str]) -> None:
    row = registry.row("vhost-user", channel, sender, int(line[0]))
    assert row is not None
    gates = "+".join(gate(need.word, need.bit, need.offered) for need in row.needs) or "none"
    assert line == [
        str(row.id),
        row.name,
        ANSWERS[row.answer],
        gates,
        descriptors(row.request_fds),
        descriptors(row.reply_fds),
    ]


@pytest.mark.parametrize("number", [999, 1000, 1005])
def test_other_numbers_have_no_row(number: int) -> None:
    assert registry.row("vhost-user", "main", FRONT_END, number) is None
    assert registry.row("vhost-user", "main", BACK_END, 1) is None  # the back-end asks nothing on the main channel


@pytest.mark.parametrize(("protocol", "channel"), [("vhost-user", "second"), ("telnet", "main")])
def test_other_channels_have_no_rows(protocol: str, channel: str) -> None:
    assert registry.channel(protocol, channel) is None
    assert registry.row(protocol, channel, FRONT_END, 1) is None
