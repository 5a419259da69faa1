"""The table of real-world calls, and how each is replaced for a run and put back.

A stand-in asks `decide` (the fence) at every call.  Once the fence is down a stand-in that somebody kept
calls the real thing.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import datetime
import functools
import gc
import importlib
import os
import random
import sys
import sysconfig
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import attrs

_CLOCK = "trio.current_time() or the World's now_ms()"
_ENTROPY = "the World's entropy(), or the context's random and uuid in a handler"
_NETWORK = "trio.open_tcp_stream or asyncio.open_connection to a host of the run, or the World's dial()"
_THREAD = "a task, asyncio.to_thread (it runs in the loop), or the World's run_sync()"
_DISK = "the World's disk, or a host of the run that keeps it"


@attrs.frozen
class Site:
    """One real-world call:

    what it is called, what answers it (a method of Answers; None: nothing may), what to use.
    """

    kind: str
    answer: str | None
    instead: str
    direct_only: bool = False  # Only a direct call counts, not one by way of the standard library.


@attrs.frozen
class _Place:
    """Where a name is bound:

    attribute *name* of *owner* (a module's or class's dictionary), and what belongs there.
    """

    owner: Any
    name: str
    real: Any
    stand_in: Any


def _module_sites() -> dict[tuple[str, str], Site]:
    table: dict[tuple[str, str], Site] = {}
    clocks = {
        "time": "wall_s",
        "time_ns": "wall_ns",
        "gmtime": "struct_time",
        "localtime": "struct_time",
        "strftime": "strftime",
        "ctime": "ctime",
        "sleep": "sleep",
    }
    for base in ("monotonic", "perf_counter", "process_time", "thread_time"):
        clocks[base] = "monotonic_s"
        clocks[f"{base}_ns"] = "monotonic_ns"
    for name, answer in clocks.items():
        instead = "await trio.sleep()" if name == "sleep" else _CLOCK
        table["time", name] = Site(f"time.{name}", answer, instead)
    for module, name, answer in (
        ("os", "urandom", "urandom"),
        ("os", "getrandom", "getrandom"),
        ("random", "_urandom", "urandom"),
        ("uuid", "uuid1", "uuid1"),
        ("uuid", "uuid4", "uuid4"),
    ):
        table[module, name] = Site(f"{module}.{name}", answer, _ENTROPY)
    for name in ("create_connection", "getaddrinfo", "gethostbyname", "gethostname", "socketpair", "create_server"):
        table["socket", name] = Site(f"socket.{name}", None, _NETWORK)
    for module, name in (("_thread", "start_new_thread"), ("os", "fork")):
        table[module, name] = Site(f"{module}.{name}", None, _THREAD)
    table["builtins", "open"] = Site("open", None, _DISK, direct_only=True)
    table["trio.to_thread", "run_sync"] = Site("trio.to_thread.run_sync", "inline", _THREAD)
    return table


SITES: Mapping[tuple[str, str], Site] = MappingProxyType(_module_sites())
CLASS_SITES: Mapping[tuple[str, str, str], Site] = MappingProxyType(
    {
        ("socket", "socket", "__init__"): Site("socket.socket", None, _NETWORK),
        ("threading", "Thread", "start"): Site("threading.Thread", None, _THREAD),
        ("subprocess", "Popen", "__init__"): Site("subprocess.Popen", None, "a host of the run that does the work"),
        ("random", "Random", "seed"): Site("random.Random without a seed", "seed", _ENTROPY),
    }
)
_DATES = (("datetime", "now"), ("datetime", "utcnow"), ("date", "today"))  # datetime inherits today.
_STDLIB = sysconfig.get_paths()["stdlib"] + os.sep
_SITE = f"{os.sep}site-packages{os.sep}"
_NOT_SCANNED = ("trio", "outcome", "sniffio", "hypothesis", "_pytest", "pytest", "pluggy", "understudy_sim.kernel")

_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType)

Decide = Callable[[Site, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Sites:
    """Every place to patch, found once and kept; one fence at a time may be up on it."""

    def __init__(self) -> None:
        self.answers = 0  # How often a fence answered in the real world's stead.
        self._decide: Decide | None = None
        self._places: list[_Place] = []
        self._types: list[tuple[type, str, Any, Any]] = []
        self._by_real: dict[Any, Any] = {}
        self._scanned: dict[str, ModuleType] = {}
        self._seen: tuple[object, ...] = ()  # What was in sys.modules at the last scan.
        self._find_module_places()
        self._find_random_places()
        self._find_class_places()
        self._find_dates()

    def put_up(self, decide: Decide) -> None:
        """Put every stand-in in place."""
        assert self._decide is None, "one fence at a time"
        self._scan()
        self._decide = decide
        for place in self._places:
            _bind(place.owner, place.name, place.stand_in)
        for cls, name, _, stand_in in self._types:
            _bind_in_type(cls, name, stand_in)

    def take_down(self) -> None:
        """Put everything back."""
        assert self._decide is not None, "no fence is up"
        for place in self._places:
            _bind(place.owner, place.name, place.real)
        for cls, name, real, _ in self._types:
            _bind_in_type(cls, name, real)
        self._decide = None

    def _stand_in(self, site: Site, real: Callable[..., Any]) -> Callable[..., Any]:
        def stand_in(*args: Any, **kwargs: Any) -> Any:
            decide = self._decide
            return real(*args, **kwargs) if decide is None else decide(site, real, args, kwargs)

        with contextlib.suppress(AttributeError, TypeError):
            functools.update_wrapper(stand_in, real)
        return stand_in

    def _find_module_places(self) -> None:
        for (module_name, name), site in SITES.items():
            module = importlib.import_module(module_name)
            real = getattr(module, name, None)
            if real is not None:
                self._add(module, name, real, self._stand_in(site, real))

    def _find_random_places(self) -> None:
        for name in dir(random):
            real = getattr(random, name)
            if getattr(real, "__self__", None) is not random._inst:
                continue
            site = Site(f"random.{name}", "draw", _ENTROPY)
            self._add(random, name, real, self._named_stand_in(site, real, name))

    def _named_stand_in(self, site: Site, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def stand_in(*args: Any, **kwargs: Any) -> Any:
            decide = self._decide
            if decide is None:
                return real(*args, **kwargs)
            return decide(site, _dropping_first(real), (name, *args), kwargs)

        with contextlib.suppress(AttributeError, TypeError):
            functools.update_wrapper(stand_in, real)
        return stand_in

    def _find_class_places(self) -> None:
        for (module_name, class_name, method), site in CLASS_SITES.items():
            cls = getattr(importlib.import_module(module_name), class_name)
            real = cls.__dict__[method]
            stand_in = self._seed_stand_in(site, real) if method == "seed" else self._stand_in(site, real)
            self._places.append(_Place(cls, method, real, stand_in))

    def _seed_stand_in(self, site: Site, real: Callable[..., Any]) -> Callable[..., Any]:
        """Seeding with a value is nobody's business."""

        def seed(generator: random.Random, a: Any = None, version: int = 2) -> Any:
            decide = self._decide
            if decide is None or a is not None:
                return real(generator, a, version)
            return decide(site, real, (generator,), {})

        return seed

    def _find_dates(self) -> None:
        for class_name, method in _DATES:
            cls = getattr(datetime, class_name)
            real = cls.__dict__[method]
            site = Site(f"{class_name}.{method}", method, _CLOCK)
            self._types.append((cls, method, real, self._date_stand_in(site, real)))

    def _date_stand_in(self, site: Site, real: Any) -> Any:
        def stand_in(cls: type, *args: Any, **kwargs: Any) -> Any:
            def call(cls: type, *args: Any, **kwargs: Any) -> Any:
                return real.__get__(None, cls)(*args, **kwargs)

            decide = self._decide
            return call(cls, *args, **kwargs) if decide is None else decide(site, call, (cls, *args), kwargs)

        return classmethod(stand_in)

    def _add(self, module: ModuleType, name: str, real: Any, stand_in: Any) -> None:
        self._places.append(_Place(module, name, real, stand_in))
        if module is not builtins:
            self._by_real[real] = stand_in

    def _scan(self) -> None:
        """Find names bound early in modules that came, or came anew, since the last scan."""
        seen = tuple(sys.modules.values())
        if seen == self._seen:
            return
        self._seen = seen
        for module_name, module in list(sys.modules.items()):
            if not isinstance(module, ModuleType) or self._scanned.get(module_name) is module:
                continue
            self._scanned[module_name] = module
            if _scannable(module_name, module):
                self._scan_module(module)

    def _scan_module(self, module: ModuleType) -> None:
        for name, value in list(vars(module).items()):
            if not isinstance(value, _FUNCTIONS):
                continue
            stand_in = self._by_real.get(value)
            if stand_in is not None:
                self._places.append(_Place(module, name, value, stand_in))


def _scannable(name: str, module: ModuleType) -> bool:
    filename = getattr(module, "__file__", None)
    if filename is None or name.startswith(_NOT_SCANNED):
        return False
    return not filename.startswith(_STDLIB) or _SITE in filename


def _dropping_first(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _, *args, **kwargs: real(*args, **kwargs)


def _bind(owner: Any, name: str, value: Any) -> None:
    setattr(owner, name, value)


def _bind_in_type(cls: type, name: str, value: Any) -> None:
    """Set an attribute of a C type: its dictionary is behind the proxy, and its caches must be told."""
    dictionary = gc.get_referents(cls.__dict__)[0]
    assert dictionary.get(name) is not None, f"{cls.__name__}.{name} is there"
    dictionary[name] = value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))
