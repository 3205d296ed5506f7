"""docs/pytest.md: its tests are those of ``vhostspy.examples``, each runs, and what it shows is what is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vhostspy.examples
import vhostspy.testing
from vhostspy import pytest_plugin
from vhostspy.testing import BackEnd, FrontEnd, Program, Spy

pytest_plugins = "pytester"

DOCUMENT = (Path(__file__).parents[2] / "docs" / "pytest.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
EXAMPLES = sorted(Path(vhostspy.examples.__file__).parent.glob("test_*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_in_the_document(example: Path) -> None:
    _, _, code = example.read_text("utf-8").partition('"""\n\n')
    assert code in BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r"def (test_\w+)", block)[0])
def test_each_block_runs(pytester: pytest.Pytester, block: str) -> None:
    pytester.makepyfile(test_block=block)
    options = ["-p", "no:cacheprovider", "-W", "default"]
    if "golden=" in block:
        assert pytester.runpytest_inprocess(*options, "--vhostspy-update").ret == 0
    assert pytester.runpytest_inprocess(*options).ret == 0


def test_the_first_test_has_ten_lines() -> None:
    _, _, test = BLOCKS[0].partition("BACK_END")
    assert len([line for line in ("BACK_END" + test).splitlines() if line]) <= 10


def test_a_failure_is_shown_as_it_is_printed(pytester: pytest.Pytester) -> None:
    shown = re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL)[0].splitlines()
    bad = BLOCKS[0].replace("front_end.share_memory(1 << 20)", 'front_end.tell("SET_VRING_NUM", index=99, num=64)')
    # one message less than the first test says
    bad = re.sub(r"    offered.*\n    assert.*\n", "", bad, count=1)
    pytester.makepyfile(test_it=bad)
    printed = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-W", "default").stdout.str()
    for line in shown:
        pattern = re.escape(line.rstrip())
        pattern = re.sub(r"/tmp/\S+", r"/\\S+", pattern).replace(r"\-" * 20, "-+")
        assert re.search(re.sub(r"(\\-){10,}", "-+", pattern), printed), line


def test_the_tables_name_what_there_is() -> None:
    first_cells = re.findall(r"^\| (`[^|]*) \|", DOCUMENT, re.MULTILINE)
    names = {name for cell in first_cells for name in re.findall(r"`(\w+)[(`]", cell)}
    known = {name for one in (Spy, FrontEnd, BackEnd, Program) for name in dir(one)}
    known |= set(re.findall(r"self\.(\w+)", Path(vhostspy.testing.spy.__file__).read_text("utf-8")))
    known |= {"on_request", "vhostspy", *re.findall(r"(\w+)=", pytest_plugin.MARKER)}
    assert len(names) > 20
    assert names - known == set()


def test_the_table_of_settings_is_complete() -> None:
    source = Path(pytest_plugin.__file__).read_text("utf-8")
    settings = {*re.findall(r'"(--vhostspy-\w+)"', source), *re.findall(r'addini\(\s*"(\w+)"', source)}
    assert settings == set(re.findall(r"`(--vhostspy-\w+|vhostspy_\w+)`", DOCUMENT))
