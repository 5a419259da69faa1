"""Walking through a run: a prompt on the stopped world.

A run stops after a step and stands.  To be elsewhere, forwards or backwards, is to make the run again up to there: the
same decisions give the same steps.  Commands come from a terminal or, one a line, from a file.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TextIO

import attrs
import click

from understudy_sim.cli.meant import Meant
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage.chronicle import KINDS, Chronicle
from understudy_sim.stage.chronicler import Chronicler
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.standing import EVENTS_SHOWN, Standing, is_meant
from understudy_sim.stage.why import NobodyMeant

Lines = Sequence[str]


class Wrong(Exception):
    """A command that cannot be done: what was wrong, and what to do."""


@attrs.frozen
class Go:
    """Be at this step; None: at the end."""

    step: int | None


@attrs.frozen
class Sought:
    """The next event that *text* means, after a step."""

    text: str
    after: int


class Quit(Exception):
    """Enough."""


class Walk:
    """One run, looked at step by step.  *read* gives the next command, None at the end of them."""

    def __init__(self, run: Meant, read: Callable[[str], str | None], write: Callable[[str], object]) -> None:
        self._run = run
        self._read = read
        self._write = write
        self._whole: Chronicle | None = None  # what happens up to the end, once the run was made so far
        self._next: Go | None = None
        self._sought: Sought | None = None

    def begin(self, until: int | None) -> bool:
        """Stand at step *until* (or at the end) and do what is said.  Whether a claim is broken where it was last."""
        self._next = Go(until)
        failed = False
        while self._next is not None:
            go, self._next = self._next, None
            chronicler = Chronicler()
            visit = _Visit(chronicler, partial(self._stand, go=go, started=time.monotonic()))
            failed = self._run.run(chronicler, visit, steps_max=go.step).failed
        return failed

    def _stand(self, standing: Standing, go: Go, started: float) -> None:
        """The world stands: do what is said until it is to be elsewhere."""
        if not standing.is_cut:
            self._whole = standing.chronicle
        if self._sought is not None:
            self._next = self._seek(self._sought)
            return
        self._write(self._place(standing, go, time.monotonic() - started))
        while self._next is None:
            line = self._read(f"({standing.step}) ")
            if line is None:
                return
            try:
                answer = self._do(line, standing)
            except (Wrong, NobodyMeant) as error:
                self._write(str(error))
            except Quit:
                return
            else:
                for one in answer:
                    self._write(one)

    def _place(self, standing: Standing, go: Go, took_s: float) -> str:
        of = f" of {self._whole.steps}" if self._whole is not None else ""
        beyond = "" if go.step is None or standing.is_cut else f"there is no step {go.step}: this is the end\n"
        at = (
            f"step {standing.step}{of}, {standing.ended.time_ns / 1e9:.6f} s (the run was made again in {took_s:.2f} s)"
        )
        return "\n".join([f"{beyond}{at}", *(f"  {line}" for line in standing.log(1))])

    def _seek(self, sought: Sought) -> Go:
        """Where the next event is that is sought; back to where it was asked for when there is none."""
        self._sought = None
        whole = self._whole
        assert whole is not None, "what comes is known once the run was made to its end"
        later = (one for one in whole.events if one.step > sought.after)
        found = next((one for one in later if is_meant(one, sought.text, whole)), None)
        if found is not None:
            return Go(found.step)
        self._write(f"nothing about {sought.text!r} comes after step {sought.after}; kinds are: {', '.join(KINDS)}")
        return Go(sought.after)

    def _do(self, line: str, standing: Standing) -> Lines:
        name, _, rest = line.strip().partition(" ")
        if not name:
            return ()
        if name == "py":
            return _python(rest, standing)
        found = [one for one in COMMANDS if one == name] or [one for one in COMMANDS if one.startswith(name)]
        if len(found) != 1:
            which = f"{name!r} is {' or '.join(found)}" if found else f"there is no command {name!r}"
            raise Wrong(f"{which}; type help")
        try:
            words = shlex.split(rest)
        except ValueError as error:
            raise Wrong(f"{rest!r}: {error}") from None
        command = COMMANDS[found[0]]
        if not command.least <= len(words) <= command.most:
            raise Wrong(f"usage: {found[0]} {command.usage}".rstrip())
        return command.do(self, standing, words)

    # --- going elsewhere ----------------------------------------------------------------------------------------

    def step(self, standing: Standing, words: Lines) -> Lines:
        """So many more."""
        return self._go(standing, standing.step + _count(words, 1))

    def back(self, standing: Standing, words: Lines) -> Lines:
        """So many less."""
        return self._go(standing, standing.step - _count(words, 1))

    def to(self, standing: Standing, words: Lines) -> Lines:
        """One step, or the end."""
        if words[0] == "end":
            self._next = Go(None)
            return ()
        return self._go(standing, _count(words, 1))

    def until(self, standing: Standing, words: Lines) -> Lines:
        """Be where the next event is that *words* mean."""
        text = words[0] if words[0] != "until" else "".join(words[1:2])
        if not text:
            raise Wrong("until what? Name a kind of event, an invocation, a process, or words of an event")
        sought = Sought(text, standing.step)
        if self._whole is None:
            self._sought, self._next = sought, Go(None)
        else:
            self._next = self._seek(sought)
        return ()

    def _go(self, standing: Standing, wanted: int) -> Lines:
        if wanted < 1:
            raise Wrong(f"a run begins with step 1, and this is step {standing.step}")
        if not standing.is_cut and wanted > standing.step:
            raise Wrong(f"the run ends with step {standing.step}: this is its end")
        self._next = Go(wanted)
        return ()


class _Visit:
    """The observer that holds the world while it is looked at."""

    def __init__(self, chronicler: Chronicler, stand: Callable[[Standing], object]) -> None:
        self._chronicler = chronicler
        self._stand = stand

    def attach(self, rehearsal: Rehearsal) -> None:
        """Nothing is watched."""

    def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
        self._stand(Standing(rehearsal, ended, self._chronicler.chronicle))


# --- commands ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Command:
    """What a command does, how many words it takes, and its help."""

    do: Callable[[Walk, Standing, Lines], Lines]
    least: int
    most: int
    usage: str
    what: str


def _log(_: Walk, standing: Standing, words: Lines) -> Lines:
    counts = [word for word in words if word.isdecimal()]
    about = [word for word in words if not word.isdecimal()]
    return standing.log(int(counts[0]) if counts else EVENTS_SHOWN, about[0] if about else "")


def _quit(_: Walk, __: Standing, ___: Lines) -> Lines:
    raise Quit


def _help(_: Walk, __: Standing, ___: Lines) -> Lines:
    told = [f"  {f'{name} {one.usage}'.rstrip():24} {one.what}" for name, one in COMMANDS.items()]
    python = f"  {'py EXPRESSION':24} any Python, with run, kernel, truth, stage, node and chronicle at hand"
    return [*told, python, "INV is an id, #3, a label, or service/key/handler.  A command may be cut short."]


COMMANDS: Final[Mapping[str, Command]] = MappingProxyType(
    {
        "step": Command(Walk.step, 0, 1, "[n]", "make n more steps (the run is made again up to there)"),
        "back": Command(Walk.back, 0, 1, "[n]", "be n steps earlier (likewise)"),
        "to": Command(Walk.to, 1, 1, "STEP|end", "be at a step"),
        "run": Command(Walk.until, 1, 2, "until WHAT", "be at the next event of a kind, an invocation, or with words"),
        "where": Command(lambda _, at, words: at.where(*words), 0, 1, "[PROCESS]", "tasks and where they wait"),
        "invocations": Command(lambda _, at, __: at.invocations(), 0, 0, "", "all of them"),
        "journal": Command(lambda _, at, words: at.journal(words[0]), 1, 1, "INV", "the entries of one"),
        "state": Command(lambda _, at, words: at.state(words[0], words[1]), 2, 2, "SERVICE KEY", "an object's state"),
        "locks": Command(lambda _, at, __: at.locks(), 0, 0, "", "who holds which object"),
        "inbox": Command(lambda _, at, __: at.inbox(), 0, 0, "", "who waits for which object"),
        "timers": Command(lambda _, at, __: at.timers(), 0, 0, "", "durable timers and outboxes"),
        "network": Command(lambda _, at, __: at.network(), 0, 0, "", "connections, and what is on its way"),
        "disk": Command(lambda _, at, __: at.disk(), 0, 0, "", "what a power cut could take"),
        "log": Command(_log, 0, 2, "[n] [WHAT]", "the latest events, of a kind or about somebody"),
        "why": Command(
            lambda _, at, words: at.inquiry.told(words[0] if words else ""), 0, 1, "[INV]", "who waits for whom"
        ),
        "claims": Command(lambda _, at, __: at.claims(), 0, 0, "", "the claims that broke so far"),
        "help": Command(_help, 0, 1, "", "this"),
        "quit": Command(_quit, 0, 0, "", "stop looking"),
    }
)


def _count(words: Lines, otherwise: int) -> int:
    if not words:
        return otherwise
    text = words[0].replace("_", "").replace(",", "")
    if not text.isdecimal() or not int(text):
        raise Wrong(f"{words[0]!r} is no number of steps: 1, 2, 3 …")
    return int(text)


def _python(text: str, standing: Standing) -> Lines:
    if not text.strip():
        raise Wrong("usage: py EXPRESSION")
    run = standing.rehearsal
    names: dict[str, Any] = {
        "run": run,
        "kernel": run.kernel,
        "truth": run.truth,
        "stage": run.stage,
        "node": run.cluster.server.node,
        "chronicle": standing.chronicle,
    }
    try:
        return [repr(eval(text, names))]
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}") from None


# --- where commands come from -----------------------------------------------------------------------------------


def walk(run: Meant, until: int | None) -> bool:
    """Walk through *run* as standard input says.  Whether it broke a claim as far as it was made."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  (it gives `input` a history)

        return Walk(run, _asked, click.echo).begin(until)
    return Walk(run, lambda prompt: _scripted(prompt, sys.stdin), click.echo).begin(until)


def _asked(prompt: str) -> str | None:
    try:
        return input(prompt)
    except (EOFError, KeyboardInterrupt):
        click.echo("")
        return None


def _scripted(prompt: str, source: TextIO) -> str | None:
    line = source.readline()
    if not line:
        return None
    click.echo(f"{prompt}{line.rstrip()}")
    return line
