"""For how long an attempt may be silent, by what its handler declares and the server's defaults (for P17)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import Target

from understudy_sim.kernel.clock import NS_PER_MS


@attrs.frozen
class Silence:
    """After `inactivity_ns` of it the SDK is asked to suspend, after `abort_ns` more the attempt is cut."""

    inactivity_ns: int
    abort_ns: int


class Patience:
    """With each handler, by name, where *limits* are the server's.  Versions of an application may differ: the longest
    counts.
    """

    def __init__(self, limits: Limits, manifests: Sequence[Mapping[str, Any]]) -> None:
        self._default = Silence(limits.inactivity_timeout_ms * NS_PER_MS, limits.abort_timeout_ms * NS_PER_MS)
        self._declared: dict[tuple[str, str], Silence] = {}
        for service in (service for manifest in manifests for service in manifest["services"]):
            for handler in service["handlers"]:
                place = (service["name"], handler["name"])
                found = self._of({**service, **handler})
                known = self._declared.get(place, found)
                self._declared[place] = Silence(
                    max(known.inactivity_ns, found.inactivity_ns), max(known.abort_ns, found.abort_ns)
                )

    def _of(self, options: Mapping[str, Any]) -> Silence:
        inactivity_ms, abort_ms = options.get("inactivityTimeout"), options.get("abortTimeout")
        return Silence(
            self._default.inactivity_ns if inactivity_ms is None else inactivity_ms * NS_PER_MS,
            self._default.abort_ns if abort_ms is None else abort_ms * NS_PER_MS,
        )

    def with_handler(self, target: Target) -> Silence:
        """What is allowed to the handler of *target*."""
        return self._declared.get((target.service, target.handler), self._default)
