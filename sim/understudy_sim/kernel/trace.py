"""The trace of a run: every step, event, fault and note as integers, and the digest that names it.

The trace is one `array('q')`.  A word >= 0 opens a *step* of two words: `(pick + 1) << 40 | task ordinal`
(without a pick when one task was ready), then the time in ns.  A word < 0 opens a *note*: `-(kind << 8 |
count)`, then *count* words.  Kinds are numbered in the order of first use and their names are part of the
digest.  It never holds an address, a repr or a traceback: equal runs have equal traces in every process.
"""

from __future__ import annotations

import array
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

PICK_SHIFT = 40
ORDINAL_MASK = (1 << PICK_SHIFT) - 1
_WORDS_MAX = 255
_WORD_LIMIT = 2**63

OnNote = Callable[[str, tuple[int | bytes | str, ...]], object]


@attrs.frozen
class Step:
    """Task *ordinal* ran at *time_ns*;

    *pick* is its index among the ready ones, None when it was the only one.
    """

    pick: int | None
    ordinal: int
    time_ns: int


@attrs.frozen
class Note:
    """Something an owner noted: its *kind* and *words*."""

    kind: str
    words: tuple[int, ...]


class Trace:
    """Append-only.

    `seal` fixes the digest; what comes later is ignored (the reaper runs after the verdict).
    """

    def __init__(self) -> None:
        self.words = array.array("q")
        self.append = self.words.append  # The loop's own fast path: two words a step.
        self.extend = self.words.extend
        self.on_note: OnNote | None = None  # Told each before it enters.
        self._kinds: dict[str, int] = {}
        self._texts: dict[str, tuple[int, int]] = {}  # The same few names come again and again.
        self._hash = hashlib.blake2b(digest_size=16)
        self._hashed = 0
        self._sealed: str | None = None

    @property
    def sealed(self) -> bool:
        """Whether the digest is fixed."""
        return self._sealed is not None

    def note(self, kind: str, *values: int | bytes | str) -> None:
        """Record that *kind* happened.  Bytes and text enter as length and a 62-bit fingerprint."""
        if self._sealed is not None:
            return
        if self.on_note is not None:
            self.on_note(kind, values)
        words: list[int] = []
        for value in values:
            if isinstance(value, int):
                words.append(value)
            elif isinstance(value, bytes):
                words.extend(_fingerprint(value))
            else:
                words.extend(self._texts.get(value) or self._fingerprint_once(value))
        assert not words or (min(words) >= -_WORD_LIMIT and max(words) < _WORD_LIMIT), f"{kind}: a word is 64 bits"
        self.append(self.head(kind, len(words)))
        self.extend(words)

    def _fingerprint_once(self, text: str) -> tuple[int, int]:
        found = self._texts[text] = _fingerprint(text.encode())
        return found

    def head(self, kind: str, count: int) -> int:
        """The word that opens a note of *kind* with *count* words, for owners who append notes by the
        thousand.

        They do `trace.extend((head, *words))`; the head stays valid for the run.
        """
        assert 0 <= count <= _WORDS_MAX, "a note is short"
        number = self._kinds.setdefault(kind, len(self._kinds))
        return -(((number + 1) << 8) | count)

    def running(self) -> str:
        """The digest so far, as hex."""
        if self._sealed is not None:
            return self._sealed
        fresh = self.words[self._hashed :]
        if sys.byteorder == "big":
            fresh.byteswap()
        self._hash.update(fresh.tobytes())
        self._hashed += len(fresh)
        final = self._hash.copy()
        final.update("\n".join(self._kinds).encode())
        return final.hexdigest()

    def seal(self) -> str:
        """Fix the digest and return it.  Sealing twice gives the same."""
        if self._sealed is None:
            self._sealed = self.running()
        return self._sealed

    def entries(self) -> Iterator[Step | Note]:
        """Read the trace back."""
        names = list(self._kinds)
        words = self.words
        at = 0
        while at < len(words):
            head = words[at]
            if head >= 0:
                picked = head >> PICK_SHIFT
                yield Step(picked - 1 if picked else None, head & ORDINAL_MASK, words[at + 1])
                at += 2
                continue
            count = -head & 0xFF
            yield Note(names[(-head >> 8) - 1], tuple(words[at + 1 : at + 1 + count]))
            at += 1 + count
        assert at == len(words), "a trace ends at an entry"

    def call_at(self, word: int, then: Callable[[], object]) -> None:
        """Call *then*, once, when word number *word* is about to enter (or at the next step or note, where an owner of
        many notes has written it).  Every entry costs more from now on."""
        append, extend = self.words.append, self.words.extend
        waiting = [then]

        def look() -> None:
            if len(self.words) >= word and waiting:
                waiting.pop()()

        def looking_append(value: int) -> None:
            look()
            append(value)

        def looking_extend(values: Iterable[int]) -> None:
            look()
            extend(values)

        self.append, self.extend = looking_append, looking_extend

    def stored(self) -> tuple[bytes, list[str]]:
        """The words, little-endian, and the names of the kinds: what `restored` takes in another process."""
        words = self.words[:]
        if sys.byteorder == "big":
            words.byteswap()
        return words.tobytes(), list(self._kinds)

    @classmethod
    def restored(cls, words: bytes, kinds: Sequence[str]) -> Trace:
        """What `stored` gave."""
        trace = cls()
        trace.words.frombytes(words)
        if sys.byteorder == "big":
            trace.words.byteswap()
        trace._kinds = {kind: number for number, kind in enumerate(kinds)}
        return trace


def _fingerprint(data: bytes) -> tuple[int, int]:
    digest = hashlib.blake2b(data, digest_size=8).digest()
    return len(data), int.from_bytes(digest, "big") >> 2
