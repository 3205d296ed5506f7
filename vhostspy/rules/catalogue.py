"""All rules, in the order of their documents."""

from __future__ import annotations

from types import ModuleType

from . import descriptors, gates, header, negotiation, ownership, replies, sizes
from .rule import Rule

#: a module a family; its rules are those of its names that are rules
MODULES: tuple[ModuleType, ...] = (header, descriptors, sizes, negotiation, gates, replies, ownership)

RULES: tuple[Rule, ...] = tuple(
    value for module in MODULES for value in vars(module).values() if isinstance(value, Rule)
)
BY_ID = {rule.id: rule for rule in RULES}
