"""A year of life with a prune each night: the file stays as large as what is kept, and so does each of its tables.

YEAR_MESSAGES=1000 makes the days longer, and each one counts; -s prints each month. It takes minutes; the
figures stand in docs/benchmarks.md.
"""

import asyncio
import itertools
import os
from datetime import timedelta
from pathlib import Path

from bot.config.settings import Store as Keep
from bot.domain import (
    AccountWarning,
    Answer,
    Batch,
    Delivery,
    Done,
    Echo,
    Failed,
    Identity,
    IdentityChange,
    Lease,
    Operator,
    Receipt,
    Status,
)
from bot.janitor import PRUNE_BATCH
from bot.store.replies import Permit, Plan
from tests.store.desk import Desk, edit, message

MESSAGES = int(os.environ.get("YEAR_MESSAGES", "8"))  # a day; a tenth fails, a tenth is of people who never come back
KEEP = Keep(audit_days=90)  # so that a year has some of everything that is old
EVERY = 1 if "YEAR_MESSAGES" in os.environ else 3  # days: people write on one of so many
DAY, MONTH = 86_400, 30
PAYLOAD = '{"context":{"id":"wamid.0"},"text":{"body":"%s"}}' % ("hola, " * 80)
WHO = Operator("page", "192.0.2.7")
WAL_MB = 20  # a checkpoint comes with 4,000 pages


class Year:
    """Days, one after the other."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.store = desk, desk.store
        self.wamids = itertools.count(1)

    async def day(self, day: int) -> None:
        """Let people write, be answered and told, and the owner too, once a week; note a minute; prune at night."""
        newcomers = 1 + MESSAGES // 10
        people = [f"5299{day:04}{n:03}" for n in range(newcomers)] + [f"52{n:08}" for n in range(MESSAGES - newcomers)]
        now, morning = self.desk.clock.now(), day * DAY
        said = [message(who, f"{day}: {who}", morning, payload=PAYLOAD) for who in people]
        said.append(edit(people[0], said[0].body, "better", morning + 1))
        changed = IdentityChange(Identity(people[1]), Identity(f"5277{day:07}"), now)
        warning = AccountWarning("account_update", f"warning {day}", grave=False, at=None)
        echo = Echo(f"echo.{day}", Identity(people[0]), "text", "the owner, by phone", now)
        await self.store.append(Batch(tuple(said), (), (changed,), (echo,), (), (warning,)))
        while leases := await self.desk.claim():
            ended = await asyncio.gather(*(self.turn(lease, fails=not lease.messages[0].id % 10) for lease in leases))
            told: tuple[Delivery, ...] = ("sent", "delivered", "read")
            read = tuple(Status(wamid, delivery, None) for wamid in filter(None, ended) for delivery in told)
            await self.store.append(Batch(statuses=read))
        if day % 6 == 0:
            id_ = await self.desk.id_of(people[-1])
            await self.store.pause(id_, who=WHO)
            await self.store.resume(id_, skip=False, who=WHO)
            await self.store.say(id_, ["the owner, on the page"], WHO)
            await self.desk.post(await self.desk.letter())
        await self.store.note_minute()
        self.desk.tick(DAY / 2)
        await self.night()

    async def turn(self, lease: Lease, *, fails: bool) -> str | None:
        """Answer in two parts and return the last one's wamid, or fail."""
        if fails:
            await self.store.settle(lease, Failed("bad"), claim=False)
            return None
        answer = Answer(("claro que sí, " * 10, "hasta luego"), 300, 40, "req")
        parts, begun = await self.store.plan(Plan(lease, "answer", answer.parts, answer=answer, begin=True))
        receipt = None
        for part in parts:
            begun = begun if receipt is None else await self.store.begin_send(lease, part, receipt)
            assert isinstance(begun, Permit)
            receipt = Receipt(part.id, f"out.{next(self.wamids)}", 5)
        await self.store.settle(lease, Done(receipt), claim=False)
        return receipt.wamid if receipt else None

    async def night(self) -> None:
        """Prune as the janitor does."""
        after: int | None = 0
        while after is not None:
            after = (await self.store.prune(KEEP, after, PRUNE_BATCH)).after

    async def sizes(self) -> dict[str, int]:
        """Return how many rows each table has, and how many pages the file."""
        tables = [name for (name,) in await self.desk.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        counts = ", ".join(f"(SELECT count(*) FROM {name})" for name in tables)
        ((pages,), rows) = (await self.desk.rows("PRAGMA page_count"))[0], (await self.desk.rows(f"SELECT {counts}"))[0]
        return dict(zip(tables, rows, strict=True)) | {"pages": pages}


async def test_the_file_stays_flat_over_a_year(desk: Desk, path: Path) -> None:
    """From the fourth month on, when all that is kept was there: no more pages, and no table has more rows."""
    year, sizes = Year(desk), []
    started = desk.clock.now()
    for day in range(0, 365, EVERY):
        desk.clock.advance((started + timedelta(days=day) - desk.clock.now()).total_seconds())
        await year.day(day)
        if day % MONTH == MONTH - EVERY:
            wal = path.with_name("bot.db-wal").stat().st_size / 1e6
            sizes.append(await year.sizes() | {"wal_mb": round(wal)})
            print(sizes[-1])
    assert max(size["wal_mb"] for size in sizes) <= WAL_MB
    whole, grown = sizes[3], {}
    for size in sizes[4:]:
        grown |= {name: (whole[name], n) for name, n in size.items() if n > whole[name] * 1.03 + 1 and name != "wal_mb"}
    assert grown == {}
    assert whole["outbox"] > MESSAGES * MONTH / EVERY
