"""Cut a long answer into the few messages it takes.

Each delivered message costs money, so parts are filled as far as a decent seam allows: a paragraph's end, else a
line's, else a sentence's, where the part is three quarters full by then or no further part becomes necessary; else
the last word that fits. A styled run (*bold*, `code`…) of up to 200 characters is not cut either; a longer one loses
its style at the seam, which is cheaper than to open it again with certainty.
"""

import re

import regex

FENCE = "```"
SHORTEST = 64  # the least limit, so that a code block can be closed and opened again and something fits between

_SEAM = re.compile(r"\s+|(?<=[。！？])(?=\S)")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]*_~]*\Z")
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
    blocks = _code_blocks(text, limit)
    whole = [*blocks, *(match.span() for match in _WHOLE.finditer(text, 0, 2 * limit))]
    closed = bytearray(limit + 1)  # positions where nothing may be cut
    for start, end in whole:
        if end - start <= limit:
            closed[start + 1 : end] = b"\1" * (min(end, limit + 1) - start - 1)
    clusters = (match.end() for match in _CLUSTER.finditer(text, 0, limit + SHORTEST))
    open_ = [position for position in clusters if position <= limit and not closed[position]]
    long_code = next(((start, end) for start, end in blocks if end - start > limit), None)
    seams = _seams(text, limit, set(open_), long_code[0] if long_code else limit)
    if long_code and max(seams, default=0) == 0 and long_code[0] < limit - 8:
        return _cut_code(text, limit - len(FENCE) - 1, long_code, open_)
    if seams:
        start, end = seams[max(seams)]
        return text[:start], text[end:]
    fits = [position for position in open_ if not long_code or position <= long_code[0]]
    end = fits[-1] if fits else limit
    return text[:end], text[end:]


def _code_blocks(text: str, limit: int) -> list[tuple[int, int]]:
    """Return where the code blocks stand that begin before `limit`."""
    blocks: list[tuple[int, int]] = []
    start = text.find(FENCE)
    while 0 <= start < limit and (end := text.find(FENCE, start + len(FENCE))) > 0:
        blocks.append((start, end + len(FENCE)))
        start = text.find(FENCE, end + len(FENCE))
    return blocks


def _seams(text: str, limit: int, open_: set[int], last: int) -> dict[int, tuple[int, int]]:
    """Return the last white space of each kind up to `last`: 0 between words, 1 sentences, 2 lines, 3 paragraphs."""
    needed = -(-len(text) // limit)
    earliest = min(len(text) - (needed - 1) * limit, limit * 3 // 4)
    seams: dict[int, tuple[int, int]] = {}
    for match in _SEAM.finditer(text):
        start, end = match.span()
        if start > last:
            break
        if start not in open_:
            continue
        if breaks := match.group().count("\n"):
            kind = min(breaks, 2) + 1
        else:
            kind = 1 if _SENTENCE_END.search(text[max(0, start - 4) : start]) else 0
        if kind == 0 or start >= earliest:
            if end > start and (cluster := _CLUSTER.match(text, end - 1)) and cluster.end() > end:
                end -= 1  # a combining mark belongs to the last space
            seams[kind] = start, end
    return seams


def _cut_code(text: str, room: int, block: tuple[int, int], open_: list[int]) -> tuple[str, str]:
    """Cut inside a code block, after `room` characters at most, if possible between two lines."""
    start, end = block[0] + len(FENCE) + 1, block[1] - len(FENCE)
    seam = text.rfind("\n", max(start, room // 2), room + 1)
    following = seam + 1
    if seam < 0:
        seam = following = max((position for position in open_ if start < position <= room), default=room)
    rest = f"{FENCE}\n{text[following:]}" if text[following:end].strip() else text[block[1] :].lstrip()
    return f"{text[:seam]}\n{FENCE}", rest
