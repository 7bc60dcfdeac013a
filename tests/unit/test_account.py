"""What WhatsApp tells of the account, in words for whoever owns the shop."""

import json
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import AccountWarning
from bot.whatsapp import account
from bot.whatsapp.account import WORDS, account_warning

NUMBER = "15550783881"

Json = dict[str, Any]


def told(field: str, value: Json) -> AccountWarning:
    """Translate a value of a field that tells of the account."""
    warning = account_warning(field, {"display_phone_number": NUMBER, **value}, None)
    assert warning is not None
    assert (warning.kind, warning.at) == (field, None)
    assert NUMBER not in warning.text
    return warning


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("account_update", {"event": "ACCOUNT_DELETED"}, "was deleted: no message comes"),
        (
            "account_update",
            {
                "event": "ACCOUNT_RESTRICTION",
                "restriction_info": [
                    {"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": 1796392003},
                    {
                        "restriction_type": "RESTRICTED_ADD_PHONE_NUMBER_ACTION",
                        "expiration": "2026-04-19T13:59:20+0000",
                    },
                ],
            },
            "until 2026-12-04, 2026-04-19: restricted biz initiated messaging, restricted add phone number action",
        ),
        (
            "account_update",
            {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SCAM"}},
            "broke its rules (scam)",
        ),
        (
            "account_update",
            {
                "event": "DISABLED_UPDATE",
                "ban_info": {"waba_ban_state": "SCHEDULE_FOR_DISABLE", "waba_ban_date": "April 17, 2026"},
            },
            "going to disable the account (April 17, 2026)",
        ),
        ("account_review_update", {"decision": "REJECTED"}, "rejected it: it can't be used"),
        (
            "account_alerts",
            {
                "entity_id": "506914307656634",
                "alert_info": {
                    "alert_severity": "WARNING",
                    "alert_type": "INCREASED_CAPABILITIES_ELIGIBILITY_DEFERRED",
                    "alert_description": "Limits cannot be increased for your business La Tienda.",
                },
            },
            "Limits cannot be increased for your business La Tienda.",
        ),
        ("phone_number_quality_update", {"event": "FLAGGED"}, "quality rating is low"),
        (
            "phone_number_quality_update",
            {"event": "DOWNGRADE", "max_daily_conversations_per_business": "TIER_2K"},
            "fewer conversations from now on (downgrade, tier 2k)",
        ),
        (
            "phone_number_name_update",
            {"decision": "REJECTED", "requested_verified_name": "ACME", "rejection_reason": "NAME_FORMAT_UNACCEPTABLE"},
            "“ACME” was rejected (name format unacceptable)",
        ),
        ("security", {"event": "PIN_RESET_REQUEST", "requester": "61555822107539"}, "If that wasn't you"),
        (
            "message_template_status_update",
            {"event": "REJECTED", "message_template_name": "abandoned_cart", "reason": "INVALID_FORMAT"},
            "template abandoned_cart was rejected (invalid format)",
        ),
        (
            "message_template_status_update",  # where Meta's own example of a quality puts it
            {"previous_quality_score": "GREEN", "new_quality_score": "RED", "message_template_name": "hello"},
            "template hello is low",
        ),
        (
            "message_template_quality_update",
            {"new_quality_score": "RED", "message_template_name": "hello"},
            "hello is low",
        ),
        (
            "flows",
            {"event": "ENDPOINT_ERROR_RATE", "alert_state": "ACTIVATED", "message": "The error rate is over 10 %."},
            "trouble with a Flow: The error rate is over 10 %.",
        ),
        ("account_news_of_2030", {"event": "SOMETHING_NEW", "why": [{"x": "A_REASON"}]}, "something new, a reason"),
        ("account_update", {"event": "SOMETHING_NEW"}, "something new"),
        ("account_update", {}, "something new"),
    ],
)
def test_what_is_grave_says_what_happened(field: str, value: Json, words: str) -> None:
    """In plain words, without codes, numbers or long ids; what this version doesn't know is grave, too."""
    warning = told(field, value)
    assert words in warning.text
    assert warning.grave
    assert "_" not in warning.text.replace("abandoned_cart", "")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("account_update", {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}}, "allowed to use"),
        ("account_review_update", {"decision": "APPROVED"}, "approved it"),
        ("account_alerts", {"alert_info": {"alert_type": "OBA_APPROVED"}}, "Official Business Account"),
        (
            "account_alerts",
            {"alert_info": {"alert_severity": "INFORMATIONAL", "alert_type": "NEW", "alert_description": "Hello."}},
            "WhatsApp says: Hello.",
        ),
        ("phone_number_quality_update", {"event": "UPGRADE", "current_limit": "TIER_10K"}, "more conversations"),
        ("business_capability_update", {"max_daily_conversations_per_business": 2000}, "2000 conversations a day"),
        (
            "message_template_status_update",
            {"event": "APPROVED", "message_template_name": "hello"},
            "hello was approved",
        ),
        (
            "template_category_update",
            {"message_template_name": "a", "new_category": "MARKETING"},
            "a counts as marketing",
        ),
        (
            "flows",
            {"event": "FLOW_STATUS_CHANGE", "new_status": "PUBLISHED", "message": "Flow 3 is out."},
            "Flow 3 is out.",
        ),
    ],
)
def test_good_news_raise_no_alert(field: str, value: Json, words: str) -> None:
    """They are kept all the same: the owner sees when it was."""
    warning = told(field, value)
    assert words in warning.text
    assert not warning.grave


@pytest.mark.parametrize("field", ["messages", "standby", "history", "user_preferences", "calls", "", "*x"])
def test_other_fields_tell_nothing_of_the_account(field: str) -> None:
    """They speak of people."""
    assert account_warning(field, {"event": "X"}, None) is None


def test_numbers_and_ids_in_metas_own_words_are_blotted_out() -> None:
    """Wherever they stand."""
    alert = {"alert_severity": "WARNING", "alert_description": "Call +34 600 111 222 about 10234567890123456789012345"}
    assert "Call … about …" in told("account_alerts", {"alert_info": alert}).text
    assert (
        "34600111222" not in told("account_update", {"event": "ACCOUNT_RESTRICTION", "expiration": "34600111222"}).text
    )


def test_the_words_are_for_codes_that_can_be_found() -> None:
    """Each says something, ends as a sentence and is filled in by names that Meta uses."""
    for field, words in WORDS.items():
        assert "*" in words, field
        for text in words.values():
            assert text.strip("!")[0].isupper()
            assert text.endswith((".", "}"))
            assert all(name is None or name.isidentifier() for _, name, _, _ in Formatter().parse(text))
    assert json.loads(Path(account.__file__).with_suffix(".json").read_text("utf-8")) == WORDS


_odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_keys = st.sampled_from(["event", "decision", "expiration", "alert_info", "alert_type", "reason", "message", "{x}"])


@given(field=st.sampled_from(sorted(WORDS)), value=st.dictionaries(_keys, _odd, max_size=5))
def test_whatever_is_in_them_becomes_a_short_text(field: str, value: Json) -> None:
    """Never an exception, and nothing that couldn't be stored."""
    text = told(field, value).text
    assert 0 < len(text) <= 400
    assert "\x00" not in text
    text.encode()


def test_a_value_that_is_huge_costs_little() -> None:
    """Three megabytes of nests and lists are looked at only so far."""
    nested: Any = {"event": "FLAGGED"}
    for _ in range(500):
        nested = {"x": [nested] * 2}
    assert told("phone_number_quality_update", {"a": [["x"] * 1000] * 1000, "event": "FLAGGED"}).grave
    assert told("phone_number_quality_update", nested).grave
