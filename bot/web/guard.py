"""Who may use the admin listener: people on this machine without ado, others with the token, foreign pages never."""

import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence

from aiohttp import BasicAuth, web


class Guard:
    """Keep out pages of other sites (which would read by DNS rebinding, act by posting a form) and strangers.

    Strangers come where the listener is `exposed` (off loopback, or with allowed_hosts: then the token is wanted), or
    by a reverse proxy that shows a loopback listener to the world. Raises ValueError when exposed without a token.
    """

    def __init__(self, *, token: str, exposed: bool, allowed_hosts: Sequence[str] = ()) -> None:
        if exposed and not token:  # the configuration says so before, in words
            raise ValueError("a listener that others can reach needs a token")
        self._token, self._exposed = token.encode(), exposed
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    def judge(self, method: str, headers: Mapping[str, str]) -> web.HTTPException | None:
        """Return how a request is turned away (401 wants the token), None where it may pass. `headers` ignore case."""
        host = headers.get("Host", "").lower()
        known = self._has_token(headers.get("Authorization", ""))
        proxied = any(name.lower().startswith(("forwarded", "x-forwarded-")) for name in headers)
        if not self._serves(_hostname(host)):
            where = "a name of admin.allowed_hosts" if self._exposed else "localhost"
            return web.HTTPForbidden(reason=f"this host name is not served here: use {where}")
        if self._exposed and not known:
            challenge = {"WWW-Authenticate": 'Basic realm="bot", charset="UTF-8"'}
            return web.HTTPUnauthorized(reason="wrong or no admin token: Authorization: Bearer …", headers=challenge)
        if proxied and not known:
            return web.HTTPForbidden(reason="this came through a proxy: set admin.allowed_hosts and a token")
        if method not in {"GET", "HEAD", "OPTIONS"} and self._foreign(host, headers):
            return web.HTTPForbidden(reason="this was sent by a page of another site")
        return None

    def _serves(self, name: str) -> bool:
        if name == "localhost" or name in self._allowed:
            return True
        try:
            # Rebinding wants a name: an address is safe where the token is asked for.
            return ipaddress.ip_address(name).is_loopback or self._exposed
        except ValueError:
            # An exposed listener without allowed_hosts can't know its names; the token protects it.
            return self._exposed and not self._allowed and name != ""

    def _has_token(self, authorization: str) -> bool:
        scheme, _, presented = authorization.partition(" ")
        try:
            if scheme.lower() != "bearer":  # what a browser asks its user for: any name, the token as password
                presented = BasicAuth.decode(authorization, "utf-8").password
        except ValueError:
            return False
        return hmac.compare_digest(presented.strip().encode(errors="replace"), self._token) and self._token != b""

    def _foreign(self, host: str, headers: Mapping[str, str]) -> bool:
        # Browsers name the origin of each POST; who names none is a program.
        scheme, _, site = headers.get("Origin", f"http://{host}").lower().partition("://")
        own = scheme in {"http", "https"} and (site == host or _hostname(site) in self._allowed)
        return not own or headers.get("Sec-Fetch-Site", "").lower() == "cross-site"


def _hostname(host: str) -> str:
    """Return the name in `name:port`, without the brackets of IPv6; "" where it isn't one."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^\s:/\\?#@\[\]]+))(?::[0-9]{1,5})?", host)
    return (found[1] or found[2]) if found else ""
