"""What a measure comes to: one row of the table each."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured, what came out, what was wanted; `met` is None where nothing was promised."""

    name: str
    result: str
    target: str = ""
    met: bool | None = None


def at_least(name: str, value: float, wanted: float, shown: str = "{:.2f}", beside: str = "") -> Figure:
    """Judge a figure that has to reach `wanted`."""
    return _judged(name, value, f"≥ {shown.format(wanted)}", value >= wanted, shown, beside)


def at_most(name: str, value: float, wanted: float, shown: str = "{:.2f}", beside: str = "") -> Figure:
    """Judge a figure that must not exceed `wanted`."""
    return _judged(name, value, f"≤ {shown.format(wanted)}", value <= wanted, shown, beside)


def _judged(name: str, value: float, target: str, met: bool, shown: str, beside: str) -> Figure:
    return Figure(name, shown.format(value) + (f" ({beside})" if beside else ""), target, met)


def table(figures: Iterable[Figure]) -> str:
    """Write rows as Markdown."""
    marks = {True: "yes", False: "**no**", None: ""}
    rows = [("measure", "result", "target", "met"), ("---",) * 4]
    rows += [(figure.name, figure.result, figure.target, marks[figure.met]) for figure in figures]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
