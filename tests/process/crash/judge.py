"""Judge by what the services outside saw: the emulator's journal against what people wrote. The daemon isn't asked.

Everybody's words begin with the number of the message ("m17 …"), every answer with that number, that of the question
to the model and its part ("m17 a40 1/3 …"), what the owner writes with a number of its own ("letter 17 …"), so that an
entry of the journal says by itself what it belongs to.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bot.emulator import Entry
from tests.process.crash.points import APOLOGY, LETTER, NOTICE

NUMBERS = re.compile(r"\bm(\d+) ")
PART = re.compile(r"m(\d+) a(\d+) (\d+)/(\d+)")
LETTERS = re.compile(rf"\b{LETTER}(\d+) ")
NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Said:
    """One message: who wrote it, when by WhatsApp's timestamp, and what has to come of it.

    `lines`: under which of their ids people wrote; only messages that share one stand in the same line.
    """

    number: int
    wamid: str
    who: str
    timestamp: int
    kind: str = "answer"  # or apology, notice
    parts: int = 1
    lines: frozenset[str] = frozenset({""})


@dataclass(slots=True)
class _Seen:
    """What the services saw of a message; times are those of the journal."""

    said: Said
    posted_at: float = NEVER
    stored_at: float = NEVER  # the first 200
    asked: list[float] = field(default_factory=list)
    begun_at: float = NEVER  # the first send, whatever became of it
    sent: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))  # by part: when Graph accepted it
    asks: set[str] = field(default_factory=set)  # the questions whose answers went out

    @property
    def first_at(self) -> float:
        """When its turn shows for the first time."""
        return min([*self.asked, self.begun_at])

    @property
    def last_sent_at(self) -> float:
        """When its last part went out."""
        return max((at for times in self.sent.values() for at in times), default=-NEVER)


@dataclass(slots=True)
class Letter:
    """What the owner writes to somebody: to be sent once where the daemon said that it is stored, else at most once."""

    number: int
    who: str
    stored: bool = False
    sent: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """What went wrong, in words, by kind; nothing where all is well."""

    messages: int
    letters: int
    lost: list[str] = field(default_factory=list)
    misordered: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong_user: list[str] = field(default_factory=list)
    asked_again: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        kinds = {"lost": self.lost, "misordered": self.misordered, "twice": self.twice}
        kinds |= {"wrong user": self.wrong_user, "model calls after a stored answer": self.asked_again}
        return {name: len(found) for name, found in kinds.items()}

    @property
    def clean(self) -> bool:
        """Whether every count is 0."""
        return not self.wrong

    @property
    def wrong(self) -> list[str]:
        """Everything, in words."""
        return [*self.lost, *self.misordered, *self.twice, *self.wrong_user, *self.asked_again]


class Judge:
    """Read the journal piece by piece, and judge all that was read so far."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}
        self._by_wamid: dict[str, _Seen] = {}
        self._letters: dict[int, Letter] = {}
        self._callbacks: Counter[str] = Counter()
        self._strange: list[str] = []

    def note(self, said: Said) -> None:
        """Note what somebody is about to write."""
        self._seen[said.number] = self._by_wamid[said.wamid] = _Seen(said)

    def note_letter(self, letter: Letter) -> None:
        """Note what the owner is about to write."""
        self._letters[letter.number] = letter

    def read(self, entries: Iterable[Entry]) -> None:
        """Take in a piece of the journal; each entry once, in order."""
        for entry in entries:
            if entry.service == "webhook":
                self._read_webhook(entry)
            elif entry.service == "model":
                self._read_question(entry)
            elif entry.service == "graph.send":
                self._read_send(entry)

    def asked(self, number: int) -> int:
        """How often the model was asked about a message."""
        return len(self._seen[number].asked)

    def verdict(self) -> Verdict:
        """Judge."""
        verdict = Verdict(len(self._seen), len(self._letters), wrong_user=list(self._strange))
        for seen in self._seen.values():
            self._judge_one(seen, verdict)
        for letter in self._letters.values():
            _judge_letter(letter, verdict)
        repeated = [callback for callback, times in self._callbacks.items() if times > 1]
        if len(repeated) > len(verdict.twice):  # a callback id names a part of a plan: another view of the same
            verdict.twice += [f"callback id {callback} was accepted more than once" for callback in repeated]
        people: dict[str, list[_Seen]] = defaultdict(list)
        for seen in self._seen.values():
            people[seen.said.who].append(seen)
        for line in people.values():
            verdict.misordered += _disorder(line)
        verdict.misordered += self._swapped_letters()
        return verdict

    def _read_webhook(self, entry: Entry) -> None:
        for wamid in entry.wamid.split():
            if seen := self._by_wamid.get(wamid):  # else it is a status
                seen.posted_at = min(seen.posted_at, entry.began_at)
                if entry.accepted and entry.ended_at is not None:
                    seen.stored_at = min(seen.stored_at, entry.ended_at)

    def _read_question(self, entry: Entry) -> None:
        asked = NUMBERS.findall(entry.text)
        if not asked:
            self._strange.append(f"the model was asked something that nobody wrote: {entry.text[:60]!r}")
            return
        seen = self._seen[int(asked[-1])]  # what had no answer stands before it, in one text
        seen.asked.append(entry.began_at)
        for number in set(NUMBERS.findall(str(entry.request))):
            if self._seen[int(number)].said.who != seen.said.who:
                self._strange.append(f"the model saw m{number} when it was asked about m{seen.said.number}")
        for number in set(LETTERS.findall(str(entry.request))):
            if self._letters[int(number)].who != seen.said.who:
                self._strange.append(f"the model saw letter {number} when it was asked about m{seen.said.number}")

    def _read_send(self, entry: Entry) -> None:
        if found := LETTERS.match(entry.text):
            self._read_letter(self._letters[int(found[1])], entry)
            return
        part = PART.match(entry.text)
        if part:
            seen, number = self._seen[int(part[1])], int(part[3])
        elif meant := self._meant(entry):
            seen, number = meant, 1
        else:
            self._strange.append(f"nobody had to be told {entry.text[:60]!r}")
            return
        if seen.said.who != entry.user:
            self._strange.append(f"m{seen.said.number} of {seen.said.who} was answered to {entry.user}")
        seen.begun_at = min(seen.begun_at, entry.began_at)
        if entry.accepted:
            seen.sent[number].append(entry.began_at)
            seen.asks |= {part[2]} if part else set()
            self._callbacks[entry.callback_data.partition(".")[0]] += 1

    def _read_letter(self, letter: Letter, entry: Entry) -> None:
        if letter.who != entry.user:
            self._strange.append(f"letter {letter.number} to {letter.who} went to {entry.user}")
        if entry.accepted:
            letter.sent.append(entry.began_at)
            self._callbacks[entry.callback_data.partition(".")[0]] += 1

    def _swapped_letters(self) -> list[str]:
        """Say which letters to somebody went out before an older one; the owner writes them one after the other."""
        people: dict[str, list[Letter]] = defaultdict(list)
        for letter in self._letters.values():
            people[letter.who] += [letter] if letter.sent else []
        return [
            f"letter {younger.number} went out before letter {older.number}"
            for line in people.values()
            for older, younger in pairwise(line)
            if younger.sent[0] < older.sent[0]
        ]

    def _meant(self, entry: Entry) -> _Seen | None:
        """Find whom an apology or a notice is for: people write at most one message that gets one of a kind."""
        kind = {APOLOGY: "apology", NOTICE: "notice"}.get(entry.text)
        meant = (s for s in self._seen.values() if s.said.kind == kind and s.said.who == entry.user)
        return next(meant, None) if kind else None

    def _judge_one(self, seen: _Seen, verdict: Verdict) -> None:
        name, parts = f"m{seen.said.number}", range(1, seen.said.parts + 1)
        missing = [part for part in parts if part not in seen.sent]
        if seen.stored_at < NEVER and missing:
            verdict.lost.append(f"{name} got its 200 and no {seen.said.kind}: missing parts {missing} of {len(parts)}")
        twice = {part: len(times) for part, times in seen.sent.items() if len(times) > 1}
        verdict.twice += [f"{name} part {part} went out {times} times" for part, times in twice.items()]
        late = [at for at in seen.asked if at > seen.begun_at]
        if late or len(seen.asks) > 1:
            verdict.asked_again.append(f"{name} was asked about {max(len(late), 1)} times after its answer was stored")
        firsts = [min(seen.sent[part]) for part in parts if part in seen.sent]
        if firsts != sorted(firsts):
            verdict.misordered.append(f"{name}: its parts went out in the order of {firsts}")


