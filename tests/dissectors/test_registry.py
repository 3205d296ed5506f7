"""Which protocols there are, and that none is loaded before it is asked for."""

from __future__ import annotations

import subprocess
import sys

from vhostspy.dissectors.registry import MAIN, PROTOCOLS


def test_each_is_known_by_its_own_name() -> None:
    assert [PROTOCOLS[name].name for name in PROTOCOLS] == list(PROTOCOLS)
    assert len(PROTOCOLS) == 3
    assert PROTOCOLS.get("vdpa") is None


def test_sessions_begin_with_those_that_have_a_main_channel() -> None:
    assert [name for name in PROTOCOLS if "main" in PROTOCOLS[name].channels] == list(MAIN)


def test_a_table_is_loaded_when_it_is_asked_for() -> None:
    program = (
        "import sys; from vhostspy.dissectors.registry import PROTOCOLS\n"
        "def there(): return [x for x in PROTOCOLS if 'vhostspy.dissectors.' + x.replace('-', '_') in sys.modules]\n"
        "print(there()); PROTOCOLS['vfio-user']; print(there())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['vfio-user']"]
