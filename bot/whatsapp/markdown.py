"""Turn a model's Markdown into the little formatting that WhatsApp knows: *bold*, _italic_, ~struck~, code, quotes.

markdown-it-py reads, this file writes. Where Markdown would swallow words (reference definitions, surplus table cells)
or see an underlined heading in a line of dashes it is not followed: plain text must come through as it was.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.rules_block.table import escapedSplit
from markdown_it.token import Token

from bot.whatsapp import clean

# Characters that are parsed: some inputs cost markdown-it quadratic time (up to half a second for so many).
LONGEST = 20_000
DEEPEST = 12  # levels of lists and quotes; markdown-it drops what lies deeper
FENCE = "```"

_MARKERS = {"strong": "*", "em": "_", "s": "~"}
_IDENTIFIER = re.compile(r"[a-z0-9_]+")
_SCHEME = re.compile(r"^(?:https?://(?:www\.)?|mailto:|tel:)|/$", re.IGNORECASE)


def to_whatsapp(markdown: str) -> str:
    """Rewrite Markdown in WhatsApp's formatting.

    Drops no word, but for a code block's language. Text over LONGEST characters, or nested deeper than DEEPEST, is
    returned as it is. A code block begins and ends with a line that is just ```, whatever it stands in. A style that
    WhatsApp would not show, because it begins or ends inside a word, loses its markers.
    """
    text = clean.text(markdown, len(markdown)).replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > LONGEST:
        return text
    tokens = _PARSER.parse(text)
    if any(token.nesting == 1 and token.level >= DEEPEST - 1 for token in tokens):
        return text
    return "\n".join(_Blocks(text).read(iter(tokens))) or text.strip()


class _Parser(MarkdownIt):
    def __init__(self) -> None:
        # The JavaScript preset has tables and strikethrough, and leaves HTML alone.
        super().__init__("js-default", {"html": False, "maxNesting": DEEPEST})
        self.disable(["reference", "lheading"])

    def normalizeLink(self, url: str) -> str:
        """Keep addresses readable: no percent signs, no punycode."""
        return url


_PARSER = _Parser()


class _Blocks:
    """Writes block tokens as lines; the source tells where blank lines stood and what was left out."""

    def __init__(self, source: str) -> None:
        self._source = source.split("\n")

    def read(self, tokens: Iterator[Token], until: str = "") -> list[str]:
        """Write all blocks up to the token type `until`, or all."""
        lines: list[str] = []
        for token in tokens:
            if token.type == until:
                break
            block = self._block(token, tokens)
            lines += [*self._gap(token), *block] if lines and block else block
        return lines

    def _gap(self, token: Token) -> list[str]:
        return [""] if token.map and not self._source[token.map[0] - 1].strip(" \t>") else []

    def _block(self, token: Token, tokens: Iterator[Token]) -> list[str]:
        match token.type:
            case "inline":
                return _inline(token.children or ()).split("\n")
            case "heading_open":
                return list(filter(None, _bold(next(tokens)).split("\n")))
            case "bullet_list_open" | "ordered_list_open":
                return self._list(tokens, token.type.replace("open", "close"))
            case "blockquote_open":
                return _prefixed(self.read(tokens, "blockquote_close"), "> ", "> ")
            case "fence" | "code_block":
                return _code(token)
            case "hr":
                return ["———"]
            case "table_open":
                return self._table(tokens)
            case _:
                return []

    def _list(self, tokens: Iterator[Token], until: str) -> list[str]:
        lines: list[str] = []
        number, written = 0, ""
        for token in tokens:
            if token.type == until:
                break
            # "1. 1. 1." counts up, as Markdown has it; any other numbers are the writer's own and stay.
            number = number + 1 if token.info == written else int(token.info)
            written = token.info
            content = self.read(tokens, "list_item_close")
            bullet = token.markup.replace("*", "-") if content else token.markup
            marker = f"{number}{token.markup} " if written else f"{bullet} "
            item = _prefixed(content or [""], marker, " " * len(marker))
            lines += [*self._gap(token), *item] if lines else item
        return lines

    def _table(self, tokens: Iterator[Token]) -> list[str]:
        lines: list[str] = []
        cells: list[str] = []
        write, row = _bold, 0
        for token in tokens:
            match token.type:
                case "table_close":
                    break
                case "tbody_open":
                    write = _plain
                case "inline":
                    cells.append(write(token))
                    row = token.map[0] if token.map else 0
                case "tr_close":
                    source = escapedSplit(self._source[row].strip(" \t>").removeprefix("|"))
                    cells += [_plain(_PARSER.parseInline(cell.strip())[0]) for cell in source[len(cells) :]]
                    lines.append(" | ".join(cells).rstrip(" |"))
                    cells = []
        return list(filter(None, lines))


def _code(token: Token) -> list[str]:
    # A single word after the fence is the language; more than that are words somebody wrote.
    note = [token.info.strip()] if len(token.info.split()) > 1 else []
    if not token.content.strip():
        return note
    return [*note, FENCE, *token.content.rstrip("\n").replace(FENCE, "'''").split("\n"), FENCE]


def _prefixed(lines: list[str], first: str, rest: str) -> list[str]:
    """Put `first` before the first line and `rest` before the others; code blocks stay at the margin, as they are."""
    out: list[str] = []
    in_code = False
    for line in lines:
        if line == FENCE:
            in_code = not in_code
            if not out and first != rest:
                out.append(first.rstrip())
        bare = in_code or line == FENCE or (not line and out)
        out.append(line if bare else ((rest if out else first) + line).rstrip())
    return out


def _plain(block: Token) -> str:
    return _inline(block.children or ())


def _bold(block: Token) -> str:
    return _inline([Token("strong_open", "", 1), *(block.children or ()), Token("strong_close", "", -1)])


def _inline(tokens: Sequence[Token]) -> str:
    """Write the tokens of one paragraph."""
    pieces: list[str] = []  # text; "" is the place of a marker
    pairs: list[tuple[int, int, str, str]] = []  # two places, WhatsApp's marker, what stood in the source
    opened: dict[str, list[int]] = {"strong": [], "em": [], "s": []}
    links: list[tuple[int, Token]] = []
    for token in tokens:
        kind, _, side = token.type.partition("_")
        match kind, side:
            case "strong" | "em" | "s", "open":
                opened[kind].append(len(pieces))
                pieces.append("")
            case "strong" | "em" | "s", "close":
                start = opened[kind].pop()
                if not opened[kind]:  # inside its like a style adds nothing
                    pairs.append((start, len(pieces), _MARKERS[kind], token.markup))
                pieces.append("")
            case "link", "open":
                links.append((len(pieces), token))
            case "link", "close":
                start, link = links.pop()
                pieces[start:] = _link(pieces[start:], link)
            case _:
                pieces.append(_leaf(token))
    return _styled(pieces, pairs)


def _leaf(token: Token) -> str:
    match token.type:
        case "softbreak" | "hardbreak":
            return "\n"
        case "code_inline":
            quotable = token.content.strip() and "`" not in token.content
            return f"`{token.content}`" if quotable else token.content
        case "image":
            return "".join(_link([_plain(token)], token))
        case _:
            return token.content


