"""How long vhostspy takes to start, against an interpreter that does nothing."""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
import time
import venv
from pathlib import Path

from .peers import ROOT, Failed, ahead_of_others, environment

IN_CREATE, IN_MOVED_TO = 0x100, 0x80
LIMIT_S = 30.0


def until_exit(folder: Path, command: list[str], *, real_time: bool = False) -> int:
    """Nanoseconds from a command's start until it has ended; ``folder``: for its bytecode. Raises Failed."""
    start = time.monotonic_ns()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(folder),
        timeout=LIMIT_S,
        preexec_fn=ahead_of_others if real_time else None,
    )
    took = time.monotonic_ns() - start
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr}")
    return took


def until_pass(python: Path, *, real_time: bool = False) -> int:
    return until_exit(python.parent, [str(python), "-c", "pass"], real_time=real_time)


def until_version(python: Path, *, real_time: bool = False) -> int:
    return until_exit(python.parent, [str(python), "-m", "vhostspy", "--version"], real_time=real_time)


def until_script_version(python: Path, *, real_time: bool = False) -> int:
    """The same of the installed command."""
    command = [str(python.with_name("vhostspy")), "--version"]
    return until_exit(python.parent, command, real_time=real_time)


def bare_python(folder: Path) -> Path:
    """An interpreter with vhostspy in it and nothing else: what others install makes even ``pass`` slower.

    The command beside it is as pip writes it.
    """
    venv.create(folder / "bare", symlinks=True, with_pip=False)
    python = folder / "bare" / "bin" / "python"
    packages = next((folder / "bare" / "lib").glob("python*/site-packages"))
    (packages / "checkout.pth").write_text(f"{ROOT}\n")
    script = python.with_name("vhostspy")
    script.write_text(f"#!{python}\nimport sys\nfrom vhostspy.cli import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return python


def until_listening(python: Path, *words: str, real_time: bool = False) -> int:
    """Nanoseconds from the relay's start, by these words, until its socket is there. Raises Failed.

    The kernel tells when (inotify): looking again and again would take time from the CPU that both share.
    """
    folder = python.parent
    socket = folder / "listen.sock"
    socket.unlink(missing_ok=True)
    command = [*words, "--listen", str(socket), "--connect", str(folder / "nobody.sock")]
    libc = ctypes.CDLL(None, use_errno=True)
    watch: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(folder), IN_CREATE | IN_MOVED_TO) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    try:
        start = time.monotonic_ns()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=environment(folder), preexec_fn=ahead_of_others if real_time else None,
        )  # fmt: skip
        try:
            while not socket.exists():
                if not select.select([watch], [], [], LIMIT_S)[0] or process.poll() is not None:
                    raise Failed(f"{' '.join(command)} does not listen")
                os.read(watch, 4096)
            return time.monotonic_ns() - start
        finally:
            process.terminate()
            process.communicate(timeout=LIMIT_S)
    finally:
        os.close(watch)
