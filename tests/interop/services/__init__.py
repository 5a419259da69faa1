"""The services of the public SDK test contract, in our words: names, handlers and JSON shapes are the contract's.

They use nothing that only one of the two Python SDKs has: with their import lines changed (`interop/rewriting.py`)
the same files are the official SDK's services.
"""

from __future__ import annotations

from understudy import app as make_app

from tests.interop.services.commands import command_interpreter
from tests.interop.services.failing import failing, non_deterministic
from tests.interop.services.interpreter import helper, layers
from tests.interop.services.lifecycle import by_default, lifecycle
from tests.interop.services.objects import counter, list_object, map_object
from tests.interop.services.plain import proxy, test_utils
from tests.interop.services.waiting import (
    awakeable_holder,
    block_and_wait,
    cancel_blocking,
    cancel_runner,
    kill_runner,
    kill_singleton,
)

SERVICES = (
    awakeable_holder,
    block_and_wait,
    by_default,
    cancel_blocking,
    cancel_runner,
    command_interpreter,
    counter,
    failing,
    helper,
    kill_runner,
    kill_singleton,
    lifecycle,
    list_object,
    map_object,
    non_deterministic,
    proxy,
    test_utils,
    *layers,
)

app = make_app(services=SERVICES)
