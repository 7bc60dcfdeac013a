"""What a person would expect of the queue, in plain Python and without a thought of speed: stores are held against it.

`who_is_next` is the heart; the rest keeps track of who is who and of what was said, in the words of DESIGN.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bot.domain import Cancelled, Done, Failed, Identity, Inbound, InDoubt, Outcome, Released, Retry

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
OPEN = ("pending", "leased")


@dataclass(eq=False, slots=True)
class Person:
    """Somebody who writes."""

    number: int
    phone: str | None = None
    bsuid: str | None = None
    paused: bool = False
    served: datetime = NEVER  # when a slot last ended for them
    newest: datetime = NEVER  # their newest message, by its own time
    becomes: "Person | None" = None  # they turned out to be one while both were being answered


@dataclass(eq=False, slots=True)
class Said:
    """A message, and how far it is."""

    name: str
    body: str
    who: Person
    sent: datetime
    arrived: datetime
    place: int
    state: str
    kind: str = "text"
    target: str | None = None
    begun: bool = False
    due: datetime = NEVER
    leased: datetime = NEVER
    planned: bool = False
    crashes: int = 0
    manual: bool = False
    error: str | None = None
    doubt: tuple[str, int] | None = None  # callback id and number of the try that nothing is known of


@dataclass(eq=False, slots=True)
class Written:
    """A letter of the owner's, and how far it is."""

    body: str
    who: Person
    since: datetime  # when it was written, or until when it was put off
    waits: bool = True
    sending: bool = False  # a try began, and nobody knows how it ended
    callback: tuple[str, int] | None = None  # id and number of the last try
    rest: tuple["Written", ...] = ()  # the parts behind it

    def fail(self) -> None:
        """It ends, and what was to follow with it."""
        self.waits = False
        for one in self.rest:
            one.waits = False

    def end(self, outcome: Outcome) -> None:
        """A try ends."""
        match outcome:
            case Done():
                self.waits = False
            case Failed():
                self.fail()
            case InDoubt(until=until) | Released(until=datetime() as until):
                self.since = until