def _link(pieces: list[str], link: Token) -> list[str]:
    """Write a link's address behind its text, unless they are the same; a title, which may hold words, comes last."""
    label, href = "".join(pieces), str(link.attrs.get("href") or link.attrs.get("src") or "")
    shown = re.sub(r"^(?:mailto|tel):([^?]*).*", r"\1", href, flags=re.IGNORECASE)
    title = f' "{link.attrs["title"]}"' if link.attrs.get("title") else ""
    if len(pieces) == 1 and _SCHEME.sub("", label) == _SCHEME.sub("", shown):
        return [max(label, shown, key=len) + title]
    if label == shown or not shown:
        return [*pieces, title]
    return [*pieces, f" ({shown})" + title if label.strip() else shown + title]


def _styled(pieces: list[str], pairs: list[tuple[int, int, str, str]]) -> str:
    """Put the markers in where WhatsApp would show the style; they end at each line's end and begin anew."""
    before = _neighbours(pieces)
    after = _neighbours([piece[:1] for piece in reversed(pieces)])[::-1]
    length = list(accumulate(map(len, pieces)))
    for start, end, marker, source in pairs:  # inner ones first
        left, right = before[start].isalnum(), after[end].isalnum()
        arithmetic = before[start].isdigit() or (left and right and (before[start] + after[end]).isascii())
        name = end == start + 2 and _IDENTIFIER.fullmatch(pieces[start + 1])
        dunder = source == "__" and (name or before[start] in ("/", "=", "?", "&"))
        padded = after[start].isspace() or before[end].isspace()
        if arithmetic or dunder:  # 5*3 and 4*2, un*believ*able, __init__, a URL: no style was meant
            pieces[start] = pieces[end] = source
        elif length[end] > length[start] and not (left or right or padded):
            pieces[start] = pieces[end] = marker
            for place in range(start + 1, end):
                pieces[place] = pieces[place].replace("\n", f"{marker}\n{marker}")
    return "".join(pieces)


def _neighbours(pieces: list[str]) -> list[str]:
    """Return, for each place, the last character of the text before it; "" at the start."""
    last, found = "", []
    for piece in pieces:
        found.append(last)
        last = piece[-1:] or last
    return found
