"""The signature is of the bytes as they came; nothing else is worth anything."""

import json

import pytest

from bot.whatsapp.signature import appsecret_proof, valid

SECRET = b"test_app_secret"
ESCAPED = (
    rb'{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"messages":'
    rb'[{"id":"wamid.X","type":"text","text":{"body":"\u00a1Ol\u00e9! \ud83d\ude00 a\/b"}}]}}]}]}'
)
RAW = json.dumps(json.loads(ESCAPED), ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("body", "digest"),
    [
        (ESCAPED, "9ef1b4c632f8ba0196f2720f53d233baa89f2ce6c266987086b939194f5ddd6d"),
        (RAW, "3c5ee33f41792c7aebf9e0851051eaebe92a0aa02446668125e2fad638286f70"),
    ],
)
def test_a_body_is_checked_as_it_came(body: bytes, digest: str) -> None:
    """The same JSON written in two ways has two signatures, and each fits only its own bytes."""
    assert valid(SECRET, body, f"sha256={digest}")
    assert not valid(SECRET, RAW if body is ESCAPED else ESCAPED, f"sha256={digest}")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "sha256=",
        "9ef1b4c632f8ba0196f2720f53d233baa89f2ce6c266987086b939194f5ddd6d",
        "sha1=9ef1b4c632f8ba0196f2720f53d233baa89f2ce6c266987086b939194f5ddd6d",
        "sha256=9ef1b4c632f8ba0196f2720f53d233baa89f2ce6c266987086b939194f5ddd6e",
        "sha256=ñ\udcff",
    ],
)
def test_a_wrong_or_missing_header_is_refused(header: str | None) -> None:
    """Whatever a stranger puts into the header, the answer is no, and never an exception."""
    assert not valid(SECRET, ESCAPED, header)


def test_an_empty_secret_makes_nothing_valid() -> None:
    """Without a secret anybody could sign."""
    assert not valid(b"", b"x", "sha256=" + "0" * 64)


def test_the_proof_is_the_tokens_hmac() -> None:
    """The proof of a call is HMAC-SHA256(app secret, access token), in hex (computed apart, with openssl)."""
    expected = "e941110e3d2bfe82621f0e3e1434730d7305d106c5f68c87165d0b27a4611a4a"
    assert appsecret_proof("secret", "token") == expected
