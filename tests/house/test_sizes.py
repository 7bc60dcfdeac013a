"""The house stays small: files that fit a head, a whole that fits an afternoon."""

from tests.house.tree import BOT, ROOT, code_line_count, line_count, name_of, python_files

MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_PAGE = 400
MOST_LINES_OF_THE_DAEMON = 6000
PAGES = {".html", ".css", ".js", ".sql"}
NAMES_THAT_SAY_NOTHING = {"utils.py", "util.py", "common.py", "models.py", "types.py", "helpers.py", "misc.py"}


def test_a_file_of_the_daemon_has_at_most_300_lines() -> None:
    """A file that grows past the limit holds two subjects: split it by what it knows, not by length."""
    lines = {name_of(path): line_count(path) for path in python_files(BOT)}
    assert lines, "nothing was found to count"
    assert {name: n for name, n in lines.items() if n > MOST_LINES_OF_A_FILE} == {}


def test_a_template_style_sheet_script_or_sql_file_has_at_most_400_lines() -> None:
    """Pages are drawn from parts as code is."""
    lines = {name_of(path): line_count(path) for path in BOT.rglob("*") if path.suffix in PAGES}
    assert {name: n for name, n in lines.items() if n > MOST_LINES_OF_A_PAGE} == {}


def test_the_daemon_stays_under_6000_lines() -> None:
    """The lines of code of bot/ count, but for the emulator and the demo, which are not the product.

    Not blank lines, comments and docstrings: a limit on those would be met by explaining less (docs/decisions.md).
    """
    counted = [path for path in python_files(BOT) if path.relative_to(BOT).parts[0] not in {"emulator", "demo"}]
    assert sum(map(code_line_count, counted)) < MOST_LINES_OF_THE_DAEMON


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    """A name such as utils.py says where code was put, not what it is about."""
    files = [*python_files(BOT), *python_files(ROOT / "tests")]
    assert [name_of(path) for path in files if path.name in NAMES_THAT_SAY_NOTHING] == []
