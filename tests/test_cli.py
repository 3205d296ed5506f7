"""The command line: which command is meant, what a mistake is answered with, what the shell is told."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from vhostspy import __version__
from vhostspy.arguments import Parser, end, one_of
from vhostspy.cli import COMMANDS, OWN_COMMANDS, main
from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.errors import Failure, WrongUse

Pretend = Callable[..., None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Stand-ins for commands: ``pretend(show=outcome)``, where ``outcome`` is returned, or raised."""

    def put(**commands: object) -> None:
        for name, outcome in commands.items():
            module = ModuleType(f"vhostspy.commands.{name}")
            module.__dict__["add_arguments"] = add_arguments
            module.__dict__["run"] = runner(outcome)
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def add_arguments(parser: Parser) -> None:
        parser.add_argument("--listen", metavar="PATH", required=True)
        parser.add_argument("--protocol", type=one_of("vhost-user", "vfio-user"))
        parser.add_argument("--as", type=end, dest="end")
        parser.add_argument("--mode", choices=["fast", "slow"])

    def runner(outcome: object) -> Callable[[Namespace], object]:
        def run(arguments: Namespace) -> object:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome(arguments) if callable(outcome) else outcome

        return run

    return put


def test_every_command_has_a_module_and_a_line_in_the_help(checkout: Path) -> None:
    modules = (checkout / "vhostspy" / "commands").glob("*.py")
    named = {name.lstrip("_") for name in (*COMMANDS, *OWN_COMMANDS)}
    assert {path.stem for path in modules if "\ndef run(" in path.read_text("utf-8")} == named


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert capsys.readouterr().out == f"vhostspy {__version__}\n"


def test_options_alone_mean_the_relay(pretend: Pretend) -> None:
    pretend(relay=3, show=1)
    assert main(["--listen", "a"]) == 3
    assert main(["relay", "--listen", "a"]) == 3
    assert main(["show", "--listen", "a"]) == 1


def test_both_names_of_an_end(pretend: Pretend) -> None:
    def told(arguments: Namespace) -> int:
        seen.append(arguments.end)
        return 0

    seen: list[int] = []
    pretend(relay=told)
    for name in ("front-end", "client", "back-end", "server"):
        assert main(["--listen", "a", "--as", name]) == 0
    assert seen == [FRONT_END, FRONT_END, BACK_END, BACK_END]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "vhostspy: say what to do: --listen PATH --connect PATH"),
        (["shwo", "a"], "vhostspy: there is no command 'shwo' (did you mean show?)"),
        (["xyzzy"], "vhostspy: there is no command 'xyzzy'; vhostspy --help lists them"),
        ([__file__], f"vhostspy: {__file__!r} is a file, no command; captures are read by show, tui, check and others"),
        (["--lisen", "a"], "vhostspy: there is no option --lisen (did you mean --listen?)"),
        (["--lisen=a"], "vhostspy: there is no option --lisen (did you mean --listen?)"),
        (["--list", "a"], "vhostspy: there is no option --list (did you mean --listen?)"),
        (["--protocol", "vhost-user"], "vhostspy: missing: --listen"),
        (["--listen"], "vhostspy: --listen: expected one argument"),
        (["--listen", "a", "-q"], "vhostspy: there is no option -q"),
        (["--listen", "a", "b"], "vhostspy: 'b' is a word too many"),
        (["--listen", "a", "show"], "vhostspy: show is a command, and a command comes first: vhostspy show …"),
        (
            ["--listen", "a", "--protocol", "vhostuser"],
            "vhostspy: --protocol: 'vhostuser' is none of vhost-user, vfio-user (did you mean vhost-user?)",
        ),
        (["--listen", "a", "--mode", "fsat"], "vhostspy: --mode: 'fsat' is none of fast, slow (did you mean fast?)"),
        (
            ["show", "--listen", "a", "--as", "sever"],
            "vhostspy show: --as: 'sever' is none of front-end, back-end, client, server (did you mean server?)",
        ),
    ],
)
def test_a_mistake_is_answered_with_one_sentence(
    words: list[str], sentence: str, pretend: Pretend, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(relay=0, show=0)
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(sentence) and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("outcome", "status", "sentence"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (WrongUse("--listen a: a folder"), 2, "vhostspy: --listen a: a folder\n"),
        (Failure("b: nobody listens"), 3, "vhostspy: b: nobody listens\n"),
        (FileNotFoundError(2, "No such file or directory", "a.pcapng"), 2, "vhostspy: a.pcapng: No such file"),
        (OSError(28, "No space left on device"), 3, "vhostspy: No space left on device\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_a_command_ends(
    outcome: object, status: int, sentence: str, pretend: Pretend, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(relay=outcome)
    assert main(["--listen", "a"]) == status
    assert capsys.readouterr().err.startswith(sentence)


def test_a_mistake_of_ours_stays_visible(pretend: Pretend) -> None:
    pretend(relay=ArithmeticError("ours"))
    with pytest.raises(ArithmeticError):
        main(["--listen", "a"])


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["show", "--help"]])
def test_help(words: list[str], pretend: Pretend, capsys: pytest.CaptureFixture[str]) -> None:
    pretend(relay=0, show=0)
    assert main(words) == 0
    said = capsys.readouterr()
    assert "--protocol" in said.out and said.err == ""
    if words[0] != "show":
        assert all(f"  {command} " in said.out for command in COMMANDS if command != "relay")


def test_help_that_nobody_reads(pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older argparses let the error of writing out, where what is printed is not kept back."""

    def write(parser: ArgumentParser, message: str, file: object = None) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(ArgumentParser, "_print_message", write)
    pretend(show=0)
    assert main(["show", "--help"]) == 0


def start(code: str, stdout: int) -> subprocess.Popen[str]:
    """A fresh interpreter whose command ``show`` runs ``code``."""
    script = f"""
import sys
from types import ModuleType
from vhostspy.cli import main
show = sys.modules["vhostspy.commands.show"] = ModuleType("show")
def run(arguments):
    {code}
    return 0
show.add_arguments, show.run = lambda parser: None, run
sys.exit(main(["show"]))
"""
    return subprocess.Popen([sys.executable, "-c", script], stdout=stdout, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("lines", [1, 100_000])
def test_who_closes_our_output_has_seen_enough(lines: int) -> None:
    with start(f"sys.stdin.read(); print('line\\n' * {lines})", subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None  # its end is gone; what is left to wait for is what it says
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")


def test_a_closed_output_and_foreign_letters_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with start("print('↩ \\udcff')", subprocess.PIPE) as process:
        printed, said = process.communicate(timeout=30)
    assert (process.returncode, printed, said) == (0, "\\u21a9 \\udcff\n", "")
    with start("sys.stdout and sys.stdout.close()", subprocess.PIPE) as process:
        printed, said = process.communicate(timeout=30)
    assert (process.returncode, printed, said) == (0, "", "")
