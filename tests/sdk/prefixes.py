"""Journals of random programs, replayed from every prefix and after every kind of damage.

What must come of it: the program goes on as it did, or suspends; a journal that is not its own is told with error 570
or 571.  Nothing else: no hang (a bounded number of steps, no clock), no other exception, no growth of memory.

`python -m tests.sdk.prefixes --examples 5000` is the long run, of which `test_prefixes.py` is a short one.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Sequence

import attrs
import trio
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from understudy.hosting import LinkLost
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T
from understudy.protocol.messages import is_command, is_notification
from understudy.vm.journal import same_command

from tests.sdk.fakes import FakeHost
from tests.sdk.journals import LAST_WORDS, UNSUPPORTED, Journal, Played, State, Stuck, attempt, make, start_frame
from tests.sdk.programs import PLANNED, Failures, Program

Hits = Counter[str]

STATE_READS = (T.GET_EAGER_STATE, T.GET_LAZY_STATE, T.GET_EAGER_STATE_KEYS, T.GET_LAZY_STATE_KEYS)
DAMAGES_PER_JOURNAL = 12
BATCHINGS_PER_JOURNAL = 4


class Unclean(AssertionError):
    """Something came of a replay that must not."""


@attrs.define
class ReplayLink:
    """A stream that delivers what it was given, batch by batch, and then ends."""

    batches: list[list[Frame]]
    breaks: bool = False
    """Whether it is lost at its end instead of closed."""
    sent: list[Frame] = attrs.field(factory=list)
    ends_told: int = 0

    async def send(self, frames: Sequence[Frame]) -> None:
        """Keep what is said."""
        self.sent += frames

    async def receive(self) -> Sequence[Frame] | None:
        """The next batch; None when there is none."""
        if self.batches:
            return self.batches.pop(0)
        if self.breaks:
            raise LinkLost
        self.ends_told += 1
        if self.ends_told > 1:
            raise Stuck("the attempt waits on after the end of its input")
        return None


@attrs.frozen
class Came:
    """What came of a replay: the new steps, and the last word."""

    steps: tuple[Frame, ...]
    last: Frame

    @property
    def code(self) -> int:
        """The code of the error it ended with, 0 for none."""
        return pb.Error.FromString(self.last.payload).code if self.last.type == T.ERROR else 0

    @property
    def message(self) -> str:
        """What that error says."""
        return pb.Error.FromString(self.last.payload).message if self.last.type == T.ERROR else ""

    @property
    def is_planned(self) -> bool:
        """Whether the program itself asked for that end, if only by what its protocol version cannot say."""
        return PLANNED in self.message or self.code == UNSUPPORTED


async def replay(played: Played, batches: Sequence[Sequence[Frame]]) -> Came:
    """Give an attempt of *program* these frames and nothing more.  Raises Unclean, Stuck."""
    link, host = ReplayLink([list(batch) for batch in batches if batch]), FakeHost()
    await attempt(played, Failures(planned=False), link, host)
    said = [frame.type in LAST_WORDS for frame in link.sent]
    if said.count(True) != 1 or not said[-1]:
        raise Unclean(f"one last word, at the end: {link.sent}")
    if host.hazards:
        raise Unclean(f"hazards: {host.hazards}")
    steps = tuple(frame for frame in link.sent if is_command(frame.type))
    return Came(steps, link.sent[-1])


def whole(entries: Sequence[Frame], state: State | None = None) -> list[Frame]:
    """A journal of *entries* as a server sends it."""
    return [start_frame(len(entries), state), *entries]


# -- what is still its own --


async def check_prefixes(played: Played, journal: Journal, hits: Hits) -> None:
    """From every prefix of its own journal the program goes on as it did."""
    for length in range(1, len(journal.entries) + 1):
        # What state there is now says nothing of what was read then.
        state = {b"a": b'"other"', b"c": b"1"} if length % 2 else None
        came = await replay(played, [whole(journal.entries[:length], state)])
        check_goes_on(came, journal.entries[length:], hits, compares_values=not played.has_codec)
    if journal.last.type == T.END and (came.last.type != T.END or came.steps):
        raise Unclean(f"the whole journal replays to its end: {came}")


def check_goes_on(came: Came, recorded: Sequence[Frame], hits: Hits, *, compares_values: bool) -> None:
    """The new steps are those recorded next; there is no error that the program did not ask for."""
    if came.code and not came.is_planned:
        raise Unclean(f"its own journal is refused: {came.code} {came.message}")
    steps = [frame for frame in recorded if is_command(frame.type)]
    for new, old in zip(came.steps, steps, strict=False):
        if old.type in STATE_READS and new.type in STATE_READS:
            break  # Another attempt may have other state at hand, and learn sooner or later what it reads.
        if new.type != old.type or not same_command(
            new.type, old.payload, new.payload, compares_values=compares_values
        ):
            raise Unclean(f"went on to {new}, but had gone on to {old}")
    hits[f"prefix: {T(came.last.type).name.lower()}"] += 1


async def check_batchings(played: Played, journal: Journal, draw: random.Random, hits: Hits) -> None:
    """Batches mean nothing, nor whether a notification is a known entry or comes live: the same comes of it."""
    entries = journal.entries
    for _ in range(BATCHINGS_PER_JOURNAL):
        length = draw.randint(1, len(entries))
        expected = await replay(played, [whole(entries[:length])])
        known = length
        while known > 1 and is_notification(entries[known - 1].type) and draw.random() < 0.7:
            known -= 1
        frames = [start_frame(known), *entries[:length]]
        batches: list[list[Frame]] = []
        while frames:
            size = draw.randint(1, len(frames))
            batches.append(frames[:size])
            del frames[:size]
        came = await replay(played, batches)
        if not is_alike(came, expected, compares_values=not played.has_codec):
            raise Unclean(f"in other batches, {came} came of what {expected} came of before")
        hits["batched"] += 1


def is_alike(one: Came, other: Came, *, compares_values: bool) -> bool:
    """Whether two replays came to the same, but for the bytes of what a codec wrote."""
    if compares_values or len(one.steps) != len(other.steps):
        return one == other
    pairs = zip(one.steps, other.steps, strict=True)
    return one.last == other.last and all(
        new.type == old.type and same_command(new.type, old.payload, new.payload, compares_values=False)
        for new, old in pairs
    )


# -- what is damaged --

Damage = Callable[[list[Frame], random.Random], None]


def drop(entries: list[Frame], draw: random.Random) -> None:
    """An entry is missing."""
    del entries[draw.randrange(len(entries))]


def repeat(entries: list[Frame], draw: random.Random) -> None:
    """An entry is there twice."""
    entries.insert(draw.randint(0, len(entries)), draw.choice(entries))


def swap(entries: list[Frame], draw: random.Random) -> None:
    """Two entries are in each other's place."""
    one, other = draw.randrange(len(entries)), draw.randrange(len(entries))
    entries[one], entries[other] = entries[other], entries[one]


