"""A model's Markdown reads well in WhatsApp, and what is no Markdown comes through as it was."""

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.whatsapp.markdown import LONGEST, to_whatsapp


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("**a** and *b*, _c_ or ~~d~~", "*a* and _b_, _c_ or ~d~"),
        ("***a***", "_*a*_"),
        ("**a *b* c**", "*a _b_ c*"),
        ('(**a**), ¿**b**? "**c**" **d**: **e**…', '(*a*), ¿*b*? "*c*" *d*: *e*…'),
        ("👋**a**👋", "👋*a*👋"),
        ("**one\ntwo *three\nfour* five**", "*one*\n*two _three_*\n*_four_ five*"),
        ("# Title\ntext", "*Title*\ntext"),
        ("## **Title** with *style*", "*Title with _style_*"),
        ("`a*b*` and `` c`d ``", "`a*b*` and c`d"),
        ("one\ntwo  \nthree\\\nfour", "one\ntwo\nthree\nfour"),
        ("one\n\n\n\ntwo", "one\n\ntwo"),
        ("one\n\n***\n\ntwo", "one\n\n———\n\ntwo"),
        ("one\n---\ntwo", "one\n———\ntwo"),
        (r"\*a\* &amp; 1 &lt; 2", "*a* & 1 < 2"),
        ("use <b>bold</b><br>", "use <b>bold</b><br>"),
        ("one\r\ntwo", "one\ntwo"),
    ],
)
def test_text_is_styled_as_whatsapp_does(markdown: str, shown: str) -> None:
    """Styles, headings, code, breaks, escapes and HTML come out as WhatsApp (or a reader) understands them."""
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("**W**hatsApp", "WhatsApp"),
        ("a**b**", "ab"),
        ("这是**重点**内容", "这是重点内容"),
        ("un*believ*able", "un*believ*able"),
        ("5*3 and 4*2", "5*3 and 4*2"),
        ("2**3 + 4**5", "2**3 + 4**5"),
        ("the __init__ method", "the __init__ method"),
        ("__Note__ well", "*Note* well"),
        ("**&nbsp;a** b", "\u00a0a b"),
    ],
)
def test_a_style_inside_a_word_leaves_no_lone_markers(markdown: str, shown: str) -> None:
    """WhatsApp styles whole words only; where the stars may be meant as such they stay."""
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("[the shop](https://x.mx/a_b)", "the shop (https://x.mx/a_b)"),
        ("[https://x.mx/a](https://x.mx/a)", "https://x.mx/a"),
        ("[x.mx](https://www.x.mx/)", "https://www.x.mx/"),
        ("[](https://x.mx)", "https://x.mx"),
        ("[the **shop**](https://x.mx)", "the *shop* (https://x.mx)"),
        ('[the shop](https://x.mx "open late")', 'the shop (https://x.mx) "open late"'),
        ("**[the shop](https://x.mx)**", "*the shop (https://x.mx)*"),
        ("[España](https://es.wikipedia.org/wiki/España)", "España (https://es.wikipedia.org/wiki/España)"),
        ("<https://x.mx/a_b_c>", "https://x.mx/a_b_c"),
        ("<ana@x.mx> [ana@x.mx](mailto:ana@x.mx)", "ana@x.mx ana@x.mx"),
        ("[write](mailto:ana@x.mx?subject=hi) [call](tel:+525512345678)", "write (ana@x.mx) call (+525512345678)"),
        ("![a cat](https://x.mx/c.png) ![](https://x.mx/d.png)", "a cat (https://x.mx/c.png) https://x.mx/d.png"),
        ("**https://x.mx/a_b** and **c**", "*https://x.mx/a_b* and *c*"),
        (r"https://x.mx/a\_b&amp;c", "https://x.mx/a_b&c"),
    ],
)
def test_links_show_where_they_lead(markdown: str, shown: str) -> None:
    """The address follows its text, once."""
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("* a\n* b\n\n- c", "- a\n- b\n\n- c"),
        ("- a\n  - b\n    1. c\n    2. d\n- e", "- a\n  - b\n    1. c\n    2. d\n- e"),
        ("1. a\n1. b\n1. c", "1. a\n2. b\n3. c"),
        ("3. a\n1. b", "3. a\n1. b"),
        ("1) a\n2) b", "1) a\n2) b"),
        ("2024. A good year", "2024. A good year"),
        ("1. a\n\n   more\n\n2. b", "1. a\n\n   more\n\n2. b"),
        ("Options:\n- a\n- b\nlazy\n\nend", "Options:\n- a\n- b\n  lazy\n\nend"),
        ("- [ ] todo\n- [x] done", "- [ ] todo\n- [x] done"),
        ("-\n- a", "-\n- a"),
        ("> a\n> **b**\n>\n> > c", "> a\n> *b*\n\n> > c"),
    ],
)
def test_lists_and_quotes_keep_their_shape(markdown: str, shown: str) -> None:
    """Numbers stay the writer's own, nesting is indented, blank lines stand where they stood."""
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("```python\nx = 1\n\n  y*z*\n```", "```\nx = 1\n\n  y*z*\n```"),
        ("~~~\na\n```\nb\n~~~", "```\na\n'''\nb\n```"),
        ("    a = 1\n    b = 2", "```\na = 1\nb = 2\n```"),
        ("- a\n  ```\n  x\n  ```\n  b", "- a\n```\nx\n```\n  b"),
        ("1. ```\n   x\n   ```", "1.\n```\nx\n```"),
        ("> ```\n> x\n> ```", "```\nx\n```"),
        ("```\ncut off", "```\ncut off\n```"),
        ("``` these are words", "these are words"),
        ("```\n\n```\na", "a"),
    ],
)
def test_code_blocks_stand_at_the_margin(markdown: str, shown: str) -> None:
    """A fence is a line of its own wherever the block stood, its language is dropped, and it is always closed."""
    assert to_whatsapp(markdown) == shown


