"""What no linter checks: who may speak SQL, what may stand in a file, how tests are written."""

import ast
import re
from collections.abc import Iterable

import pytest

from tests.house.tree import BOT, ROOT, imported_modules, name_of, python_files, string_literals, tracked_files, tree_of

STORE = BOT / "store"
SQL = re.compile(
    r"\bSELECT\b.+?\bFROM\b|\bINSERT\s+(OR\s+\w+\s+)?INTO\b|\bUPDATE\s+\w+\s+SET\b|\bDELETE\s+FROM\b"
    r"|\bCREATE\s+(TABLE|INDEX|UNIQUE|VIEW|TRIGGER)\b|\bPRAGMA\s+\w+|\bBEGIN\s+IMMEDIATE\b|\bJOIN\s+\w+\s+ON\b",
    re.DOTALL,
)
# Put together here, because this file is searched as well.
REGISTRIES = (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("deb", "debian", "org"))
PLACES = (("", "work", ""), ("", "root", ""), ("", "tmp", "brief"))
REGISTRY_OR_MACHINE = re.compile(
    "|".join([*(re.escape(".".join(words)) for words in REGISTRIES), *("/".join(words) for words in PLACES)])
)
LEFT_FOR_LATER = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "# X" + "XX"]))
NOT_RUN = re.compile(r"\bpytest\.(mark\.(skip|skipif|xfail)\b|(skip|xfail|importorskip)\()")


def sql_in(tree: ast.Module) -> list[int]:
    """Return the lines whose string literals read as SQL."""
    return [line for line, text in string_literals(tree) if SQL.search(text)]


def lines_with(pattern: re.Pattern[str], names: Iterable[str]) -> list[str]:
    """Return `file:line` of each match in the tracked text files among `names`."""
    wanted = set(names)
    found = []
    for path in tracked_files():
        if name_of(path) not in wanted:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name_of(path)}:{n}" for n, line in enumerate(text.splitlines(), 1) if pattern.search(line)]
    return found


def test_only_the_store_opens_the_database() -> None:
    """One importer of aiosqlite: every transaction passes the one writer. Nobody else opens the file at all."""
    aiosqlite = {name_of(p) for p in python_files(BOT) if "aiosqlite" in imported_modules(tree_of(p))}
    sqlite3 = {p for p in python_files(BOT) if "sqlite3" in imported_modules(tree_of(p))}
    assert aiosqlite <= {"bot/store/db.py"}
    assert sorted(name_of(p) for p in sqlite3 if STORE not in p.parents) == []


def test_each_statement_of_a_sql_file_is_used_by_the_module_beside_it() -> None:
    """And nothing else is asked for: a name that isn't there would show when the statement is wanted."""
    for file in STORE.glob("*.sql"):
        text, module = file.read_text("utf-8"), file.with_suffix(".py").read_text("utf-8")
        there = set(re.findall(r"^-- name: (\w+)$", text, re.MULTILINE))
        asked = set(re.findall(r"(?<!{){(\w+)}(?!})", text))
        asked |= set(re.findall(r"""(?<![.])\bSQL\[["'](\w+)["']\]""", module))
        elsewhere = "".join(path.read_text("utf-8") for path in python_files(STORE))
        asked |= set(re.findall(rf"""\b{file.stem}\.SQL\["(\w+)"\]""", elsewhere))
        asked |= there if "for name in SQL " in module else set()  # all of them, in order
        given = set(re.findall(r"(\w+)=", "".join(re.findall(r"statements\(__file__(.*)\)", module))))
        assert asked - given == there, file.name


def test_sql_is_spoken_in_the_store_alone() -> None:
    """A second store must be able to take the first one's place: no query hides elsewhere."""
    found = {name_of(p): sql_in(tree_of(p)) for p in python_files(BOT) if STORE not in p.parents}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "is_sql"),
    [
        ('q = "SELECT id FROM outbox"', True),
        ('q = f"UPDATE {table}"; r = "UPDATE users SET paused_at = NULL"', True),
        ('q = """\n  INSERT INTO outbox VALUES (1)"""', True),
        ('def f():\n    "SELECT id FROM outbox, in words."', False),
        ('q = "Select a user from the list"', False),
        ('q = "update users"', False),
        ('q = "SELECT u.id, o.state FROM users u"', True),
    ],
)
def test_the_search_for_sql_tells_queries_from_prose(source: str, is_sql: bool) -> None:
    """The rule above would be worth nothing if it could not find a query."""
    assert bool(sql_in(ast.parse(source))) == is_sql


def test_modules_keep_no_state() -> None:
    """State lives in objects that the composition root builds: no `global`, no lower-case module-level container."""
    containers = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    found = []
    for path in python_files(BOT):
        tree = tree_of(path)
        found += [f"{name_of(path)}:{n.lineno}" for n in ast.walk(tree) if isinstance(n, ast.Global)]
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, containers):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                constants = all(name.isupper() or name == "__all__" for name in names)
                found += [] if constants else [f"{name_of(path)}:{node.lineno}"]
    assert found == []


def test_whoever_catches_everything_says_why() -> None:
    """A handler of all exceptions hides mistakes; where one is right, its line says for what reason."""
    unexplained = []
    for path in python_files(BOT):
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else "everything"
            if caught in {"everything", "Exception", "BaseException"} and "#" not in lines[node.lineno - 1]:
                unexplained.append(f"{name_of(path)}:{node.lineno}")
    assert unexplained == []


def test_no_file_names_a_package_registry_or_a_place_on_one_machine() -> None:
    """A clone installs from wherever its owner's pip points, into whatever folder it lies in."""
    assert lines_with(REGISTRY_OR_MACHINE, [name_of(p) for p in tracked_files()]) == []


def test_nothing_is_left_for_later_in_the_code() -> None:
    """What is missing is an issue; a note in the code is read by nobody."""
    names = [name_of(p) for p in tracked_files()]
    assert lines_with(LEFT_FOR_LATER, [n for n in names if n.startswith(("bot/", "tests/", "migrations/"))]) == []


def test_every_test_runs() -> None:
    """A test that is skipped or expected to fail protects nothing.

    One place may skip: where there is no Chromium, a developer's machine runs the rest. With CI=true that is a failure.
    """
    names = [name_of(p) for p in tracked_files() if p.suffix == ".py"]
    assert lines_with(NOT_RUN, [name for name in names if name != "tests/browser/conftest.py"]) == []


def test_every_test_says_what_it_expects() -> None:
    """The docstring states the promise in words; the name alone has no room for the why."""
    silent = []
    for path in python_files(ROOT / "tests"):
        for node in ast.walk(tree_of(path)):
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            if is_test and not ast.get_docstring(node):
                silent.append(f"{name_of(path)}:{node.lineno} {node.name}")
    assert silent == []
