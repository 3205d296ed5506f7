"""All rules, in the order of their documents."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from . import (
    across,
    backend_channel,
    closing,
    config,
    descriptors,
    device_state,
    display,
    display_session,
    gates,
    header,
    inflight,
    iotlb,
    log,
    memory,
    negotiation,
    net,
    ownership,
    postcopy,
    races,
    replies,
    rings,
    running,
    shared_objects,
    shmem,
    sizes,
    stalls,
    status,
    vfio_crossing,
    vfio_device,
    vfio_header,
    vfio_memory,
    vfio_migration,
    vfio_sizes,
    vfio_version,
    vrings,
)
from .rule import Rule

#: a module a family; its rules are those of its names that are rules
MODULES: tuple[ModuleType, ...] = (
    header,
    descriptors,
    sizes,
    negotiation,
    gates,
    replies,
    ownership,
    memory,
    vrings,
    running,
    inflight,
    log,
    postcopy,
    config,
    iotlb,
    backend_channel,
    shared_objects,
    shmem,
    device_state,
    status,
    net,
    closing,
    stalls,
    races,
    rings,
    across,
    display,
    display_session,
    vfio_header,
    vfio_sizes,
    vfio_crossing,
    vfio_version,
    vfio_memory,
    vfio_device,
    vfio_migration,
)


def rules_of(module: ModuleType) -> Iterator[Rule]:
    """Rules by their own names, and those that were made of a table."""
    for name, value in vars(module).items():
        if isinstance(value, Rule):
            yield value
        elif isinstance(value, tuple) and name == "FAMILIES":
            yield from value


RULES: tuple[Rule, ...] = tuple(rule for module in MODULES for rule in rules_of(module))
BY_ID = {rule.id: rule for rule in RULES}
