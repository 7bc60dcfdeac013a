"""Cut a long answer into the few messages it takes.

Each delivered message costs money, so parts are filled as far as a decent seam allows: a paragraph's end, else a
line's, else a sentence's, where the part is three quarters full by then or no further part becomes necessary; else
the last word that fits. A styled run (*bold*, `code`…) of up to 200 characters is not cut either; a longer one loses
its style at the seam, which is cheaper than to open it again with certainty.
"""

import re
from collections.abc import Collection, Iterator
from itertools import takewhile

import regex

FENCE = "```"
SHORTEST = 64  # the least limit, so that a code block can be closed and opened again and something fits between

_SEAM = re.compile(r"\s+|(?<=[。！？])(?=\S)")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]*_~]*\Z")
_BLOCK = re.compile(r"```.*?```", re.DOTALL)
_WHOLE = re.compile(r"https?://\S+|(?<![\w*_~`])([*_~`])(?=\S)[^\n]{1,200}?(?<=\S)\1(?!\w)")
_CLUSTER = regex.compile(r"\X")


def split(text: str, limit: int = 4000) -> list[str]:
    """Split text into parts of at most `limit` (64 or more) code points; none is empty, no text gives none.

    Nothing is lost but white space at the seams. A code block stays whole where it fits into one part; a longer one is
    closed with ``` and opened again in the next part. A grapheme or a URL is cut only where it is longer than a part.
    """
    if limit < SHORTEST:
        raise ValueError(f"a part must hold at least {SHORTEST} characters")
    parts: list[str] = []
    rest = text.strip()
    while len(rest) > limit:
        part, rest = _cut(rest, limit)
        parts.append(part)
    return [*parts, rest] if rest else parts


def _cut(text: str, limit: int) -> tuple[str, str]:
    """Return the first part and what is left."""
    blocks = [block.span() for block in takewhile(lambda block: block.start() < limit, _BLOCK.finditer(text))]
    whole = [*blocks, *(run.span() for run in _WHOLE.finditer(text, 0, 2 * limit))]
    closed = {place for start, end in whole if end - start <= limit for place in range(start + 1, min(end, limit + 1))}
    ends = (cluster.end() for cluster in _CLUSTER.finditer(text, 0, limit + SHORTEST))
    open_ = [end for end in ends if end <= limit and end not in closed]
    long_code = next((block for block in blocks if block[1] - block[0] > limit), (limit, limit))
    kind, start, end = max(_seams(text, limit, set(open_), long_code[0]), default=(-1, 0, 0))
    if kind < 1 and long_code[0] < limit - 8:
        return _cut_code(text, limit - len(FENCE) - 1, long_code, open_)
    if kind < 0:
        start = end = max((place for place in open_ if place <= long_code[0]), default=limit)
    return text[:start], text[end:]


def _seams(text: str, limit: int, open_: Collection[int], last: int) -> Iterator[tuple[int, int, int]]:
    """Give the white space up to `last` with its kind: 0 between words, 1 sentences, 2 lines, 3 paragraphs."""
    needed = -(-len(text) // limit)
    earliest = min(len(text) - (needed - 1) * limit, limit * 3 // 4)
    for match in takewhile(lambda match: match.start() <= last, _SEAM.finditer(text)):
        start, end = match.span()
        breaks = match.group().count("\n")
        kind = min(breaks, 2) + 1 if breaks else int(bool(_SENTENCE_END.search(text, max(0, start - 4), start)))
        if start in open_ and (kind == 0 or start >= earliest):
            if end > start and (cluster := _CLUSTER.match(text, end - 1)) and cluster.end() > end:
                end -= 1  # a combining mark belongs to the last space
            yield kind, start, end


def _cut_code(text: str, room: int, block: tuple[int, int], open_: list[int]) -> tuple[str, str]:
    """Cut inside a code block, after `room` characters at most, if possible between two lines."""
    start, end = block[0] + len(FENCE) + 1, block[1] - len(FENCE)
    seam = text.rfind("\n", max(start, room // 2), room + 1)
    following = seam + 1
    if seam < 0:
        seam = following = max((position for position in open_ if start < position <= room), default=room)
    rest = f"{FENCE}\n{text[following:]}" if text[following:end].strip() else text[block[1] :].lstrip()
    return f"{text[:seam]}\n{FENCE}", rest
