"""Fetches the peers by package name into `.interop/` at the root of the checkout, once per list of packages.

They stay out of the environment of the product: an official SDK may want other versions of what we use.  A peer that
cannot be had fails the tests that need it; nothing is skipped.  By hand: `python -m tests.interop.peers.install`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".interop"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PACKAGE_JSON = Path(__file__).with_name("package.json")
INSTALL_SECONDS_MAX = 300
# The packages of npm run scripts when they are installed; none of them is needed to run the peers.
NPM_INSTALL = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--silent")


class PeerMissing(Exception):
    """A peer could not be fetched, or what runs it is not on this machine."""


def python_packages() -> Path:
    """The folder to put first on PYTHONPATH: the official SDK and the ASGI servers.  Raises PeerMissing."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    folder = CACHE / f"python-{minor}"
    return _installed(folder, REQUIREMENTS, (*pip, "--target", str(folder), "--requirement", str(REQUIREMENTS)))


def node_packages() -> Path:
    """The folder that holds `node_modules`: the official server and the TypeScript SDK.  Raises PeerMissing."""
    folder = CACHE / "node"
    return _installed(folder, PACKAGE_JSON, (*NPM_INSTALL, "--prefix", str(folder)))


def _installed(folder: Path, packages: Path, command: tuple[str, ...]) -> Path:
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Two test runs at once: one installs, the other waits.
        return _installed_alone(folder, packages, command)


def _installed_alone(folder: Path, packages: Path, command: tuple[str, ...]) -> Path:
    wanted = hashlib.sha256(packages.read_bytes()).hexdigest()
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(packages, folder)
    _run(command)
    stamp.write_text(wanted)
    return folder


def _run(command: tuple[str, ...]) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "DO_NOT_TRACK": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"{' '.join(command)} did not run: {error}") from error
    if done.returncode != 0:
        raise PeerMissing(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    print(python_packages())
    print(node_packages())
