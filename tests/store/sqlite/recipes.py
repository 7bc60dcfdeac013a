"""The recipes of docs/sqlite.md, as they stand there."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sqlite.md"


def recipes() -> list[str]:
    """Return the SQL of each fenced block, in order."""
    blocks = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [block.strip() for block in blocks]
