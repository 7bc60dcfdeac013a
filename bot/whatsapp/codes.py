"""Say what an error of the Graph API means for us: Meta's codes, not HTTP statuses (throttles come as 400).

Source: Meta's "Error codes" of the WhatsApp Cloud API and "Handle errors" of the Graph API, as of 2026.
"""

from bot.errors import Kind

_CODES = {
    Kind.REFUSED: (
        *(0, 3, 10, 102, 190, *range(200, 300), 131005),  # token, permission
        *(33, 131037, 131042, 131045, 133010),  # number deleted or not registered, display name, payment
        *(368, 131031, 131048, 131064),  # policy block, account locked, spam, template limit
        *(803, 2500, 2635),  # unknown object, unknown path, retired version
    ),
    Kind.EVERYBODY: (4, 17, 32, 341, 613, 80007, 130429, 131057),
    Kind.PAIR: (131056,),
    Kind.LATER: (2, 131016),
    Kind.IN_DOUBT: (1, 131000, 135000),
    Kind.EXPIRED: (131047,),
    Kind.UNREACHABLE: (131021, 131026, 131030, 131049, 131050, 131062, 130472, 130497),
    Kind.MESSAGE: (100, 131008, 131009, 131051, 131052, 131053),
}
_KINDS = {code: kind for kind, codes in _CODES.items() for code in codes}

# Code 100 is our mistake in one message, but for these: every call would end so.
_REFUSALS = ("appsecret_proof", "does not exist, cannot be loaded due to missing permissions")


def kind_of(code: int | None, http_status: int, message: str = "") -> Kind:
    """Sort an error by its code; by the HTTP status where there is no code or an unknown one."""
    if code == 100 and any(words in message for words in _REFUSALS):
        return Kind.REFUSED
    if code is not None and code in _KINDS:
        return _KINDS[code]
    if http_status == 429:
        return Kind.EVERYBODY
    if http_status >= 500 or http_status in (408, 425):
        return Kind.LATER
    if http_status in (401, 403, 404, 405, 407) or 300 <= http_status < 400:
        return Kind.REFUSED  # not Meta's API behind base_url, or it doesn't know us
    return Kind.IN_DOUBT if http_status < 300 else Kind.MESSAGE


def pause_of(kind: Kind, code: int | None) -> float | None:
    """Return the seconds that everybody waits at a rate limit without Retry-After; most are counted by the hour."""
    return {None: 5.0, 130429: 5.0, 131057: 60.0}.get(code, 120.0) if kind is Kind.EVERYBODY else None
