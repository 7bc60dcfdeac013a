"""What became of what was sent: what the Graph API answered, and what statuses say later. For use inside a write."""

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from bot.clock import parse_stamp, stamp
from bot.domain import Receipt, Status
from bot.store import circuits
from bot.store.rows import select, statements

SQL = statements(__file__)
_RANK = {None: 0, "sent": 1, "delivered": 2, "read": 3, "played": 4}
OVERTAKEN_SECONDS = 60
OVERTAKEN_MOST = 10_000


class Overtaken:
    """Statuses without a callback id that came before the answer of their send: kept for a minute, bounded."""

    def __init__(self) -> None:
        self._statuses: OrderedDict[str, tuple[str, list[Status]]] = OrderedDict()

    def keep(self, status: Status, now: str) -> None:
        """Remember a status whose wamid nobody knows yet."""
        oldest = stamp(parse_stamp(now) - timedelta(seconds=OVERTAKEN_SECONDS))
        while self._statuses and (
            len(self._statuses) >= OVERTAKEN_MOST or next(iter(self._statuses.values()))[0] < oldest
        ):
            self._statuses.popitem(last=False)
        said = self._statuses.setdefault(status.wamid, (now, []))[1]
        if status not in said:
            said.append(status)

    def said_of(self, wamid: str) -> list[Status]:
        """Return what was said of a wamid; it stays, as the transaction that asks may have to run again."""
        return self._statuses.get(wamid, ("", []))[1]


@dataclass(slots=True)
class _Reply:
    """A row of `replies` and what is made of it; the columns that change come first."""

    id: int
    state: str
    wamid: str | None
    duplicates: str | None
    delivery: str | None
    error: str | None
    sent_at: str | None
    outbox_id: int | None
    tries: int
    sending_at: str | None

    def sent(self, wamid: str, at: str) -> None:
        """Take in that it went out; a second wamid means that it did twice."""
        twice = json.loads(self.duplicates or "[]")
        if self.wamid not in (None, wamid) and wamid not in twice:
            self.duplicates = json.dumps([*twice, wamid])
        if (self.state != "sent" or self.wamid is None) and self.delivery != "failed":
            self.state, self.error, self.wamid = "sent", None, self.wamid or wamid
            # A status counts in whole seconds: never before the send began.
            self.sent_at = self.sent_at or max(at, self.sending_at or "")

    def told(self, status: Status, now: str) -> None:
        """Take in a status, early, late or again."""
        base, _, number = (status.callback or "").rpartition(".")
        if status.delivery == "failed":
            older_try = base and number.isdecimal() and int(number) < self.tries  # a newer one is under way or went out
            if older_try or self.state == "planned" or self.delivery not in (None, "sent"):
                return
            # A part that nobody saw go out fails; one that did keeps its state, and shows as undelivered.
            self.delivery, self.error, self.wamid = "failed", status.error or "failed", self.wamid or status.wamid
            self.state = "failed" if self.state == "sending" else self.state
            return
        if self.delivery == "failed" and _RANK[status.delivery] > _RANK["sent"]:
            self.delivery = None  # whoever has it, has it: the statuses came the wrong way round
        self.sent(status.wamid, stamp(status.at) if status.at else now)
        if self.delivery != "failed" and _RANK[status.delivery] > _RANK[self.delivery]:
            self.delivery = status.delivery


_CHANGING = [field.name for field in fields(_Reply)[:7]]
_BY_ID = "json_each(?) CROSS JOIN replies r ON r.id = value"


def apply(db: sqlite3.Connection, statuses: Sequence[Status], now: str, overtaken: Overtaken) -> list[bool]:
    """Let statuses settle sends and raise deliveries; say of each whether it named a reply of ours."""
    if not statuses:
        return []
    names = [((status.callback or "").rpartition(".")[0] or None, status.wamid) for status in statuses]
    rows = {key: columns for key, *columns in select(db, SQL["columns"], SQL["by_names"], (json.dumps(names),))}
    doubted = {columns[0] for columns in rows.values() if columns[1] == "sending"}
    replies: dict[int, _Reply] = {}
    by_wamid: dict[str | None, _Reply] = {}  # which the statuses before told
    named = []
    for key, status in enumerate(statuses):
        columns = rows.get(key)
        reply = replies.setdefault(columns[0], _Reply(*columns)) if columns else by_wamid.get(status.wamid)
        if reply is not None:
            reply.told(status, now)
            by_wamid[reply.wamid] = reply
        elif status.callback is None:
            overtaken.keep(status, now)
        named.append(reply is not None)
    _save(db, replies, rows.values())
    settled = [reply.outbox_id for reply in replies.values() if reply.id in doubted and reply.state != "sending"]
    if settled:
        db.execute(SQL["settled"], (json.dumps(settled),))
    return named


def record_sent(db: sqlite3.Connection, receipts: Sequence[Receipt], now: str, overtaken: Overtaken) -> None:
    """Store that the Graph API took parts; whatever else became of the turn, this is true."""
    if not receipts:
        return
    part_ids = json.dumps([receipt.part_id for receipt in receipts])
    rows = {key: columns for key, *columns in select(db, SQL["columns"], _BY_ID, (part_ids,))}
    replies: dict[int, _Reply] = {}
    for key, columns in rows.items():
        replies.setdefault(columns[0], _Reply(*columns)).sent(receipts[key].wamid, now)
    _save(db, replies, rows.values())
    apply(db, [status for receipt in receipts for status in overtaken.said_of(receipt.wamid)], now, overtaken)
    db.execute(SQL["sent"], (now, json.dumps([(receipt.part_id, receipt.duration_ms) for receipt in receipts])))
    circuits.close(db, "graph")


def _save(db: sqlite3.Connection, replies: dict[int, _Reply], rows: Iterable[list[Any]]) -> None:
    """Write the replies that are not as their rows were read."""
    before = {columns[0]: columns[: len(_CHANGING)] for columns in rows}
    now = {id_: [getattr(reply, name) for name in _CHANGING] for id_, reply in replies.items()}
    if changed := [values for id_, values in now.items() if values != before[id_]]:
        db.execute(SQL["save"], (json.dumps(changed),))
