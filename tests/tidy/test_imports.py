"""Imports follow the layers."""

from __future__ import annotations

import pytest

from tests.tidy.import_rules import LAYERS, check_imports, imported_names, layer_of
from tests.tidy.sources import Source, python_sources, report


def test_the_tree_follows_the_layers() -> None:
    findings = [finding for source in python_sources() for finding in check_imports(source)]
    assert not findings, report(findings)


BAD = [
    ("sdk/understudy/protocol/framing.py", "import trio"),
    ("sdk/understudy/protocol/framing.py", "from understudy.vm import vm"),
    ("sdk/understudy/vm/vm.py", "import trio"),
    ("sdk/understudy/vm/vm.py", "from understudy.api.context import Context"),
    ("sdk/understudy/api/context.py", "from understudy_runtime.world import World"),
    ("sdk/understudy/api/context.py", "import understudy_sim.kernel"),
    ("sdk/understudy/__main__.py", "from understudy_runtime.node import Node"),
    ("runtime/understudy_runtime/model/ids.py", "import anyio"),
    ("runtime/understudy_runtime/model/ids.py", "from understudy_runtime.machine import apply"),
    ("runtime/understudy_runtime/machine/apply.py", "import trio"),
    ("runtime/understudy_runtime/machine/apply.py", "from understudy_runtime.world import World"),
    ("runtime/understudy_runtime/machine/apply.py", "from understudy_runtime.storage.sqlite import SqliteStorage"),
    ("runtime/understudy_runtime/log/core.py", "from trio import sleep"),
    ("runtime/understudy_runtime/log/core.py", "from understudy_runtime.log.shell import Log"),
    ("runtime/understudy_runtime/log/core.py", "from understudy_runtime.world import Disk"),
    ("runtime/understudy_runtime/invoker/shell.py", "from understudy_runtime.ingress.shell import Ingress"),
    ("runtime/understudy_runtime/node.py", "from understudy_runtime.real_world import RealWorld"),
    ("runtime/understudy_runtime/node.py", "import understudy_sim"),
    ("runtime/understudy_runtime/node.py", "from understudy_runtime.cli import main"),
    ("sim/understudy_sim/kernel/loop.py", "import understudy"),
    ("sim/understudy_sim/kernel/loop.py", "from understudy_sim.stage import model"),
    ("sim/understudy_sim/kernel/loop.py", "import hypothesis"),
    ("sim/understudy_sim/stage/model.py", "from understudy_runtime.machine.apply import apply"),
    ("sim/understudy_sim/stage/cluster.py", "import scenarios.ticket_tour"),
    ("sim/understudy_sim/stage/cluster.py", "import tests.tidy"),
    ("scenarios/ticket_tour.py", "from understudy_runtime.node import Node"),
    ("elsewhere/module.py", "import attrs"),
]


@pytest.mark.parametrize(("path", "text"), BAD)
def test_a_bad_import_is_found(path: str, text: str) -> None:
    assert check_imports(Source.parse(path, text))


GOOD = [
    ("sdk/understudy/protocol/framing.py", "import attrs\nfrom understudy.protocol import service_pb2 as pb"),
    ("runtime/understudy_runtime/machine/apply.py", "from understudy_runtime.storage.port import Storage"),
    ("runtime/understudy_runtime/log/core.py", "from understudy_runtime.log.codec import decode"),
    ("runtime/understudy_runtime/log/shell.py", "from understudy_runtime.world import Disk\nimport trio"),
    ("runtime/understudy_runtime/cli/dev.py", "from understudy_runtime.real_world import RealWorld"),
    ("sim/understudy_sim/kernel/choices.py", "from hypothesis import strategies"),
    ("sim/understudy_sim/stage/cluster.py", "from understudy_runtime.node import Node"),
    ("scenarios/ticket_tour.py", "from understudy_sim import scenario\nimport understudy"),
]


@pytest.mark.parametrize(("path", "text"), GOOD)
def test_a_good_import_passes(path: str, text: str) -> None:
    assert not check_imports(Source.parse(path, text))


def test_relative_imports_are_resolved() -> None:
    source = Source.parse("sdk/understudy/vm/vm.py", "from . import states\nfrom ..api import context")
    assert [name for _, name in imported_names(source)] == ["understudy.vm.states", "understudy.api.context"]


def test_the_longest_prefix_decides() -> None:
    assert layer_of("understudy_sim.kernel.choices") == "understudy_sim.kernel.choices"
    assert layer_of("understudy_sim.kernel.loop") == "understudy_sim.kernel"
    assert layer_of("understudy_runtime.partition") == "understudy_runtime"
    assert layer_of("nobody") is None
    assert all(layer_of(prefix) == prefix for prefix in LAYERS)
