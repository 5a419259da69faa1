"""Where every decision of a run comes from.  Same answers, same run.

A decision has a *label* (who decides what, such as `net.latency.client>server`) and an *ordinal* (the n-th
under that label). Each label draws from a stream of its own, so taking the decisions of one label away leaves
all others as they were: that is what lets a shrinker drop one fault without scrambling the rest.

Integers only: no floats, no library sampler whose algorithm may change under us.  0 (or `low`) is always the
tame answer.
"""

from __future__ import annotations

import abc
import hashlib
from _random import Random  # The generator itself: `random.Random` seeds it through Python code, as the fence has it.
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

T = TypeVar("T")
Overrides = Mapping[tuple[str, int | None], int]
Salts = Mapping[str, int]

_WORD_MAX = 2**64 - 1
_SEED_MAX = _WORD_MAX
_GOLDEN = 0x9E3779B97F4A7C15
_TAME = -1  # The key of a label whose decisions are tame: no seed is negative.


class Choice(NamedTuple):
    """One decision that was taken: the *ordinal*-th of *label*, *value* out of *low*..*high*."""

    label: str
    ordinal: int
    low: int
    high: int
    value: int


_new = tuple.__new__  # A Choice without the call of Python that naming its fields costs.


def stable_seed(*parts: str | int) -> int:
    """128 bits that depend on *parts* alone: not on the process, the hash seed or the Python version."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def mixed(key: int, ordinal: int) -> int:
    """64 well mixed bits of *key* and *ordinal* (the finalizer of SplitMix64)."""
    word = (key + ordinal * _GOLDEN) & _WORD_MAX
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD_MAX
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD_MAX
    return word ^ (word >> 31)


class Stream:
    """Cheap unrecorded draws after one recorded decision (its *seed*).

    For what is drawn at every step or message.
    """

    __slots__ = ("_bits",)

    def __init__(self, seed: int) -> None:
        assert seed >= 0, "a seed is not negative"
        self._bits = Random(seed).getrandbits

    def integer(self, low: int, high: int) -> int:
        """An integer from *low* to *high*, both included, all equally likely."""
        assert low <= high, "an empty range has no integer"
        span = high - low
        if span == 0:
            return low
        width = span.bit_length()
        drawn = self._bits(width)
        while drawn > span:
            drawn = self._bits(width)
        return low + drawn

    def chance(self, thousandths: int) -> bool:
        """True in *thousandths* of 1000 cases."""
        assert 0 <= thousandths <= 1000, "a chance is 0 to 1000 thousandths"
        return thousandths > 0 and self.integer(0, 999) >= 1000 - thousandths

    def bytes(self, length: int) -> bytes:
        """*length* random bytes."""
        return self._bits(8 * length).to_bytes(length, "big") if length else b""


class Choices(abc.ABC):
    """A source of named decisions.

    `recorded` is the run so far; `abort` is set when the run must stop at once.
    """

    def __init__(self) -> None:
        self.recorded: list[Choice] = []
        self.abort: BaseException | None = None
        self._ordinals: dict[str, int] = {}

    @abc.abstractmethod
    def _draw(self, label: str, ordinal: int, low: int, high: int) -> int:
        """The answer to one decision; the caller counts and records."""

    def integer(self, label: str, low: int, high: int) -> int:
        """Decide an integer from *low* to *high*, both included.  A range of one value is no decision."""
        assert low <= high, f"{label}: an empty range has no integer"
        if low == high:
            return low
        ordinal = self._ordinals.get(label, 0)
        self._ordinals[label] = ordinal + 1
        value = self._draw(label, ordinal, low, high)
        assert low <= value <= high, f"{label}: {value} is outside {low}..{high}"
        self.recorded.append(_new(Choice, (label, ordinal, low, high, value)))
        return value

    def asked(self, label: str) -> int:
        """How many decisions were taken under *label* so far."""
        return self._ordinals.get(label, 0)

    def chance(self, label: str, thousandths: int) -> bool:
        """Decide yes in *thousandths* of 1000 cases.  0 and 1000 are no decision."""
        assert 0 <= thousandths <= 1000, f"{label}: a chance is 0 to 1000 thousandths"
        if thousandths in (0, 1000):
            return thousandths == 1000
        return self.integer(label, 0, 999) >= 1000 - thousandths

    def pick(self, label: str, count: int) -> int:
        """Decide an index below *count*."""
        assert count > 0, f"{label}: nothing to pick from"
        return self.integer(label, 0, count - 1)

    def one_of(self, label: str, items: Sequence[T]) -> T:
        """Decide for one of *items*; the first is the tame answer."""
        return items[self.pick(label, len(items))]

    def shuffle(self, label: str, items: Iterable[T]) -> list[T]:
        """*items* in a decided order; all zeros keep the order."""
        rest = list(items)
        for index in range(len(rest) - 1):
            other = index + self.pick(label, len(rest) - index)
            rest[index], rest[other] = rest[other], rest[index]
        return rest

    def bytes(self, label: str, length: int) -> bytes:
        """*length* bytes that follow from one decision."""
        return self.stream(label).bytes(length)

    def stream(self, label: str) -> Stream:
        """A cheap stream of draws that follows from one decision (its seed)."""
        return Stream(stable_seed("stream", label, self.integer(label, 0, _SEED_MAX)))


def _longest_first(values: Salts | None) -> list[tuple[str, int]]:
    return sorted((values or {}).items(), key=lambda item: (-len(item[0]), item[0]))


class SeededChoices(Choices):
    """One integer names the run.  *overrides* force single decisions: `(label, ordinal)`, or `(label, None)`
    for all.

    A decision depends on the seed, its label and its ordinal alone: a 64-bit hash of the three, scaled to the range
    (`low + (hash * count >> 64)`; a range of more than 2**64 values has a stream of its own).

    A forced value outside the range asked for is clamped to it, so that an override made for one run still
    means something in the slightly different run it causes.

    *salts* give all labels under a prefix another stream, *borrowed* the stream that another seed has; of each the
    longest prefix counts.  All labels under a prefix of *tame* are answered with `low`, unless they are also under one
    of *wild*.
    """

    def __init__(
        self,
        seed: int,
        overrides: Overrides | None = None,
        *,
        salts: Salts | None = None,
        borrowed: Salts | None = None,
        tame: Sequence[str] = (),
        wild: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.seed = seed
        self.overrides = dict(overrides or {})
        self._salts = _longest_first(salts)
        self._borrowed = _longest_first(borrowed)
        self._tame, self._wild = tuple(tame), tuple(wild)
        self._keys: dict[str, int] = {}

    def _key(self, label: str) -> int:
        if label.startswith(self._tame) and not label.startswith(self._wild):
            return _TAME
        salt = next((value for prefix, value in self._salts if label.startswith(prefix)), None)
        seed = next((value for prefix, value in self._borrowed if label.startswith(prefix)), self.seed)
        parts = ("seed", seed, label) if salt is None else ("seed", seed, label, "salt", salt)
        return stable_seed(*parts) & _WORD_MAX

    def _draw(self, label: str, ordinal: int, low: int, high: int) -> int:
        key = self._keys.get(label)
        if key is None:
            key = self._keys[label] = self._key(label)
        count = high - low + 1
        if key == _TAME:
            value = low
        elif count <= 1 << 64:
            value = low + (mixed(key, ordinal) * count >> 64)
        else:
            value = Stream(stable_seed("wide", key, ordinal)).integer(low, high)
        if self.overrides:
            forced = self.overrides.get((label, ordinal), self.overrides.get((label, None)))
            if forced is not None:
                return min(max(forced, low), high)
        return value


class DrawnChoices(Choices):
    """Hypothesis draws, shrinks and stores the run.  Give it the object of `st.data()`."""

    def __init__(self, data: DataObject) -> None:
        super().__init__()
        from hypothesis import strategies  # Imported here: a run from a seed does without Hypothesis.

        self._data = data
        self._integers = strategies.integers

    def _draw(self, label: str, ordinal: int, low: int, high: int) -> int:
        try:
            return self._data.draw(self._integers(low, high), label=f"{label}#{ordinal}")
        except BaseException as stop:
            self.abort = stop  # Hypothesis ends the test case: no code under test may swallow that.
            raise
