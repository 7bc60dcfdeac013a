"""Turn a model's Markdown into the little formatting that WhatsApp knows: *bold*, _italic_, ~struck~, code, quotes.

markdown-it-py reads, this file writes. Where Markdown would swallow words (reference definitions, surplus table cells)
or see an underlined heading in a line of dashes it is not followed: plain text must come through as it was.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile

from markdown_it import MarkdownIt
from markdown_it.rules_block.table import escapedSplit
from markdown_it.token import Token

from bot.whatsapp import clean

# Characters that are parsed: some inputs cost markdown-it quadratic time (up to half a second for so many).
LONGEST = 20_000
DEEPEST = 12  # levels of lists and quotes; markdown-it drops what lies deeper
FENCE = "```"

_MARKERS = {"strong": "*", "em": "_", "s": "~"}
# One line that means nothing in Markdown; most short answers are such.
_PLAIN = re.compile(r"[^\W\d_](?:[^*_~`|\\\[\]<&\s]| (?! |$))*")
_IDENTIFIER = re.compile(r"[a-z0-9_]+")
_SCHEME = re.compile(r"^(?:https?://(?:www\.)?|mailto:|tel:)|/$", re.IGNORECASE)


class _Parser(MarkdownIt):
    def normalizeLink(self, url: str) -> str:
        """Keep addresses readable: no percent signs, no punycode."""
        return url


# The JavaScript preset has tables and strikethrough, and leaves HTML alone.
_PARSER = _Parser("js-default", {"maxNesting": DEEPEST}).disable(["reference", "lheading"])


def to_whatsapp(markdown: str) -> str:
    """Rewrite Markdown in WhatsApp's formatting.

    Drops no word but a code block's language; a block begins and ends with a line that is just ```, whatever it stands
    in. A style that WhatsApp would not show, because it begins or ends inside a word, loses its markers. Text over
    LONGEST characters, or nested deeper than DEEPEST, is returned as it is.
    """
    text = clean.text(markdown, len(markdown)).replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > LONGEST or _PLAIN.fullmatch(text):
        return text
    tokens = _PARSER.parse(text)
    if any(token.nesting == 1 and token.level >= DEEPEST - 1 for token in tokens):
        return text
    page = _Page(text.split("\n"))
    page.write(iter(tokens))
    return "\n".join(page.lines).rstrip("\n") or text.strip()


class _Page:
    """What is written, line by line; the source tells where blank lines stood, and what a table's rows hold."""

    def __init__(self, source: list[str]) -> None:
        self.lines: list[str] = []
        self._source = source
        self._margins: list[str] = []  # of the quotes and list items around: what the next line begins with
        self._items: dict[int, tuple[str, int]] = {}  # by level: a list's last number, as written and as shown

    def write(self, tokens: Iterator[Token]) -> None:
        """Write all blocks; code stands at the margin, whatever it is in."""
        for token in tokens:
            if self.lines and self.lines[-1] and token.map and not self._source[token.map[0] - 1].strip(" \t>"):
                self.lines.append("")
            match token.type:
                case "inline":
                    self._add(_inline(token.children))
                case "heading_open":
                    self._add(_bold(next(tokens)))
                case "hr":
                    self._add("———")
                case "fence" | "code_block":
                    # A single word after the fence is the language; more than that are words somebody wrote.
                    self._add(token.info.strip() if len(token.info.split()) > 1 else "")
                    if token.content.strip():
                        self.lines += [FENCE, *token.content.rstrip("\n").replace(FENCE, "'''").split("\n"), FENCE]
                case "thead_open":
                    head = takewhile(lambda part: part.type != "thead_close", tokens)
                    self._add(" | ".join(_bold(part) for part in head if part.type == "inline").rstrip(" |"))
                case "tbody_open" if token.map:
                    for row in self._source[slice(*token.map)]:  # the parser drops the cells that have no head
                        cells = (cell.strip() for cell in escapedSplit(row.lstrip(" \t>").removeprefix("|")))
                        written = (_inline(_PARSER.parseInline(cell)[0].children) for cell in cells)
                        self._add(" | ".join(written).rstrip(" |"))
                case "td_open":
                    next(tokens)
                case _:
                    self._set_margin(token)

    def _set_margin(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                self._items[token.level + 1] = "", 0
            case "list_item_open":
                # "1. 1. 1." counts up, as Markdown has it; any other numbers are the writer's own and stay.
                written, number = self._items[token.level]
                number = number + 1 if token.info == written else int(token.info)
                self._items[token.level] = token.info, number
                self._margins.append(f"{number if token.info else ''}{token.markup.replace('*', '-')} ")
            case "blockquote_open":
                self._margins.append("> ")
            case "blockquote_close" | "list_item_close":
                self._margins[-1] = self._margins[-1].replace("-", token.markup)  # of an empty item, as it was
                self._add("")
                self._margins.pop()

    def _add(self, text: str) -> None:
        for line in text.split("\n"):
            if line or any(margin.strip(" >") for margin in self._margins):  # a list's sign stands even alone
                self.lines.append(("".join(self._margins) + line).rstrip())
            self._margins = [margin if margin == "> " else " " * len(margin) for margin in self._margins]


def _bold(block: Token) -> str:
    return _inline([Token("strong_open", "", 1), *(block.children or ()), Token("strong_close", "", -1)])


def _inline(tokens: Iterable[Token] | None) -> str:
    """Write the tokens of one paragraph."""
    pieces: list[str] = []  # text; "" is the place of a marker
    pairs: list[tuple[int, int, str, str]] = []  # two places, WhatsApp's marker, what stood in the source
    opened: list[tuple[str, int, Token]] = []
    for token in tokens or ():
        kind, _, side = token.type.partition("_")
        if side == "open":
            opened.append((kind, len(pieces), token))
            pieces.append("")
        elif side == "close":
            _, start, opening = opened.pop()
            if kind == "link":
                pieces[start:] = _link(pieces[start:], opening)
            elif all(kind != outer for outer, *_ in opened):  # inside its like a style adds nothing
                pairs.append((start, len(pieces), _MARKERS[kind], token.markup))
            pieces.append("")
        elif token.type in ("softbreak", "hardbreak"):
            pieces.append("\n")
        elif token.type == "image":
            pieces += _link(["", _inline(token.children)], token)
        elif token.type == "code_inline" and token.content.strip() and "`" not in token.content:
            pieces.append(f"`{token.content}`")
        else:
            pieces.append(token.content)
    return _styled(pieces, pairs)


def _link(pieces: list[str], link: Token) -> list[str]:
    """Write a link's address behind its text, unless they are the same; a title, which may hold words, comes last."""
    label, address = "".join(pieces), str(link.attrs.get("href") or link.attrs.get("src") or "")
    address = re.sub(r"^(?:mailto|tel):([^?]*).*", r"\1", address, flags=re.IGNORECASE)
    title = f' "{link.attrs["title"]}"' if link.attrs.get("title") else ""
    if len(pieces) == 2 and _SCHEME.sub("", label) == _SCHEME.sub("", address):
        return ["", max(label, address, key=len) + title]
    if address and label != address:
        title = (f" ({address})" if label.strip() else address) + title
    return [*pieces, title]


def _styled(pieces: list[str], pairs: list[tuple[int, int, str, str]]) -> str:
    """Put the markers in where WhatsApp would show the style; they end at each line's end and begin anew."""
    shown = pieces.copy()
    for start, end, marker, source in pairs:  # inner ones first
        before, last = (_nearest(pieces, range(place, -1, -1))[-1:] for place in (start, end))
        after, first = (_nearest(pieces, range(place, len(pieces)))[:1] for place in (end, start))
        left, right = before.isalnum(), after.isalnum()
        arithmetic = before.isdigit() or (left and right and (before + after).isascii())
        name = end == start + 2 and _IDENTIFIER.fullmatch(pieces[start + 1])
        dunder = source == "__" and (name or before in ("/", "=", "?", "&"))
        if arithmetic or dunder:  # 5*3 and 4*2, un*believ*able, __init__, a URL: no style was meant
            shown[start] = shown[end] = source
        elif not (left or right or first.isspace() or last.isspace()) and any(pieces[start:end]):
            shown[start] = shown[end] = marker
            for place in range(start + 1, end):
                shown[place] = shown[place].replace("\n", f"{marker}\n{marker}")
    return "".join(shown)


def _nearest(pieces: list[str], places: range) -> str:
    """Return the first piece at these places that is no marker's."""
    return next((pieces[place] for place in places if pieces[place]), "")
