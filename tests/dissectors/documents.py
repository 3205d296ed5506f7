"""What the documents have: each message, its number and sizes, and each feature bit. From their text, not from rows.

A row that no document tells of yet needs no line here; its sample is enough.

Sizes are octets of payload, a plus behind one says that more may follow; `ack` is a reply of eight octets that comes
when it is asked for, `none` that there never is one.
"""

from __future__ import annotations

VHOST_USER = """
 1 GET_FEATURES                0     8
 2 SET_FEATURES                8     ack
 3 SET_OWNER                   0     ack
 4 RESET_OWNER                 0     ack
 5 SET_MEM_TABLE               8,8+  8,8+
 6 SET_LOG_BASE                8,16  0,8,16
 7 SET_LOG_FD                  0     ack
 8 SET_VRING_NUM               8     ack
 9 SET_VRING_ADDR              40    ack
10 SET_VRING_BASE              8     ack
11 GET_VRING_BASE              8     8
12 SET_VRING_KICK              8     ack
13 SET_VRING_CALL              8     ack
14 SET_VRING_ERR               8     ack
15 GET_PROTOCOL_FEATURES       0     8
16 SET_PROTOCOL_FEATURES       8     ack
17 GET_QUEUE_NUM               0     8
18 SET_VRING_ENABLE            8     ack
19 SEND_RARP                   8     ack
20 NET_SET_MTU                 8     ack
21 SET_BACKEND_REQ_FD          0     ack
22 IOTLB_MSG                   32    8
23 SET_VRING_ENDIAN            8     ack
24 GET_CONFIG                  12+   0,12+
25 SET_CONFIG                  12+   ack
26 CREATE_CRYPTO_SESSION       632,1072 632,1072
27 CLOSE_CRYPTO_SESSION        8     ack
28 POSTCOPY_ADVISE             0     0
29 POSTCOPY_LISTEN             0     ack
30 POSTCOPY_END                0     8
31 GET_INFLIGHT_FD             24    24
32 SET_INFLIGHT_FD             24    ack
33 GPU_SET_SOCKET              0     ack
34 RESET_DEVICE                0     ack
35 VRING_KICK                  8     ack
36 GET_MAX_MEM_SLOTS           0     8
37 ADD_MEM_REG                 8,40,48 8,40,48
38 REM_MEM_REG                 8,40,48 ack
39 SET_STATUS                  8     ack
40 GET_STATUS                  0     8
41 GET_SHARED_OBJECT           16    0,16
42 SET_DEVICE_STATE_FD         8     8
43 CHECK_DEVICE_STATE          0     8
44 GET_SHMEM_CONFIG            0     2056
45 GET_VRING_BASE_SKIP_DRAIN   8     8
"""

BACKEND = """
 1 IOTLB_MSG                   32    ack
 2 CONFIG_CHANGE_MSG           0     ack
 3 VRING_HOST_NOTIFIER_MSG     24    ack
 4 VRING_CALL                  8     ack
 5 VRING_ERR                   8     ack
 6 SHARED_OBJECT_ADD           16    ack
 7 SHARED_OBJECT_REMOVE        16    ack
 8 SHARED_OBJECT_LOOKUP        16    8
 9 SHMEM_MAP                   40    ack
10 SHMEM_UNMAP                 40    ack
"""

VHOST_USER_GPU = """
 1 GET_PROTOCOL_FEATURES       0     8
 2 SET_PROTOCOL_FEATURES       8     none
 3 GET_DISPLAY_INFO            0     408
 4 CURSOR_POS                  12    none
 5 CURSOR_POS_HIDE             12    none
 6 CURSOR_UPDATE               16404 none
 7 SCANOUT                     12    none
 8 UPDATE                      20+   none
 9 DMABUF_SCANOUT              40    none
10 DMABUF_UPDATE               20    0
11 GET_EDID                    4     1056
12 DMABUF_SCANOUT2             48    none
"""

VFIO_USER_CLIENT = """
 1 VERSION                     4+    4+
 2 DMA_MAP                     32    0
 3 DMA_UNMAP                   24,40+ 24,40+
 4 DEVICE_GET_INFO             16    16
 5 DEVICE_GET_REGION_INFO      32,32+ 32,32+
 6 DEVICE_GET_REGION_IO_FDS    16    16,16+
 7 DEVICE_GET_IRQ_INFO         16    16
 8 DEVICE_SET_IRQS             20,20+ 0
 9 REGION_READ                 16    0,16+
10 REGION_WRITE                16+   0,16
13 DEVICE_RESET                0     0
15 REGION_WRITE_MULTI          8+    8
16 DEVICE_FEATURE              8,8+,16,24+,32 8,8+,16,24+,32+
17 MIG_DATA_READ               8     8+
18 MIG_DATA_WRITE              8+    0
"""

VFIO_USER_SERVER = """
11 DMA_READ                    16    16+
12 DMA_WRITE                   16+   16
"""

#: messages of drafts and vendors, of which the documents' lists tell in other places: protocol, channel, the
#: requester's end, the numbers that each has or had
ELSEWHERE = [
    ("vhost-user", "main", 0, {
        "NET_SET_BACKEND": (15,), "SLEEP": (42,), "GET_VRING_BASE_SKIP_DRAIN": (44,), "RESTORE": (45,),
        "GET_SHARED_MEMORY_REGIONS": (1004,),
    }),
    ("vhost-user", "backend", 1, {
        "FS_MAP": (6, 1000), "FS_UNMAP": (7, 1001), "FS_SYNC": (8, 1002), "MEM_ACCESS": (9,), "FS_IO": (1003,),
        "GPU_MAP": (1006,), "EXTERNAL_MAP": (1007,), "SHMEM_MAP": (1000,), "SHMEM_UNMAP": (1001,),
    }),
    ("vfio-user", "main", 0, {"DIRTY_PAGES": (14,)}),
]  # fmt: skip

#: protocol, channel, the requester's end
DOCUMENTS = {
    ("vhost-user", "main", 0): VHOST_USER,
    ("vhost-user", "backend", 1): BACKEND,
    ("vhost-user-gpu", "gpu", 1): VHOST_USER_GPU,
    ("vfio-user", "main", 0): VFIO_USER_CLIENT,
    ("vfio-user", "main", 1): VFIO_USER_SERVER,
    ("vfio-user", "second", 1): VFIO_USER_SERVER,
}

VHOST_USER_FEATURES = """
MQ LOG_SHMFD RARP REPLY_ACK MTU BACKEND_REQ CROSS_ENDIAN CRYPTO_SESSION PAGEFAULT CONFIG BACKEND_SEND_FD HOST_NOTIFIER
INFLIGHT_SHMFD RESET_DEVICE INBAND_NOTIFICATIONS CONFIGURE_MEM_SLOTS STATUS XEN_MMAP SHARED_OBJECT DEVICE_STATE
GET_VRING_BASE_INFLIGHT GPA_ADDRESSES SHMEM GET_VRING_BASE_SKIP_DRAIN
"""

VHOST_USER_GPU_FEATURES = "EDID DMABUF2"

#: VHostUserBackendType of vhost-user.json
BACK_END_TYPES = "9p balloon block caif console crypto gpu input net rng rpmsg rproc-serial scsi vsock fs"
