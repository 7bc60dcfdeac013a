"""Debian's prometheus and promtool, or the reason why there are none."""

import re
import subprocess
from pathlib import Path
from typing import Any

from tests.wanted import program

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "monitoring"


def promtool(*arguments: str | Path, text: str = "") -> str:
    """Run promtool, which has to be content; return what it said."""
    done = subprocess.run(
        [program("promtool", "monitoring-deps"), *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def metrics_in(expressions: list[str]) -> set[str]:
    """Return the names of metrics in expressions: ours and the process's."""
    return {name for text in expressions for name in re.findall(r"\b(?:bot|process|python)_\w+", text)}


def of_rules() -> list[str]:
    """Return the expressions of the alert rules."""
    return re.findall(r"^ +expr: (.+)$", (DOCS / "alerts.rules.yml").read_text("utf-8"), re.MULTILINE)


def of_dashboard(dashboard: dict[str, Any]) -> list[str]:
    """Return the expressions of a dashboard."""
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
