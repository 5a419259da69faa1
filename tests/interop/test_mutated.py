"""A short run of `mutated.py`: some thousand changed frames, and every kind of end is met."""

from __future__ import annotations

import pytest

from tests.interop.mutated import TARGETS, run

FRAMES = 1_500
# What a run that reaches the depths of each target meets; fewer kinds mean that the mutations bounce off the surface.
MET = {
    "vm": {"vm: end", "vm: suspension", "vm: error 500", "vm: error 570", "vm: error 571"},
    "invoker": {"invoker: attempt failed", "invoker: attempt finished", "invoker: attempt suspended"},
    "ingress": {"ingress: HTTP/1.1 200", "ingress: HTTP/1.1 400", "ingress: HTTP/2 GOAWAY", "ingress: HTTP/2 answered"},
}


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_frames_are_clean_errors(target: str) -> None:
    hits = run(FRAMES, 7, [target])
    assert hits[f"{target}: mutated frames"] >= FRAMES
    assert MET[target] <= hits.keys()
