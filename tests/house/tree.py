"""Find the files whose rules the house tests check."""

import ast
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BOT = ROOT / "bot"


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return the files that a clone would have, and new ones that git doesn't ignore."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    paths = (ROOT / name for name in listing.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


@cache
def python_files(folder: Path) -> tuple[Path, ...]:
    """Return the Python files under a folder, in order."""
    return tuple(sorted(folder.rglob("*.py")))


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    """Return a path as it is written from the repository's root."""
    return path.relative_to(ROOT).as_posix()


def line_count(path: Path) -> int:
    """Return how many lines a text file has."""
    return len(path.read_text(encoding="utf-8").splitlines())


def code_line_count(path: Path) -> int:
    """Return how many lines of a Python file hold code: no blank lines, no comments, no docstrings."""
    docstrings: set[int] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            docstrings |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1)) if first else set()
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    with path.open(encoding="utf-8") as text:
        for token in tokenize.generate_tokens(text.readline):
            if token.type not in silent:
                lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """Yield the name of each module that the code imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def string_literals(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string in the code, pieces of f-strings too, but no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value