def _judge_letter(letter: Letter, verdict: Verdict) -> None:
    if letter.stored and not letter.sent:
        verdict.lost.append(f"letter {letter.number} got its 200 and never went out")
    if len(letter.sent) > 1:
        verdict.twice.append(f"letter {letter.number} went out {len(letter.sent)} times")


def _disorder(line: Sequence[_Seen]) -> list[str]:
    """Say where somebody's messages were answered at the same time, or a younger one before an older one.

    What is late may come after a younger one that had begun. So one is only out of order when it was stored (its 200
    had arrived) before the younger one can have been claimed: before that was posted, or before the one ahead of it
    had ended.
    """
    found = []
    begun = sorted((seen for seen in line if seen.first_at < NEVER), key=lambda seen: seen.first_at)
    for index, seen in enumerate(begun):
        ahead = [one for one in begun[:index] if one.said.lines & seen.said.lines]
        found += [
            f"m{seen.said.number} began before m{one.said.number} had ended"
            for one in ahead
            if one.last_sent_at > seen.first_at
        ]
        claimed_after = max([seen.posted_at, *(one.last_sent_at for one in ahead)])
        for other in line:
            older = other.said.timestamp < seen.said.timestamp or (
                other.said.timestamp == seen.said.timestamp and other.stored_at < seen.posted_at
            )
            waited = other.first_at > seen.first_at and other.stored_at < claimed_after
            if older and waited and other.said.lines & seen.said.lines:
                found.append(f"m{seen.said.number} was answered before m{other.said.number}, which is older")
    return found
