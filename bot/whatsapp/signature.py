"""Prove who speaks: Meta's signature on a webhook, and ours on a Graph API call. Imports nothing of aiohttp."""

import hashlib
import hmac


def valid(secret: bytes, body: bytes, header: str | None) -> bool:
    r"""Tell whether `X-Hub-Signature-256` is the HMAC-SHA256 of the raw body, in constant time.

    The bytes as they came: Meta signs `\u00e9` and `\/`, which re-encoded JSON no longer holds. Without a secret
    nothing is valid.
    """
    expected = f"sha256={hmac.digest(secret, body, hashlib.sha256).hex()}"
    return bool(secret) and hmac.compare_digest((header or "").encode(errors="replace"), expected.encode())


def appsecret_proof(secret: str, token: str) -> str:
    """Sign an access token with its app's secret, for `?appsecret_proof=` (Meta, "Securing Graph API requests")."""
    return hmac.digest(secret.encode(), token.encode(), hashlib.sha256).hex()