def shuffle(entries: list[Frame], draw: random.Random) -> None:
    """A stretch is in any order."""
    first = draw.randrange(len(entries))
    stretch = entries[first : first + 6]
    draw.shuffle(stretch)
    entries[first : first + 6] = stretch


def retype(entries: list[Frame], draw: random.Random) -> None:
    """An entry says it is something else."""
    at = draw.randrange(len(entries))
    entries[at] = entries[at]._replace(type=int(draw.choice(list(T))))


def foreign(entries: list[Frame], draw: random.Random) -> None:
    """An answer to what was not asked, or another answer than that may have."""
    key, kind = draw.randint(1, 6), draw.choice(("void", "value", "failure", "invocation_id", "state_keys"))
    message = pb.Notification(completion_id=key) if draw.random() < 0.7 else pb.Notification(signal_id=key)
    getattr(message, kind).SetInParent() if kind != "invocation_id" else setattr(message, kind, "inv_1foreign")
    entries.insert(draw.randint(1, len(entries)), Frame(T.SLEEP_COMPLETION, message.SerializeToString()))


def corrupt(entries: list[Frame], draw: random.Random) -> None:
    """Bytes of an entry are others."""
    at = draw.randrange(len(entries))
    payload = bytearray(entries[at].payload or b"\x00")
    for _ in range(draw.randint(1, 3)):
        payload[draw.randrange(len(payload))] = draw.randrange(256)
    entries[at] = entries[at]._replace(payload=bytes(payload[: draw.randint(0, len(payload))]))


