"""What no committed text may name: a place on somebody's machine, or a host that is not public documentation.

The patterns are written so that this file does not match itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.tidy.sources import Finding

# Absolute paths into a home or a work folder; system paths (a shebang, the process table, the null device) are fine.
HOME = re.compile(
    r"(?<![\w.~/<>-])/(?:work|root|home|Users|mnt|opt|srv|tmp/[a-z]+_jobs|workspace|repo)(?:/[\w.{-]|\b/?[`'\" ])"
)
ABOVE = re.compile(r"(?<![\w/])\.\./(?:shared|brief)\b")
URL = re.compile(r"\bhttps?://([A-Za-z0-9.-]+)")
ADDRESS = re.compile(r"(?<![\w.])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?![\w.])")
PACKAGE_SOURCE = re.compile(
    r"(?:index-" + r"url|find-" + r"links|trusted-" + r"host|registry\s*" + r"=|extra-" + r"index)", re.IGNORECASE
)

PUBLIC_HOSTS = (
    "localhost",
    "example.com",
    "example.org",
    "docs.python.org",
    "peps.python.org",
    "github.com",
    "docs.restate.dev",
    "www.rfc-editor.org",
    "www.w3.org",
    "trio.readthedocs.io",
    "keepachangelog.com",
    "json-schema.org",
)
# Loopback, the hosts of the simulated network, "any", broadcast, and the ranges set aside for documentation.
PUBLIC_ADDRESSES = re.compile(
    r"^(?:127\.|10\.|0\.0\.0\.0$|255\.255\.255\.255$|192\.0\.2\.|198\.51\.100\.|203\.0\.113\.)"
)
# A name without a dot is a host of the simulated network or a placeholder; so are these endings.
PRIVATE_ENDINGS = (".test", ".example", ".invalid", ".localhost", ".sim")


def check_text(path: str, text: str) -> list[Finding]:
    """All places and hosts that *text* should not name."""
    findings = []
    for number, line in enumerate(text.splitlines(), 1):
        findings += [Finding(path, number, message) for message in _messages(line)]
    return findings


def _messages(line: str) -> Iterator[str]:
    for match in HOME.finditer(line):
        yield f"{match.group()!r} is a place outside the repository: say it relative to the root"
    for match in ABOVE.finditer(line):
        yield f"{match.group()!r} is a place outside the repository"
    for match in URL.finditer(line):
        if not _is_public(match.group(1).rstrip(".").lower()):
            yield f"{match.group(1)!r} is no host a reader can rely on: add it to PUBLIC_HOSTS if it is"
    for match in ADDRESS.finditer(line):
        if not PUBLIC_ADDRESSES.match(match.group(1)) and all(int(part) < 256 for part in match.group(1).split(".")):
            yield f"{match.group(1)} is an address of a machine: use 127.0.0.1 or 192.0.2.x"
    if PACKAGE_SOURCE.search(line):
        yield "a package registry is the installer's setting, not the project's"


def _is_public(host: str) -> bool:
    if "." not in host or host.endswith(PRIVATE_ENDINGS) or ADDRESS.match(host):
        return True
    return any(host == known or host.endswith("." + known) for known in PUBLIC_HOSTS)
