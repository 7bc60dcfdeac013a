"""Judge by the journal whether everything that was written got its one answer, in order."""

from collections import Counter, deque
from dataclasses import dataclass, field

from tests.soak.remote import Entry

ANSWER = "answer to: "
REMEMBERED = 500  # of a user's answered texts, to see one that comes twice


@dataclass(slots=True)
class Said:
    """One message of somebody; `texts` are what its answer may speak of (an edit adds one)."""

    wamid: str
    texts: list[str]
    optional: bool = False  # it was revoked: answered or not, as it came
    posted_at: float | None = None  # when its webhook first left, by the emulator's clock


@dataclass(slots=True)
class Ledger:
    """What each user wrote and wasn't answered yet, in order; and what went wrong."""

    waiting: dict[str, deque[Said]] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    answered: int = 0
    acks_ms: list[float] = field(default_factory=list)  # since they were last taken
    answers_ms: list[float] = field(default_factory=list)
    _by_wamid: dict[str, Said] = field(default_factory=dict)
    _answered: dict[str, deque[str]] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """How many messages wait for their answer."""
        return sum(not said.optional for line in self.waiting.values() for said in line)

    def say(self, user: str, said: Said) -> None:
        """Note a message before its webhook leaves."""
        self.waiting.setdefault(user, deque()).append(said)
        self._by_wamid[said.wamid] = said

    def read(self, entries: list[Entry]) -> None:
        """Go through what is new in the journal."""
        for entry in entries:
            if entry["service"] == "webhook":
                self._webhook(entry)
            elif entry["service"] == "graph.send" and entry["accepted"]:
                self._send(entry)

    def close(self) -> None:
        """Count what is left: nothing more will come."""
        for user, line in self.waiting.items():
            for said in line:
                if not said.optional:
                    self._wrong("lost", f"{user} {said.texts}")

    def _webhook(self, entry: Entry) -> None:
        if entry["status"] == 200:
            self.acks_ms.append((entry["ended_at"] - entry["began_at"]) * 1000)
        elif entry["status"] not in (0, 503):
            self._wrong(f"webhook answered {entry['status']}", str(entry["request"])[:300])
        for wamid in entry["wamid"].split():
            said = self._by_wamid.get(wamid)
            if said is not None and said.posted_at is None:
                said.posted_at = entry["began_at"]

    def _send(self, entry: Entry) -> None:
        user, text = entry["user"], entry["text"]
        if not text.startswith(ANSWER):
            if "todavía no puedo leer" not in text:  # the notice to a voice note
                self._wrong("apologies", f"{user} {text[:200]}")
            return
        asked, line = text.removeprefix(ANSWER), self.waiting.get(user, deque())
        index = next((index for index, said in enumerate(line) if asked in said.texts), None)
        if index is None:
            twice = asked in self._answered.get(user, ())
            self._wrong("twice" if twice else "of nobody", f"{user} {asked}")
            return
        said = line[index]
        if any(not before.optional for before in list(line)[:index]):
            self._wrong("misordered", f"{user} {asked} before {line[0].texts}")
        line.remove(said)
        while line and line[0].optional and index:  # revoked before it was begun
            self._by_wamid.pop(line.popleft().wamid, None)
            index -= 1
        self._by_wamid.pop(said.wamid, None)
        self._answered.setdefault(user, deque(maxlen=REMEMBERED)).append(asked)
        self.answered += 1
        if said.posted_at is not None:
            self.answers_ms.append((entry["began_at"] - said.posted_at) * 1000)

    def _wrong(self, what: str, example: str) -> None:
        self.wrong[what] += 1
        if self.wrong[what] <= 5:
            self.examples.append(f"{what}: {example}")
