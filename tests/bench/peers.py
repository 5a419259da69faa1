"""The peers the benchmarks run beside us, installed by package name into a folder of the checkout.

The real server comes from npm, the official SDK and its ASGI server from PyPI into an environment of their own.  A peer
that cannot be installed is an error: a row is never left out silently.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER_PACKAGE = "@restatedev/restate-server@1.7.12"
APP_PACKAGES = ("restate-sdk==1.3.0", "hypercorn==0.18.0")


def peers_folder() -> Path:
    """Where peers are kept: BENCH_PEERS, or a folder of the checkout that version control ignores."""
    return Path(os.environ.get("BENCH_PEERS", ROOT / ".peers"))


def real_server() -> Path:
    """The real server's program, installed if it is not there.  Raises SystemExit with what went wrong."""
    folder = peers_folder() / "npm"
    found = find_program(folder)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        install(
            ["npm", "install", "--no-fund", "--no-audit", "--ignore-scripts", "--prefix", str(folder), SERVER_PACKAGE]
        )
        found = find_program(folder)
    if found is None:
        raise SystemExit(f"{SERVER_PACKAGE} was installed into {folder} without a program for this machine")
    return found


def find_program(folder: Path) -> Path | None:
    """The native program: the package's own entry would put a process of Node in front of it."""
    found = sorted(folder.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    return found[0] if found else None


def app_python() -> Path:
    """The interpreter of an environment with the official SDK and hypercorn, made if it is not there."""
    folder = peers_folder() / "official-sdk"
    python = folder / "bin" / "python"
    marker = folder / "installed"
    wanted = "\n".join(APP_PACKAGES)
    if not marker.exists() or marker.read_text() != wanted:
        install([sys.executable, "-m", "venv", str(folder)])
        install([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *APP_PACKAGES])
        marker.write_text(wanted)
    return python


def install(command: list[str]) -> None:
    """Run an installer.  Raises SystemExit with its last words."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SystemExit(f"{command[0]} cannot be run ({error}): install it, the benchmark needs its peers") from error
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
