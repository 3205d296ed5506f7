"""What says something about all conversations comes after them, and only if all of them were had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

LAST = "test_every_rule"
HERE = Path(__file__).parent
_left_out: set[Path] = set()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        elsewhere = any(item.get_closest_marker(name) for name in ("fuzz", "soak", "peers", "sid"))
        if not elsewhere and item.path.is_relative_to(HERE):
            _left_out.add(item.path)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    last = [item for item in items if item.path.stem == LAST]
    if not last:
        return
    items[:] = [item for item in items if item.path.stem != LAST] + last
    missing = set(HERE.glob("test_*.py")) - {item.path for item in items}
    if missing or _left_out or any("::" in one for one in config.args):
        for item in last:
            item.add_marker(pytest.mark.skip("only after all conversations of this folder"))