def noise(entries: list[Frame], draw: random.Random) -> None:
    """An entry is anything."""
    entries.insert(draw.randint(0, len(entries)), Frame(draw.randrange(1 << 16), draw.randbytes(draw.randrange(12))))


DAMAGES: tuple[Damage, ...] = (drop, repeat, swap, shuffle, retype, foreign, corrupt, noise)
# After these, bytes may be no message, or a value no value: that is told with 500.
ILLEGIBLE: tuple[Damage, ...] = (retype, corrupt, noise)


async def check_truncated(played: Played, journal: Journal, draw: random.Random, hits: Hits) -> None:
    """Input that ends before the journal does is a violation."""
    frames = whole(journal.entries)
    came = await replay(played, [frames[: draw.randrange(len(frames))]])
    if (came.code, came.steps) != (571, ()):
        raise Unclean(f"truncated input is a violation: {came}")
    hits["truncated: 571"] += 1


async def check_lost(played: Played, journal: Journal, draw: random.Random, hits: Hits) -> None:
    """When the link is lost an attempt ends in silence."""
    length = draw.randint(1, len(journal.entries))
    link, host = ReplayLink([whole(journal.entries[:length])], breaks=True), FakeHost()
    await attempt(played, Failures(planned=False), link, host)
    words = [frame for frame in link.sent if frame.type in (T.END, T.ERROR)]
    if any(frame.type == T.SUSPENSION for frame in link.sent) or words != link.sent[len(link.sent) - len(words) :]:
        raise Unclean(f"nothing is said after a lost link: {link.sent}")
    if host.hazards:
        raise Unclean(f"hazards: {host.hazards}")
    hits["lost"] += 1


async def check_damaged(played: Played, journal: Journal, draw: random.Random, hits: Hits) -> None:
    """Of a journal that is not its own comes a continuation, a suspension, 570 or 571."""
    entries = list(journal.entries[: draw.randint(1, len(journal.entries))])
    damages = [draw.choice(DAMAGES) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
    for damage in damages:
        if entries:
            damage(entries, draw)
    if not entries:
        return
    frames = whole(entries)
    cut = draw.randint(1, len(frames))
    came = await replay(played, [frames[:cut], frames[cut:]])
    allowed = {0, 570, 571} | ({500} if any(damage in ILLEGIBLE for damage in damages) else set())
    names = " ".join(damage.__name__ for damage in damages)
    if came.code not in allowed and not came.is_planned:
        raise Unclean(f"after {names}: {came.code} {came.message}")
    hits[f"{damages[0].__name__}: {came.code or T(came.last.type).name.lower()}"] += 1


async def check(program: Program, number: int, hits: Hits) -> None:
    """All of it for one program and one server."""
    draw = random.Random(number)
    played = Played(program, draw.choice((5, 6, 6)), draw.random() < 0.3)
    journal = await make(played, number)
    hits["journals"] += 1
    hits["entries"] += len(journal.entries)
    hits[f"ended: {T(journal.last.type).name.lower()}"] += 1
    await check_prefixes(played, journal, hits)
    await check_batchings(played, journal, draw, hits)
    await check_truncated(played, journal, draw, hits)
    await check_lost(played, journal, draw, hits)
    for _ in range(DAMAGES_PER_JOURNAL):
        await check_damaged(played, journal, draw, hits)


def run(programs: st.SearchStrategy[list[tuple[object, ...]]], examples: int, first: int) -> Hits:
    """Check *examples* programs; the failure of one is shrunk and raised."""
    hits: Hits = Counter()

    @seed(first)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(programs, st.integers(0, 2**32))
    def every(program: Program, number: int) -> None:
        trio.run(check, program, number, hits)

    every()
    return hits


def main() -> None:
    """Check, and print what was hit."""
    from tests.sdk.programs import programs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    given_ = parser.parse_args()
    for name, count in sorted(run(programs, given_.examples, given_.seed).items()):
        print(f"{count:9,}  {name}")


if __name__ == "__main__":
    main()