def test_tables_become_lines() -> None:
    """Bold heads, a line for each row; cells beyond the head's are not lost as in GitHub's Markdown."""
    table = "| Plan | **Price** |\n|:--|--:|\n| A \\| B | $1 | *extra* |\n| C |\n| | |"
    assert to_whatsapp(f"See:\n{table}\nend?") == "See:\n*Plan* | *Price*\nA | B | $1 | _extra_\nC\nend?"


def test_tables_in_quotes_and_lists_keep_their_cells() -> None:
    """What stands before the row in its line is no cell."""
    assert to_whatsapp("> | a | b |\n> |---|---|\n> | c | d |") == "> *a* | *b*\n> c | d"
    assert to_whatsapp("- x\n\n  | a | b |\n  |---|---|\n  | c | d | e |") == "- x\n\n  *a* | *b*\n  c | d | e"


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4 = 24",
        "snake_case_name and a~b~c, ~5 minutes",
        "https://x.mx/_next_/__init__/__Note__?a*b*c&d=_e_&f=__G__",
        "[note]: sold\n\n[1]: https://x.mx",
        "Title\n=====",
        "#hashtag #1",
        "¡Hola! ¿Qué tal? 👨‍👩‍👧‍👦 🇲🇽 1️⃣",
        "مرحبا بك\nשלום עולם",
        "C:\\Users\\ana and ^_^",
        "a < b > c & d",
        "$5,00 (IVA incl.) — 50 % + envío",
        "** not bold ** and *",
        "+52 55 1234 5678\n+ 5 more",
        "array[0] = {x: 1}",
        "1.5 l, 10:30 h, 3/4",
        "*",
        "#",
        "",
    ],
)
def test_plain_text_comes_through(text: str) -> None:
    """What a person would not take for Markdown is left alone."""
    assert to_whatsapp(text) == text


def test_what_the_store_can_not_hold_is_replaced() -> None:
    """A model can escape a lone surrogate or a NUL in its JSON."""
    assert to_whatsapp("a\ud800b\0c") == "a\ufffdb\ufffdc"


def test_nesting_that_the_parser_would_drop_stays_as_it_is() -> None:
    """Words under many levels of quotes or lists are not swallowed."""
    assert "word" in to_whatsapp("> " * 30 + "word")
    assert "word" in to_whatsapp("- " * 6 + "word")


def test_a_book_is_not_parsed() -> None:
    """Over LONGEST characters the source goes out as it is, rather than stall everybody else."""
    assert to_whatsapp("**a** " * LONGEST) == "**a** " * LONGEST


@given(st.text(alphabet="aábñ1234 .,;:!?¿¡\"'()/$%€😀ש\n", max_size=200))
def test_text_without_markup_is_not_changed(text: str) -> None:
    """Letters, digits and punctuation pass, but for white space around lines and more than one blank line."""
    lines = [line.strip() for line in text.strip().split("\n")]
    assume(not any(re.match(r"\d+[.)](\s|$)", line) for line in lines))
    assume(not re.search(r"(?m)^(    | *\t)", text))
    assert to_whatsapp(text).strip() == re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


pairs = ("**", "***", "__", "~~", "](", "![", "1.", "# ", "]: ", "https://", "---", "|-|-|", "\n\n", "\n> ", "\n  - ")
markup = st.sampled_from([*'*_`[]()<>|-+\\&:" \n', *pairs])


@given(st.lists(st.one_of(markup, st.from_regex(r"[a-z]{4,9}", fullmatch=True)), max_size=60).map("".join))
def test_no_word_is_lost(text: str) -> None:
    """Whatever the markup does, every word of the source is in what is shown."""
    assume("```" not in text and "~~~" not in text)  # a fence's language is dropped
    shown = to_whatsapp(text)
    assert all(word in shown for word in re.findall(r"[a-z]{4,}", text))


@given(st.text(alphabet="ab *_~`[]()<>|#>-+1.\\\n\t&;!:/", max_size=300))
def test_nothing_makes_it_fail(text: str) -> None:
    """Any mix of markup gives some text."""
    shown = to_whatsapp(text)
    assert shown.strip() or not text.strip()


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "*",
        "![",
        "[*",
        "`",
        "<",
        "~~a",
        "**a ",
        "*a_",
        "_a",
        "[a](",
        "> ",
        "- ",
        "|",
        "1. a\n",
        "a|b\n",
        "http://",
        "\\",
        "&",
        "\n",
        "***a\n",
    ],
)
@pytest.mark.parametrize("length", [LONGEST, 100_000])
def test_hostile_text_takes_no_time(piece: str, length: int) -> None:
    """No answer, however odd, stalls the daemon for long."""
    started = time.process_time()
    to_whatsapp((piece * length)[:length])
    assert time.process_time() - started < 1.5


def test_hostile_quotes_take_no_time() -> None:
    """Deep quotes with many lazy lines are markdown-it's worst case."""
    started = time.process_time()
    to_whatsapp((">" * 10 + "a\n" + "b\n" * LONGEST)[:LONGEST])
    assert time.process_time() - started < 2.5
