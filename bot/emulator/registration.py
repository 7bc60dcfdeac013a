"""What Meta tells of the app itself: its token, its webhooks, where they go. Pure functions from settings to JSON."""

import time

from bot.emulator.graph_errors import GraphError
from bot.emulator.payloads import Json
from bot.emulator.settings import Settings

APP = "Emulated app"
VERSION = "v26.0"


def apps(known: Settings) -> Json:
    """Answer GET /{waba_id}/subscribed_apps."""
    named = {known.app_id: APP} if known.subscribed else {}
    named |= {"9876543210": known.other_app} if known.other_app else {}
    link = "https://www.facebook.com/games/?app_id="
    told = [{"name": name, "id": app, "link": f"{link}{app}"} for app, name in named.items()]
    return {"data": [{"whatsapp_business_api_data": app} for app in told]}


def token(known: Settings, asked: str) -> Json:
    """Answer GET /debug_token; of a token that isn't one it says so, with HTTP 200."""
    if not asked:
        raise GraphError(100, message="(#100) The parameter input_token is required")
    if asked != known.access_token:
        error = {"code": 190, "message": "Malformed access token"}
        return {"data": {"error": error, "is_valid": False, "scopes": []}}
    now = int(time.time())
    return {
        "data": {
            "app_id": known.app_id,
            "type": "SYSTEM_USER",
            "application": APP,
            "data_access_expires_at": 0,
            "expires_at": now + int(known.token_days * 86_400) if known.token_days else 0,
            "is_valid": True,
            "issued_at": now - 86_400,
            "scopes": [*known.token_scopes, "public_profile"],
            "granular_scopes": [{"scope": scope, "target_ids": [known.waba_id]} for scope in known.token_scopes],
            "user_id": "122100000000000001",
        }
    }


def webhooks(known: Settings) -> Json:
    """Answer GET /{app_id}/subscriptions; where there are no fields, it has no such member."""
    if not (address := known.callback_url or known.webhook_url):
        return {"data": []}
    told: Json = {"object": "whatsapp_business_account", "callback_url": address, "active": True}
    fields = [{"name": name, "version": VERSION} for name in known.webhook_fields]
    return {"data": [told | ({"fields": fields} if fields else {})]}


def callbacks(known: Settings) -> Json:
    """Tell where the number's messages go: the member `webhook_configuration`, by who names the address."""
    ways = {"application": known.callback_url or known.webhook_url, "whatsapp_business_account": known.override_url}
    return {who: address for who, address in ways.items() if address}
