"""Who may use the admin listener, and as what: people on this machine without ado, others by a token.

Foreign pages, which would read by DNS rebinding and act by posting a form, never.
"""

import hashlib
import hmac
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Literal
from urllib.parse import urlencode

from aiohttp import web
from aiolimiter import AsyncLimiter
from itsdangerous import BadSignature, TimestampSigner

from bot.config.settings import Admin
from bot.domain import Operator
from bot.web.wire import prefers_html

Role = Literal["admin", "reader"]
ROLES: tuple[Role, ...] = ("admin", "reader")
SESSION = "bot_session"
SESSION_SECONDS = 30 * 86_400
WRONG_TOKENS, WRONG_TOKENS_SECONDS = 5, 60.0  # so many at once from an address, and so many a minute after
MOST_ADDRESSES = 4096  # whose wrong tokens are remembered
HARMLESS = {"GET", "HEAD", "OPTIONS"}
BY_PROXY = ("forwarded", "x-forwarded-", "x-real-ip", "via", "cf-")  # begin headers that proxies add
FOR_STRANGERS = {"/signin", "/static"}  # resources that show nothing of anybody
FOR_READERS = {"/signin", "/signout"}  # what they may post to


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends a request: what they may do, from where, whether people's data is masked for them.

    A stranger without a role gets no further than the sign-in page.
    """

    role: Role | None
    address: str
    hides: bool = False
    signed_in: bool = False  # by the cookie, so that they can sign out
    scheme: str = ""  # https or http, where a trusted proxy says so


VISITOR = web.RequestKey("VISITOR", Visitor)


def operator(request: web.Request) -> Operator:
    """Return who acts by a request, as the audit says it."""
    return Operator("page" if prefers_html(request) else "api", request[VISITOR].address)


class Guard:
    """Keep out pages of other sites and strangers, and let readers only read.

    Strangers come where the listener is exposed (off loopback, with allowed_hosts or trusted proxies: then a token is
    wanted), or by a proxy that shows a loopback listener to the world. Raises ValueError when exposed without a token.
    """

    def __init__(self, admin: Admin, key: str) -> None:
        secrets = admin.token.get_secret_value(), admin.read_token.get_secret_value()
        self._tokens: dict[Role, str] = {role: token for role, token in zip(ROLES, secrets, strict=True) if token}
        if "admin" not in self._tokens and (admin.exposed or self._tokens):  # the configuration says so before
            raise ValueError("a listener that others can reach needs a token")
        self._key = key
        self._exposed, self._masked = admin.exposed, admin.privacy == "masked"
        self._allowed = frozenset(host.lower() for host in admin.allowed_hosts)
        self._trusted = [ip_network(proxy) for proxy in admin.trusted_proxies]
        self._tries = lru_cache(MOST_ADDRESSES)(lambda _: AsyncLimiter(WRONG_TOKENS, WRONG_TOKENS_SECONDS))

    async def admit(self, request: web.Request) -> None:
        """Let a request pass, and put into it whose it is; a stranger's only to the way in. Raises HTTPException."""
        acts = request.method not in HARMLESS
        address, host, scheme, proxied = self._way(request)
        wanted = self._exposed or proxied
        if not self._serves(_hostname(host)):
            where = "a name of admin.allowed_hosts" if self._exposed else "localhost"
            raise web.HTTPForbidden(reason=f"this host name is not served here: use {where}")
        if acts and self._foreign(request, host, scheme):
            raise web.HTTPForbidden(reason="this was sent by a page of another site")
        role = signed_in = self._signed_in(request.cookies.get(SESSION, ""))
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            token = token.strip()
            role = (await self.role_of(token, address) if wanted else self._matching(token)) or signed_in
        allowed: Role | None = role or (None if wanted else "admin")
        request[VISITOR] = Visitor(allowed, address, self._masked, bool(signed_in), scheme)
        resource = getattr(request.match_info.route.resource, "canonical", "")
        if wanted and not role and not (self._exposed and resource in FOR_STRANGERS):
            raise self._turned_away(request)
        if role == "reader" and acts and resource not in FOR_READERS:
            raise web.HTTPForbidden(reason="the read token may look at everything and change nothing")

    def _way(self, request: web.Request) -> tuple[str, str, str, bool]:
        """Return the client's address, the host and the scheme it calls us by, and whether it came by a strange proxy.

        What a request says of its way is believed to trusted proxies alone, and `Forwarded` not even to them: those
        that write X-Forwarded-… let one of the client's own pass. The scheme is "" where nobody says it.
        """
        headers, address = request.headers, _address(request.remote)
        host = headers.get("Host", "").lower()
        if not self._trusts(address):
            return address, host, "", any(name.lower().startswith(BY_PROXY) for name in headers)
        for hop in reversed(",".join(headers.getall("X-Forwarded-For", ())).split(",")):
            if not self._trusts(address) or not _address(hop):
                break
            address = _address(hop)
        said = [headers.get(f"X-Forwarded-{what}", "").split(",")[-1].strip().lower() for what in ("Host", "Proto")]
        return address, said[0] or host, said[1], False

    async def role_of(self, token: str, address: str) -> Role | None:
        """Return what a token lets its bearer be. Raises HTTPTooManyRequests after too many wrong ones from somewhere.

        The right one is refused then, too: otherwise who guesses would see that it is right.
        """
        # Whoever has one address of IPv6 has all that begin with its first half.
        tries = self._tries(str(ip_network(f"{address}/64", strict=False)) if ":" in address else address)
        if not tries.has_capacity():
            after = str(round(WRONG_TOKENS_SECONDS / WRONG_TOKENS))
            reason = f"too many wrong tokens came from this address: try again in {after} seconds"
            raise web.HTTPTooManyRequests(reason=reason, headers={"Retry-After": after})
        role = self._matching(token)
        if not role:
            await tries.acquire()  # it has capacity, so nobody waits here
        return role

    def cookie(self, role: Role) -> str:
        """Make the value of the cookie that keeps somebody signed in."""
        return self._signer(role).sign(role).decode()

    def _signer(self, role: Role) -> TimestampSigner:
        # By the role's own token: a new one signs out who came by the old one. And by a key of this file: without it
        # cookies could be made of guessed tokens, which no limit of tries would see.
        return TimestampSigner(self._tokens[role] + self._key, salt=role, digest_method=hashlib.sha256)

    def _signed_in(self, cookie: str) -> Role | None:
        for role in self._tokens:
            with suppress(BadSignature, UnicodeError):
                if self._signer(role).unsign(cookie, max_age=SESSION_SECONDS) == role.encode():
                    return role
        return None

    def _matching(self, token: str) -> Role | None:
        presented = token.encode(errors="replace")
        fits = (role for role, known in self._tokens.items() if hmac.compare_digest(presented, known.encode()))
        return next(fits, None)

    def _turned_away(self, request: web.Request) -> web.HTTPException:
        if not self._exposed:
            how = "name it in admin.trusted_proxies and set BOT_ADMIN__TOKEN"
            return web.HTTPForbidden(reason=f"this came through a proxy: {how}")
        if prefers_html(request):
            to = urlencode({"to": request.path_qs if request.method in HARMLESS else "/"})
            return web.HTTPSeeOther(f"/signin?{to}")
        reason = "wrong or no token: Authorization: Bearer …"
        return web.HTTPUnauthorized(reason=reason, headers={"WWW-Authenticate": 'Bearer realm="bot"'})

    def _serves(self, name: str) -> bool:
        if name == "localhost" or name in self._allowed:
            return True
        try:
            # Rebinding wants a name: an address is safe where the token is asked for.
            return ip_address(name).is_loopback or self._exposed
        except ValueError:
            # An exposed listener without allowed_hosts can't know its names; the token protects it.
            return self._exposed and not self._allowed and name != ""

    def _foreign(self, request: web.Request, host: str, scheme: str) -> bool:
        # Browsers name the origin of each POST; who names none is a program.
        origin = request.headers.get("Origin", f"{scheme or 'http'}://{host}").lower()
        called, _, site = origin.partition("://")
        own = called in {scheme or "http", scheme or "https"} and (site == host or site in self._allowed)
        return not own or request.headers.get("Sec-Fetch-Site", "").lower() == "cross-site"

    def _trusts(self, address: str) -> bool:
        return address != "" and any(ip_address(address) in network for network in self._trusted)


def _address(text: str | None) -> str:
    """Return an address as it is usually written; "" where it is none."""
    with suppress(ValueError):
        address = ip_address((text or "").strip().partition("%")[0])  # without the zone of a link
        return str(getattr(address, "ipv4_mapped", None) or address)  # a socket on :: has IPv4 as ::ffff:192.0.2.1
    return ""


def _hostname(host: str) -> str:
    """Return the name in `name:port`, without the brackets of IPv6; "" where it isn't one."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^\s:/\\?#@\[\]]+))(?::[0-9]{1,5})?", host)
    return (found[1] or found[2]) if found else ""
