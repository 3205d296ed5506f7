"""One import name, wherever vhostspy runs from: a checkout, an editable install, a wheel made by way of the sdist."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns
from statistics import median
from time import perf_counter
from typing import NamedTuple

import pytest

import vhostspy
import vhostspy.dissectors
import vhostspy.tui

ROOT = Path(__file__).parent.parent
PARTS = ["dissectors", "tui"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
@pytest.mark.parametrize("name", PARTS)
def test_part_is_linked_into_the_package(name: str) -> None:
    link = ROOT / "vhostspy" / name
    assert link.is_symlink() and link.readlink() == Path("..") / name


@pytest.mark.parametrize("name", PARTS)
def test_part_has_no_second_import_name(name: str) -> None:
    assert f"vhostspy.{name}" in sys.modules
    assert name not in sys.modules


class Built(NamedTuple):
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist of a copy of this tree, and the wheel made from that sdist."""
    folder = tmp_path_factory.mktemp("built")
    unwanted = ignore_patterns(".git", ".venv", ".*cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist")
    copytree(ROOT, folder / "tree", symlinks=True, ignore=unwanted)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(folder / "tree"), cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return Built(sdist, wheel)


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    return done.stdout


def python_files() -> set[str]:
    """Each Python file of the three folders, under the name it has in the package."""
    files = {path.relative_to(ROOT) for path in (ROOT / "vhostspy").rglob("*.py")}
    for part in PARTS:
        files |= {"vhostspy" / path.relative_to(ROOT) for path in (ROOT / part).rglob("*.py")}
    return {str(path) for path in files}


@pytest.mark.packaging
def test_wheel_holds_vhostspy_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = wheel.namelist()
    info = f"vhostspy-{vhostspy.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"vhostspy", info}
    assert {name for name in names if name.endswith(".py")} == python_files()
    assert "vhostspy/py.typed" in names
    captures = {path.name for path in (ROOT / "captures").iterdir()}
    assert {Path(name).name for name in names if name.startswith("vhostspy/captures/")} == captures
    assert f"{info}/licenses/LICENSE" in names


@pytest.mark.packaging
def test_sdist_can_run_its_own_tests(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    assert python_files() <= names
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")} <= names
    assert {"Makefile", "LICENSE", "CHANGELOG.md", ".ci/environment", "docs/design.md"} <= names


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and nothing else: not even what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "env"), cwd=folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "env" / "bin" / "python"), "install", "--quiet"]
    run(*pip, "--disable-pip-version-check", "--no-index", "--no-deps", str(built.wheel), cwd=folder)
    return folder / "env" / "bin"


@pytest.mark.packaging
def test_installed_program_starts(installed: Path, tmp_path: Path) -> None:
    assert run(str(installed / "vhostspy"), "--version", cwd=tmp_path) == f"vhostspy {vhostspy.__version__}\n"
    assert run(str(installed / "python"), "-m", "vhostspy", "--version", cwd=tmp_path).startswith("vhostspy ")


@pytest.mark.packaging
def test_installed_demo_needs_the_standard_library_only(installed: Path, tmp_path: Path) -> None:
    run(str(installed / "vhostspy"), "demo", cwd=tmp_path)


@pytest.mark.packaging
def test_installed_corpus_is_there(installed: Path, tmp_path: Path) -> None:
    look = "from vhostspy.corpus import scenarios; print(*(one.path.stat().st_size > 0 for one in scenarios('blk')))"
    assert set(run(str(installed / "python"), "-c", look, cwd=tmp_path).split()) == {"True"}


@pytest.mark.packaging
def test_installed_corpus_is_played(installed: Path, tmp_path: Path) -> None:
    program, python = str(installed / "vhostspy"), str(installed / "python")
    assert "qemu-7.2-seabios" in run(program, "replay", "--corpus", cwd=tmp_path)
    words = [python, "-m", "vhostspy.demo.back_end", "--listen", "disk.sock"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL) as back_end:
        try:
            words = ["replay", "--corpus", "qemu-11.1-blk", "--as", "front-end", "--connect", "disk.sock"]
            assert "1 of 1 as recorded" in run(program, *words, cwd=tmp_path)
        finally:
            back_end.terminate()


@pytest.mark.packaging
def test_the_documented_first_test_runs_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    """pytest is this environment's; vhostspy is the wheel's, whose entry point makes the fixture known."""
    site = Path(pytest.__file__).parent.parent
    code = f"import sys; sys.path.append({str(site)!r}); import pytest; sys.exit(pytest.main())"
    words = ["-c", code, "-p", "no:cacheprovider", "-q", "--pyargs", "vhostspy.examples"]
    assert "passed" in run(str(installed / "python"), *words, cwd=tmp_path)


@pytest.mark.packaging
@pytest.mark.parametrize("name", PARTS)
def test_installed_parts_have_one_name(name: str, installed: Path, tmp_path: Path) -> None:
    look = f"import importlib.util as u; print(u.find_spec('{name}'), u.find_spec('vhostspy.{name}') is not None)"
    assert run(str(installed / "python"), "-c", look, cwd=tmp_path) == "None True\n"


@pytest.mark.parametrize(
    ("pretend", "sentence"),
    [
        ("sys.version_info = (3, 8, 18, 'final', 0)", "vhostspy needs Python 3.11 or newer; this is 3.8\n"),
        ("sys.platform = 'darwin'", "vhostspy runs on Linux only"),
    ],
)
def test_elsewhere_it_says_what_it_needs(pretend: str, sentence: str, checkout: Path) -> None:
    for start in (
        "import runpy; runpy.run_module('vhostspy', run_name='__main__')",
        "from vhostspy.cli import main; sys.exit(main(['show', 'a']))",
    ):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; {pretend}; {start}"],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(sentence) and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["__init__", "__main__", "support", "cli"])
def test_an_old_python_can_read_what_tells_it_so(name: str) -> None:
    ast.parse((ROOT / "vhostspy" / f"{name}.py").read_text("utf-8"), feature_version=(3, 7))


def test_version_comes_at_once(tmp_path: Path) -> None:
    """At most 2.2 times an interpreter that does nothing: the middle of paired rounds, since machines are noisy."""
    program = Path(sys.executable).with_name("vhostspy")
    if not program.exists():
        pytest.skip("not installed in this environment")

    def seconds(*command: str) -> float:
        start = perf_counter()
        run(*command, cwd=tmp_path)
        return perf_counter() - start

    ratios = []
    for _ in range(9):
        nothing = seconds(sys.executable, "-c", "pass")
        ratios.append(seconds(str(program), "--version") / nothing)
    assert median(ratios) <= 2.2
