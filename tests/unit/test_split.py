"""Long answers become few messages, cut where a reader would pause."""

import time

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from bot.whatsapp.split import FENCE, split

FAMILY = "👨‍👩‍👧‍👦"
FLAG = "🇲🇽"
ZALGO = "e" + "\u0301" * 5

words = st.sampled_from(
    [
        "uno",
        "dos.",
        "¿tres?",
        "cuatro,",
        FAMILY,
        FLAG * 3,
        ZALGO,
        "नमस्ते",
        "مرحبا",
        "你好。世界！",
        "a\u200db",
        "*bold run*",
    ]
)
urls = st.sampled_from(["https://example.com/a?b=c_d", "https://x.mx/" + "z" * 30])
spaces = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", "\n \n", "\u00a0", "\t", " \u0301"])
prose = st.lists(st.tuples(st.one_of(words, words, urls), spaces), max_size=120).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)
code = st.lists(
    st.sampled_from(["x = 1", "", "    return y", "z" * 90, "# ¡ñ! " + FAMILY]), min_size=1, max_size=30
).map(lambda lines: f"\n{FENCE}\n" + "\n".join(lines) + f"\n{FENCE}\n")
limits = st.integers(64, 200)


def solid(text: str) -> str:
    """The text without white space and fences."""
    return "".join(text.replace(FENCE, "").split())


@given(st.one_of(prose, st.text(max_size=600)), limits)
def test_parts_are_the_text_in_order_with_only_white_space_lost(text: str, limit: int) -> None:
    """Each part is found in the text behind the one before, with nothing but white space between."""
    position = 0
    for part in split(text, limit):
        assert 0 < len(part) <= limit
        assert part.strip()
        if FENCE in text:
            continue
        found = text.index(part, position)
        assert not text[position:found].strip()
        position = found + len(part)
    assert FENCE in text or not text[position:].strip()


@given(prose, limits)
def test_no_seam_cuts_a_grapheme(text: str, limit: int) -> None:
    """Both sides of a seam are boundaries of grapheme clusters of the whole text."""
    text = text.strip()
    boundaries = {0, *(match.end() for match in regex.finditer(r"\X", text))}
    position = 0
    for part in split(text, limit):
        position = text.index(part, position)
        assert {position, position + len(part)} <= boundaries
        position += len(part)


@given(st.lists(st.one_of(prose, code), max_size=4).map("".join), limits)
def test_code_blocks_are_closed_in_every_part(text: str, limit: int) -> None:
    """Fences come in pairs within each part, and what they enclose is all there."""
    parts = split(text, limit)
    assert all(part.count(FENCE) % 2 == 0 and len(part) <= limit and part.strip() for part in parts)
    assert solid("".join(parts)) == solid(text)


@given(st.lists(urls, min_size=1, max_size=30), limits)
def test_urls_stay_whole(addresses: list[str], limit: int) -> None:
    """Every address is in a part of its own or with others, but never in two."""
    parts = split(" ".join(addresses), limit)
    assert [word for part in parts for word in part.split()] == addresses


def test_a_short_text_is_one_part() -> None:
    """What fits is not touched, but for white space around it."""
    assert split("  Hola\n\nmundo \n") == ["Hola\n\nmundo"]


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_no_text_is_no_part(text: str) -> None:
    """White space alone makes no message."""
    assert split(text) == []


def test_a_limit_too_small_for_a_code_block_is_refused() -> None:
    """Under 64 characters a block could not be closed and opened again."""
    with pytest.raises(ValueError, match="64"):
        split("x", 63)


def test_a_paragraph_is_preferred_to_a_line_a_sentence_and_a_word() -> None:
    """The seam lies at the best kind of pause where the part is three quarters full, not at the last one."""
    head = "a" * 80
    assert split(f"{head}\n\nb. c\nd e {head}", 100) == [head, f"b. c\nd e {head}"]
    assert split(f"{head} b. c\nd e f {head}", 100) == [f"{head} b. c", f"d e f {head}"]
    assert split(f"{head} b. c d {head}", 100) == [f"{head} b.", f"c d {head}"]
    assert split(f"{head} b c d {head}", 100) == [f"{head} b c d", head]


def test_a_part_three_quarters_full_may_end_at_a_paragraph() -> None:
    """Even where the words beyond it would just have fitted, at the price of a further part."""
    assert split("a" * 80 + "\n\n" + "b " * 55 + "c", 100)[0] == "a" * 80


def test_an_early_paragraph_is_taken_where_it_costs_no_message() -> None:
    """Two parts are needed anyway: they may as well be cut at the only paragraph."""
    assert split("a " * 20 + "\n\n" + "b " * 40, 100) == [("a " * 20).strip(), ("b " * 40).strip()]


def test_parts_are_few() -> None:
    """Prose of many short paragraphs needs no more than a third above the least possible number of messages."""
    text = "\n\n".join("Una frase de cierta longitud, como tantas otras. " * (n % 4 + 1) for n in range(400))
    assert len(split(text)) <= len(text) / 4000 * 1.34 + 1


