"""Planted bugs on the wires: HTTP/2, the ingress, registration, who waits for what."""

from __future__ import annotations

from typing import Final

from understudy_sim.mutants.edit import NOTEBOOK, Mutant

WIRE: Final[tuple[Mutant, ...]] = (
    Mutant(
        id="N1",
        group="N ingress",
        module="understudy_runtime.ingress.shell",
        before=(
            "        try:\n"
            "            if self._observe is None:\n"
            "                return await self._serve(request)\n"
            "            return await self._observed(request, self._observe)\n"
            "        finally:\n"
            "            self._in_flight -= 1\n"
        ),
        after=(
            "        if self._observe is None:\n"
            "            response = await self._serve(request)\n"
            "        else:\n"
            "            response = await self._observed(request, self._observe)\n"
            "        self._in_flight -= 1\n"
            "        return response\n"
        ),
        why="a request whose client goes away counts as in flight for ever",
        needs=("network",),
        invisible=True,
    ),
    Mutant(
        id="N2",
        group="N ingress",
        module="understudy_runtime.effects.replies",
        before=("            self._acks.pop(request_id, None)\n            self._given_up(invocation_id, waiter)\n"),
        after=(
            "            self._acks.pop(request_id, None)\n"
            "            if command.idempotency_key is None or waiter._completed is not None:\n"
            "                self._given_up(invocation_id, waiter)\n"
        ),
        why="who gave up waiting for a request with a key stays on the list of those who wait",
        needs=("network",),
        invisible=True,
    ),
    Mutant(
        id="Q1",
        group="Q HTTP",
        module="understudy_runtime.http.h2_client",
        before="        for stream in [stream for stream in self._exchanges if stream > event.last_stream]:\n",
        after="        for stream in list(self._exchanges):\n",
        why="a stream that the peer took before it went away counts as never reached, and runs beside itself",
        needs=("network",),
    ),
    Mutant(
        id="Q2",
        group="Q HTTP",
        module="understudy_runtime.http.h2_asgi",
        before="        if self._owed:\n            self._owner.wire.credit(self.stream, self._owed)\n",
        after="        if self._owed:\n",
        why="an endpoint never gives the window of a request back",
        needs=("workload",),
        scenario=NOTEBOOK,
    ),
    Mutant(
        id="Q3",
        group="Q HTTP",
        module="understudy_runtime.http.h2_client",
        before="        self._inbox.append(part)\n        self._ended = part.ended\n",
        after="        self._inbox.append(part)\n        self._ended = part.ended and not part.data\n",
        why="the end of a stream is lost when it comes with data",
        needs=("workload",),
    ),
    Mutant(
        id="Q4",
        group="Q HTTP",
        module="understudy_runtime.http.h2_wire",
        before="            if length <= 0:\n                self._blocked[stream] = lane\n                return 0\n",
        after="            if length <= 0:\n                return 0\n",
        why="a stream that waits for the peer's window is forgotten",
        needs=("workload",),
        scenario=NOTEBOOK,
    ),
    Mutant(
        id="R1",
        group="R registration",
        module="understudy_runtime.meta.core",
        before="        if deployment.origin.endpoint.uri == endpoint.uri:\n",
        after="        if deployment.origin.endpoint == endpoint:\n",
        why="an address is known again only if all else that was found out about it is asked for, too",
        needs=("network",),
    ),
    Mutant(
        id="R3",
        group="R registration",
        module="understudy_runtime.meta.registrar",
        before="            if deployment.origin.endpoint.uri and id_ not in self.transports:\n",
        after="            if deployment.origin.endpoint.uri and not self.transports:\n",
        why="after a restart only the first registered deployment can be reached",
        needs=("crash",),
    ),
    Mutant(
        id="W1",
        group="W waiting",
        module="understudy_runtime.partition",
        before=(
            "            effects.settled(record.command)\n"
            "            for action in actions:\n"
            "                effects.perform(action)\n"
        ),
        after=(
            "            for action in actions:\n"
            "                effects.perform(action)\n"
            "            effects.settled(record.command)\n"
        ),
        why="what a record asks for is done before the parts know that the record is stored",
        needs=("time",),
    ),
    Mutant(
        id="W2",
        group="W waiting",
        module="understudy_runtime.effects.replies",
        before=(
            "        self._acks[request_id] = waiter\n"
            "        self._results.setdefault(invocation_id, []).append(waiter)\n"
            "        try:\n"
            "            partition.propose(command)\n"
            "            return await waiter.wait()\n"
        ),
        after=(
            "        try:\n"
            "            waiter.give(await self.invoke(partition, command))\n"
            "            self._results.setdefault(invocation_id, []).append(waiter)\n"
            "            return await waiter.wait()\n"
        ),
        why="who waits for a result registers after the acknowledgement, perhaps after the result",
        needs=("schedule",),
    ),
)
