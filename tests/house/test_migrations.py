"""Migrations are history: what a database somewhere may have run is never rewritten."""

import hashlib
import re

from tests.house.tree import ROOT

FOLDER = ROOT / "migrations"
LIST = ROOT / "tests" / "house" / "migrations.sha256"
HOW = "if it is new or was never released: sha256sum migrations/*.sql > tests/house/migrations.sha256"


def test_no_migration_changes_once_it_is_listed() -> None:
    """Each file of migrations/ stands in the list with its checksum, and the list names no other.

    The list is in the form of `sha256sum` and is written by hand, so that a change to a released
    migration shows as a changed line in review.
    """
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.sql")}
    lines = LIST.read_text(encoding="utf-8").splitlines()
    listed = {name.removeprefix("migrations/"): digest for digest, name in (line.split() for line in lines)}
    assert found == listed, HOW


def test_migrations_are_numbered_without_a_gap() -> None:
    """The number is the schema's version: 0001, 0002 … each once, with a name that says what it brings."""
    names = sorted(path.name for path in FOLDER.glob("*"))
    assert [name for name in names if not re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", name)] == []
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
