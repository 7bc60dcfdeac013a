"""The people who write, as they are looked at: found by what they are known by, listed, one with all that is known.

Functions of a connection, for reading; `at` holds `now`, as a stamp.
"""

import json
import re
import sqlite3
from collections.abc import Callable

from bot.errors import BadValue, NotFound
from bot.store.rows import AGE, Row, dicts, statements

SQL = statements(__file__, AGE=AGE)
EXPORT = SQL["all_users"], SQL["all_messages"], SQL["all_replies"], SQL["all_audit"]
CONVERSATION_MOST = 100
LONGEST_SEARCH = 200

_IN_STATE = {  # what of a state an index knows
    "idle": "u.depth = 0",
    "waiting": "u.depth > 0",
    "leased": "u.id IN (SELECT user_id FROM outbox WHERE state = 'leased')",
    "retrying": "u.ready_at > :now",
    "paused": "u.paused_at IS NOT NULL",
}
STATES = (*_IN_STATE,)
_FAILED = "(SELECT user_id, count(*) AS failed FROM outbox WHERE state = 'failed' GROUP BY user_id)"
_SORTS = {  # who is listed, by which figure, in which direction
    "depth": ("people u", "u.depth", "DESC"),
    "recent": ("people u", "coalesce(u.last_message_at, '')", "DESC"),
    "failed": (f"{_FAILED} most CROSS JOIN people u ON u.id = most.user_id", "CAST(most.failed AS INTEGER)", "DESC"),
    "oldest": ("longest_waits CROSS JOIN people u ON u.id = user_id", "since", "ASC"),
}


def find(db: sqlite3.Connection, known_as: str) -> int:
    """Find a person by u17, a phone with or without plus, or a business-scoped id. Raises NotFound."""
    query, ids = "SELECT user_id FROM user_ids WHERE id IN (?, ?)", [known_as, known_as.removeprefix("+")]
    if re.fullmatch("u[0-9]{1,18}", known_as):
        query, ids = "SELECT id FROM users WHERE id = ?", [known_as[1:]]
    row = db.execute(query, ids).fetchone() if known_as.isprintable() else None  # a lone surrogate can't be asked for
    if row is None:
        raise NotFound("there is no such user; write u17, a phone number or a business-scoped id")
    return int(row[0])


def unbroken(text: str) -> str:
    """Return a text without the halves of characters that a terminal may hand over: SQLite takes none."""
    return text.encode(errors="replace").decode()


def patterns(search: str) -> Row:
    """Return what is looked for: `name`, `text` and `number` by LIKE, `whole` (a phone's digits alone), `exact` (u17).

    Raises BadValue.
    """
    if len(search) > LONGEST_SEARCH:
        raise BadValue("search", f"search must be a text of at most {LONGEST_SEARCH} characters")
    search = unbroken(search)
    digits, known_as = re.sub("[ ()+.-]", "", search), re.fullmatch("u([0-9]{1,18})", search)
    whole = digits if digits.isdecimal() else search
    text, number = ("%" + re.sub("([!%_])", r"!\1", words) + "%" for words in (search, whole))
    number = number if re.search("[0-9]", search) else ""  # no number and no id is without a digit
    return {"name": text, "text": text, "number": number, "whole": whole, "exact": known_as and int(known_as[1])}


def listed(
    db: sqlite3.Connection, at: Row, limit: int, after: str | None, *, search: str, state: str, sort: str
) -> Row:
    """Return a page of people; see Insights.users."""
    for field, value, known in (("sort", sort, (*_SORTS,)), ("state", state or STATES[0], STATES)):
        if value not in known:
            raise BadValue(field, f"{field} must be one of {', '.join(known)}")
    source, key, order = _SORTS[sort]
    some = f"SELECT u.id, {key} AS place FROM {source} WHERE 1"
    some += f" AND {SQL['state']} = :state AND {_IN_STATE[state]}" if state else ""
    some += f" AND {SQL['fits']}" if search else ""
    ends, values = f"ORDER BY place {order}, id {order} LIMIT :most", patterns(search) | at | {"state": state}
    page = f"{some} {ends}"
    if after:
        values["place"], _, values["id"] = after.rpartition("-")
        behind = "<" if order == "DESC" else ">"
        # Not (place, id) < (?, ?): SQLite looks through all who share the place then.
        page = f"""SELECT * FROM ({some} AND {key} = :place AND u.id {behind} :id {ends})
                   UNION ALL SELECT * FROM ({some} AND {key} {behind} :place {ends})"""
    query = f"""WITH found AS MATERIALIZED ({SQL["found"]}), page AS ({page})
                {SQL["person"]}, place FROM page CROSS JOIN people u USING (id) {ends}"""
    rows = dicts(db, query, values | {"most": limit + 1})
    places = [row.pop("place") for row in rows]
    following = f"{places[limit - 1]}-{rows[limit - 1]['user_id'][1:]}" if len(rows) > limit else None
    return {"users": rows[:limit], "next": following}


def person(db: sqlite3.Connection, at: Row, known_as: str) -> Row:
    """Return one person with what waits and the newest of the conversation; see Insights.user."""
    values = at | {"id": find(db, known_as), "most": CONVERSATION_MOST}
    conversation = dicts(db, SQL["conversation"], values)[-CONVERSATION_MOST:]
    for line in conversation:
        del line["user_id"], line["place"], line["part"]
        line["attempts"] = json.loads(line["attempts"] or "[]")
    user = dicts(db, f"{SQL['person']} FROM people u WHERE u.id = :id", values)[0]
    return {"user": user, "queue": dicts(db, SQL["queue"], values), "conversation": conversation}


def export(db: sqlite3.Connection, user_id: int, write: Callable[[str], None], fits: Callable[[str], bool]) -> None:
    """Hand all that is kept of a person to `write`, line by line; see Insights.export."""
    for statement in EXPORT:
        for _, before, row in db.execute(statement, {"user": user_id}):
            write(before + (row if fits(row) else json.dumps(json.loads(row))))
