"""All samples: messages and their octets, written down by hand from the layouts of the specifications."""

from __future__ import annotations

from .sample import Sample
from .samples_vfio_user import VFIO_USER
from .samples_vhost_user import VHOST_USER
from .samples_vhost_user_gpu import VHOST_USER_GPU

SAMPLES: list[Sample] = [
    *VHOST_USER,
    *(sample._replace(protocol="vhost-user-gpu", channel="gpu") for sample in VHOST_USER_GPU),
    *(sample._replace(protocol="vfio-user") for sample in VFIO_USER),
    # the server's commands on its own socket
    *(
        sample._replace(protocol="vfio-user", channel="second")
        for sample in VFIO_USER
        if sample.message in ("DMA_READ", "DMA_WRITE")
    ),
]

__all__ = ["SAMPLES", "Sample"]
