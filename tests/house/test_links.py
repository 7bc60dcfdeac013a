"""What the documents point to is there."""

import re

import pytest

from tests.house.tree import ROOT

DOCUMENTS = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document) -> None:
    """A reader who follows a link into nothing stops trusting the rest."""
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8"))
    missing = [to for to in targets if "://" not in to and not (document.parent / to).exists()]
    assert missing == []
