"""One entry under atheris: ``python -m tests.fuzz.guided ENTRY CORPUS [libFuzzer's options]``."""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    atheris = import_module("atheris")
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["vhostspy"], enable_loader_override=False):
        entries = import_module("tests.fuzz.entries")
        if name.startswith("scapy"):
            import_module("vhostspy.dissectors.scapy_layers")
    (entry,) = [each for each in entries.ENTRIES if each.name == name]
    atheris.Setup(sys.argv, entry.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