@dataclass
class Expected:
    """The queue as it ought to be."""

    most: int = 10**9
    paused: bool = False
    said: list[Said] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    ids: dict[str, Person] = field(default_factory=dict)
    places: int = 0
    stumbles: dict[str, dict[Said, bool]] = field(default_factory=dict)  # by service, since it last did its work
    letters: list[Written] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)  # names of messages

    # -- the order

    def line(self, who: Person | None) -> list[Said]:
        """One line a person: what is being answered, what has begun, then by its own time, then by arrival."""
        mine = [m for m in self.said if m.who is who and m.state in OPEN]
        return sorted(mine, key=lambda m: (m.state == "pending", not m.begun, m.sent, m.place))

    def who_is_next(self, now: datetime) -> list[Said]:
        """The heads of all lines that nobody works on, whoever has waited longest first; one suspect at a time."""
        heads = self.heads(now)
        # What was found leased at two starts may be what kills us.
        taken = any(m.state == "leased" and m.crashes >= 2 for m in self.said)
        suspects = [head for head in heads if head.crashes >= 2][taken * len(heads) :][:1]
        return [head for head in heads if head.crashes < 2 or head in suspects]

    def heads(self, now: datetime) -> list[Said]:
        """What may be answered now, whoever has waited longest first."""
        ready = []
        for who in self.people:
            line = self.line(who)
            if line and line[0].state == "pending" and not (who.paused or self.joining(who)):
                head = line[0]
                ready.append((max(head.arrived, head.due, who.served), who.number, head))
        ready.sort(key=lambda entry: entry[:2])
        return [head for since, _, head in ready if since <= now and not self.paused]

    # -- messages

    def named(self, name: str) -> Said | None:
        """Find a message."""
        return next((m for m in self.said if m.name == name), None)

    def depth(self) -> int:
        """Count what is not decided."""
        return sum(m.state in OPEN for m in self.said)

    def arrive(self, message: Inbound, now: datetime) -> bool:
        """A message comes: known already it changes nothing."""
        name = message.wamid
        if self.named(name) or not self.forgotten.isdisjoint({name, message.target}):
            return False
        sent = message.sent_at or now
        who = self.resolve(message.sender, sent)
        who.newest = max(who.newest, sent)
        state, error = "pending" if message.answerable else "ignored", None
        if message.answerable and len(self.line(who)) >= self.most:
            state, error = "cancelled", "over_limit"
        self.places += 1
        self.said.append(
            Said(name, message.body, who, sent, now, self.places, state, message.type, message.target, error=error)
        )
        self.change(message.target or name)
        return True

    def change(self, name: str) -> None:
        """A revoke, or the newest edit, of its author counts while nothing of the answer is planned."""
        original = self.named(name)
        if original is None or original.state not in ("pending", "failed") or original.planned:
            return
        changes = [m for m in self.said if m.target == name and m.who is original.who]
        if any(m.kind == "revoke" for m in changes):
            original.state, original.error = "cancelled", "revoked"
        elif changes:
            original.body = max(changes, key=lambda m: (m.sent, m.place)).body

    # -- turns

    def lease(self, m: Said, now: datetime) -> None:
        """A turn begins."""
        m.state, m.begun, m.due, m.leased = "leased", True, NEVER, now

    def end(self, m: Said, outcome: Outcome, now: datetime) -> None:
        """A turn ends."""
        match outcome:
            case Done():
                m.state, m.who.served = "done", now
            case Failed(error=error):
                m.state, m.error, m.who.served = "failed", error, now
            case Cancelled():
                m.state, m.who.served = "cancelled", now
            case Retry(after_seconds=seconds):
                self.give_back(m, now + timedelta(seconds=seconds))
            case InDoubt(until=until):
                self.give_back(m, until if m.doubt else NEVER)
            case Released(until=until, pause=pause):
                self.give_back(m, until or NEVER)
                m.who.paused |= pause
        self.change(m.name)
        self.join()
        if isinstance(outcome, Retry | InDoubt) and outcome.service:
            spent = self.stumbles.setdefault(outcome.service, {})
            spent[m] = spent.get(m, False) or isinstance(outcome, Retry)

    def outages(self, shut: Iterable[str]) -> set[str]:
        """Three people in a row: it is the service. Whoever stumbled over one that is shut need not wait any longer."""
        found = {service for service, some in self.stumbles.items() if len({m.who for m in some if m in self.said}) > 2}
        for service in shut:
            for m, spent in self.stumbles.pop(service, {}).items():
                m.due = NEVER if m.state == "pending" and spent else m.due
        return found

    def give_back(self, m: Said, due: datetime) -> None:
        """It waits again, at the head of its line."""
        m.state, m.due, m.who.served = "pending", due, m.leased

    def crash(self, now: datetime, back: timedelta) -> None:
        """The process dies and another starts, perhaps with its clock put back: who waited waits no longer for that."""
        leased = [m for m in self.said if m.state == "leased"]
        for m in leased:
            self.give_back(m, NEVER)
            m.crashes += not m.planned
        self.join()
        for m in leased:
            self.change(m.name)
        if back:
            for m in self.said:
                m.arrived = min(m.arrived, now)
                m.due = max(now, m.due - back) if m.due > now else m.due
            for one in self.letters:
                one.since = max(now, one.since - back) if one.since > now else one.since
            for who in self.people:
                who.served = min(who.served, now)

    def told(self, callback: str, number: int, *, failed: bool) -> None:
        """A status settles a doubt, whichever try it speaks of, but for one that an older try failed."""
        for m in self.said:
            if m.doubt and m.doubt[0] == callback and not (failed and number < m.doubt[1]):
                m.doubt, m.due = None, NEVER if m.state == "pending" else m.due
        for one in self.letters:
            # One that was refused and waits is settled by nothing but the news that it went out after all.
            if (
                one.callback
                and one.callback[0] == callback
                and (not failed or (one.sending and number == one.callback[1]))
            ):
                if failed and one.waits:
                    one.fail()
                one.waits = False

    # -- letters

    def write(self, who: Person, bodies: Iterable[str], now: datetime) -> None:
        """The owner writes."""
        parts: list[Written] = []
        for body in reversed([*bodies]):
            parts.insert(0, Written(body, who, now, rest=tuple(parts)))
        self.letters += parts

    def letters_due(self, now: datetime) -> list[Written]:
        """The oldest of each person's that wait, whoever has waited longest first; who is about to be one has none."""
        heads: dict[Person, Written] = {}
        for one in self.letters:
            if one.waits and not self.joining(one.who):
                heads.setdefault(one.who, one)
        return sorted((one for one in heads.values() if one.since <= now), key=lambda one: one.since)

    # -- operators

    def reopen(self, some: Iterable[Said]) -> int:
        """Put messages back as if they were new."""
        count = 0
        for m in some:
            m.state, m.begun, m.due, m.crashes, m.manual, m.error = "pending", False, NEVER, 0, True, None
            count += 1
        return count

    def clear(self, who: Person | None, *, sparing: bool = False) -> int:
        """Cancel what waits, of somebody or of everybody; perhaps sparing those who are paused alone."""
        waiting = [m for m in self.said if m.state == "pending" and (who is None or m.who is who)]
        waiting = [m for m in waiting if not (sparing and who is None and m.who.paused)]
        for m in waiting:
            m.state = "cancelled"
        return len(waiting)

    def busy_with(self, who: Person) -> set[str]:
        """Say what goes on with somebody: something is `leased`, a send isn't over."""
        busy = {"leased" for m in self.said if m.who is who and m.state == "leased"}
        busy |= {"sending" for m in self.said if m.who is who and m.doubt}
        return busy | {"sending" for one in self.letters if one.who is who and one.sending}

    def forget(self, who: Person) -> None:
        """Nothing is left of somebody, and no message of theirs that comes again is news."""
        self.forgotten |= {m.name for m in self.said if m.who is who}
        self.said = [m for m in self.said if m.who is not who]
        self.letters = [one for one in self.letters if one.who is not who]
        self.ids = {id_: one for id_, one in self.ids.items() if one is not who}
        self.people.remove(who)

    # -- who is who

    def resolve(self, who: Identity, sent: datetime) -> Person:
        """The business-scoped id comes first; a phone alone joins it, a phone of another id is a recycled number."""
        mine, holder = self.ids.get(who.bsuid or ""), self.ids.get(who.phone or "")
        if holder and holder is not mine:
            if not who.bsuid or (mine is None and not holder.bsuid):
                mine = holder
            elif mine and not holder.bsuid:
                self.merge(holder, mine)
                mine = self.ids[who.bsuid]
            else:
                self.lose(holder, who.phone)
        if mine is None:
            mine = Person(len(self.people) and max(person.number for person in self.people) + 1)
            self.people.append(mine)
        late = sent < mine.newest and mine.phone
        self.bind(mine, Identity(mine.phone, who.bsuid) if late else who)
        return mine

    def change_identity(self, before: Identity, after: Identity) -> None:
        """The same person under another phone or id; the old phone may be a stranger's tomorrow."""
        was = old = self.ids.get(before.bsuid or "") or self.ids.get(before.phone or "")
        if was is None or old is None:
            return
        known = self.ids.get(after.bsuid or "")
        if known and known is not old:
            self.merge(old, known)
            old = self.ids[after.bsuid or ""]
        holder = self.ids.get(after.phone or "")
        if holder and holder is not old:
            if holder.bsuid:
                self.lose(holder, after.phone)
            else:
                self.merge(holder, old)
        gone = before.phone or ""
        if after.phone and gone and gone != after.phone and self.ids.get(gone) in (was, old):
            del self.ids[gone]
        self.bind(old, after, replace=True)

    def bind(self, who: Person, named: Identity, *, replace: bool = False) -> None:
        """From now on these ids lead to them."""
        for id_, current in ((named.phone, who.phone), (named.bsuid, who.bsuid)):
            if id_ and id_ != current:
                self.ids[id_] = who
        who.phone = named.phone or who.phone
        if named.bsuid and (replace or not who.bsuid):
            who.bsuid = named.bsuid

    def lose(self, who: Person, phone: str | None) -> None:
        """Somebody else has their number now."""
        if self.ids.get(phone or "") is who:
            del self.ids[phone or ""]
        for one in self.people:  # who is about to become them had it, too
            if who in (one, one.becomes) and one.phone == phone:
                one.phone = None

    def merge(self, loser: Person, winner: Person) -> None:
        """Two are one: at once, or as soon as at most one of them is being answered."""
        while loser.becomes:
            loser = loser.becomes
        while winner.becomes:
            winner = winner.becomes
        if loser is not winner:
            loser.becomes = winner
        self.join()

    def joining(self, who: Person) -> bool:
        """Whether somebody is about to become one with another."""
        return who.becomes is not None or any(other.becomes is who for other in self.people)

    def join(self) -> None:
        """Make those one who can be."""
        for one in sorted(self.people, key=lambda who: who.number):
            two = one.becomes
            if two and sum(m.state == "leased" for m in self.said if m.who in (one, two)) < 2:
                for m in (*self.said, *self.letters):
                    m.who = two if m.who is one else m.who
                for other in self.people:
                    other.becomes = two if other.becomes is one else other.becomes
                two.becomes = None if two.becomes is two else two.becomes
                self.ids = {id_: two if who is one else who for id_, who in self.ids.items()}
                two.phone, two.bsuid = two.phone or one.phone, two.bsuid or one.bsuid
                two.paused, two.served = two.paused or one.paused, max(two.served, one.served)
                two.newest = max(two.newest, one.newest)
                self.people.remove(one)
                return self.join()
