"""Who may use the admin listener: people on this machine without ado, others with the token, foreign pages never."""

import base64
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request is turned away: 401 wants the token, 403 is final."""

    status: int
    reason: str


class Guard:
    """The rules of DESIGN §2.

    What it defends against: a web page elsewhere that the owner's browser visits (by DNS rebinding it would read, by
    posting a form it would act), a reverse proxy that shows a loopback listener to the world, and strangers where
    the listener is off loopback. `exposed` is True off loopback or with allowed_hosts; then the token is wanted.
    Raises ValueError when exposed without a token.
    """

    def __init__(self, *, token: str, exposed: bool, allowed_hosts: Sequence[str] = ()) -> None:
        if exposed and not token:  # the configuration says so before, in words
            raise ValueError("a listener that others can reach needs a token")
        self._token = token.encode()
        self._exposed = exposed
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    def judge(self, method: str, headers: Mapping[str, str]) -> Denial | None:
        """Return why a request is turned away, None for one that may pass. `headers` ignore case."""
        host = headers.get("Host", "").lower()
        if not self._serves(_hostname(host)):
            where = "a name of admin.allowed_hosts" if self._exposed else "localhost"
            return Denial(403, f"this host name is not served here: use {where}")
        known = self._has_token(headers.get("Authorization", ""))
        if self._exposed and not known:
            return Denial(401, "the admin token is missing or wrong: Authorization: Bearer …")
        if not known and any(name.lower().startswith(("forwarded", "x-forwarded-")) for name in headers):
            return Denial(403, "this came through a proxy: name its host in admin.allowed_hosts and set a token")
        if method not in READING and self._foreign(host, headers):
            return Denial(403, "this was sent by a page of another site")
        return None

    def _serves(self, hostname: str) -> bool:
        if hostname == "localhost" or hostname in self._allowed:
            return True
        try:
            # Rebinding wants a name: an address is safe where the token is asked for.
            return ipaddress.ip_address(hostname).is_loopback or self._exposed
        except ValueError:
            # An exposed listener without allowed_hosts can't know its names; the token protects it.
            return self._exposed and not self._allowed and hostname != ""

    def _has_token(self, authorization: str) -> bool:
        scheme, _, credentials = authorization.partition(" ")
        presented = credentials.strip().encode(errors="replace")
        if scheme.lower() == "basic":  # what a browser asks its user for: any name, the token as password
            try:
                presented = base64.b64decode(presented, validate=True).partition(b":")[2]
            except ValueError:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(presented, self._token) and self._token != b""

    def _foreign(self, host: str, headers: Mapping[str, str]) -> bool:
        if headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
            return True
        origin = headers.get("Origin")
        if origin is None:  # no browser: those name the origin of each POST
            return False
        scheme, _, site = origin.lower().partition("://")
        return scheme not in ("http", "https") or (site != host and _hostname(site) not in self._allowed)


def _hostname(host: str) -> str:
    """Return the name in `name:port`, lower case, without the brackets of IPv6; "" where it isn't one."""
    if any(char in "/\\?#@" or char.isspace() for char in host):
        return ""
    try:
        parts = urlsplit(f"//{host}")
        _, name = parts.port, parts.hostname
    except ValueError:  # no port, or no address between brackets
        return ""
    return name or ""