def test_a_sentence_that_ends_in_a_quote_is_a_sentence() -> None:
    """Closing quotes, parentheses and style markers belong to the sentence."""
    head = "a" * 80
    assert split(f'{head} ("b.") c d {head}', 100)[0] == f'{head} ("b.")'


def test_chinese_is_cut_between_sentences() -> None:
    """Scripts without spaces have their own full stops."""
    assert split("字" * 90 + "。" + "字" * 90, 100) == ["字" * 90 + "。", "字" * 90]


def test_a_word_longer_than_a_part_is_cut_between_graphemes() -> None:
    """Families of emojis are not torn apart, although nothing else separates them."""
    parts = split(FAMILY * 30, 100)
    assert "".join(parts) == FAMILY * 30
    assert all(len(part) % len(FAMILY) == 0 for part in parts)


def test_a_grapheme_longer_than_a_part_still_ends() -> None:
    """A thousand accents on one letter are cut somewhere: no part is over the limit and none is lost."""
    parts = split("e" + "\u0301" * 1000, 100)
    assert "".join(parts) == "e" + "\u0301" * 1000
    assert max(map(len, parts)) == 100


def test_an_address_is_moved_whole_even_out_of_a_longer_word() -> None:
    """Where no space precedes it, the seam lies before the address."""
    address = "https://example.com/" + "b" * 60
    assert split("a" * 50 + address, 100) == ["a" * 50, address]


def test_an_address_longer_than_a_part_is_cut() -> None:
    """It would fit nowhere."""
    parts = split("https://example.com/" + "b" * 200, 100)
    assert list(map(len, parts)) == [100, 100, 20]


def test_a_styled_run_is_not_cut() -> None:
    """WhatsApp would show lone stars in both parts."""
    head = "a" * 80
    assert split(f"{head} *one two three four five* b", 100) == [head, "*one two three four five* b"]


def test_a_block_that_fits_into_one_part_stays_whole() -> None:
    """The seam lies before it."""
    block = f"{FENCE}\n" + "code line\n" * 7 + FENCE
    assert split("a" * 60 + f"\n{block}", 100) == ["a" * 60, block]


def test_a_longer_block_is_closed_and_opened_again_between_lines() -> None:
    """Every part shows code as code, indentation kept."""
    lines = [f"    line {n}" for n in range(30)]
    parts = split(f"Intro:\n{FENCE}\n" + "\n".join(lines) + f"\n{FENCE}\nDone.", 100)
    assert parts[0].startswith(f"Intro:\n{FENCE}\n    line 0")
    assert all(part.startswith(f"{FENCE}\n    line") for part in parts[1:])
    assert all(part.endswith(f"\n{FENCE}") for part in parts[:-1])
    assert parts[-1].endswith(f"{FENCE}\nDone.")
    assert [line for part in parts for line in part.split("\n") if line.startswith("    ")] == lines


def test_a_block_without_lines_is_cut_all_the_same() -> None:
    """One endless line of code: each part is a block of its own."""
    parts = split(f"{FENCE}\n" + "x" * 300 + f"\n{FENCE}", 100)
    assert all(part.startswith(f"{FENCE}\n") and part.endswith(f"\n{FENCE}") for part in parts)
    assert solid("".join(parts)) == "x" * 300


def test_a_long_block_begins_in_a_part_of_its_own_where_a_seam_precedes_it() -> None:
    """A line that ends in the last quarter of a part is a better seam than any line of code."""
    assert split("a" * 80 + f"\n{FENCE}\n" + "x = 1\n" * 30 + FENCE, 100)[0] == "a" * 80


@pytest.mark.parametrize("before", ["w " * 47, "a" * 97, "a" * 92])
def test_a_fence_is_not_cut(before: str) -> None:
    """A long block that begins within the last characters of a part is moved to the next."""
    assert split(before + FENCE + "x" * 200 + FENCE, 100)[0] == before.strip()


def test_blank_lines_alone_open_no_block_again() -> None:
    """What is left of a block must hold something to be worth a fence."""
    assert len(split(f"{FENCE}\n" + "x" * 80 + "\n" * 40 + FENCE, 100)) == 1


def test_a_short_line_of_code_is_not_sent_alone() -> None:
    """Rather than end at a line that leaves the part half empty, the next line is cut."""
    assert len(split(f"{FENCE}\nab\n" + "x" * 300 + f"\n{FENCE}", 100)[0]) == 100


@pytest.mark.parametrize(
    "text", ["*", "[", "`", "a", "_a ", "*a ", "```", "\n", "http://", "```\n", "。", "\u0301", "(" * 5 + "\n"]
)
def test_hostile_text_takes_no_time(text: str) -> None:
    """100,000 characters of anything are cut in well under a second."""
    started = time.process_time()
    parts = split(text * (100_000 // len(text)))
    assert time.process_time() - started < 1.5
    assert all(len(part) <= 4000 for part in parts)
