"""What an emulator can be told: who it plays, how it treats sends, how fast it is."""

from dataclasses import dataclass, field
from typing import Annotated


@dataclass(frozen=True, slots=True)
class StatusPlan:
    """Say which status webhooks follow an accepted send, and how untidily.

    `delays` are seconds after the send, one for each name (the last one serves the rest). `names=()` sends none.
    """

    names: tuple[str, ...] = ("sent", "delivered", "read")
    delays: tuple[float, ...] = (0.05, 0.2, 0.6)
    copies: int = 1
    shuffled: bool = False
    early: bool = False  # the first one is answered before the HTTP answer of the very send leaves
    callback_data: bool = True  # False: a status names its message by wamid alone
    failed_code: int = 131026  # the error of a status `failed`


@dataclass(slots=True)
class Settings:
    """Hold the emulator's knobs; each may be turned while it runs (`emu.settings.webhook_url = …`).

    What is said of each is the help of its option, too.
    """

    host: Annotated[str, "address to listen on"] = "127.0.0.1"
    port: Annotated[int, "port to listen on; 0: a free one"] = 0
    webhook_url: Annotated[str, "where webhooks go; empty: nowhere, and a delivery waits for an address"] = ""
    phone_number_id: Annotated[str, "id of the business number"] = "106540352242922"
    display_phone_number: Annotated[str, "the business number itself, digits"] = "15550783881"
    verified_name: Annotated[str, "name of the business"] = "La Tienda"
    waba_id: Annotated[str, "id of the WhatsApp Business Account"] = "102290129340398"
    access_token: Annotated[str, "the only token that the Graph API takes"] = "emulator-access-token"
    app_secret: Annotated[str, "signs webhooks, and proves calls (appsecret_proof)"] = "emulator-app-secret"
    app_id: Annotated[str, "id of the app that token and secret belong to"] = "1234567890"
    token_days: Annotated[float, "in so many days the access token expires; 0: never"] = 0.0
    token_scopes: Annotated[tuple[str, ...], "permissions of the access token"] = (
        "whatsapp_business_management",
        "whatsapp_business_messaging",
    )
    callback_url: Annotated[str, "what the app has for its callback URL; empty: webhook_url"] = ""
    override_url: Annotated[str, "what the business account has instead of that; empty: nothing"] = ""
    webhook_fields: Annotated[tuple[str, ...], "fields of its webhooks that the app is subscribed to"] = ("messages",)
    subscribed: Annotated[bool, "whether the app is among the business account's subscribed_apps"] = True
    other_app: Annotated[str, "name of another app that is among them; empty: none is"] = ""
    require_app_secret: Annotated[
        bool, "refuse calls without appsecret_proof; one with a wrong proof is refused always"
    ] = False
    check_read_ids: Annotated[bool, "refuse to mark a message read that nobody wrote"] = False
    window_hours: Annotated[float, "refuse a text to somebody who hasn't written for so long (131047); 0: never"] = 0.0
    templates: Annotated[tuple[str, ...], "approved templates, each as name/language, with one parameter"] = (
        "alert/en",
    )
    clock_offset_seconds: Annotated[float, "how far the Date header is ahead of the time"] = 0.0
    statuses: Annotated[StatusPlan, "which status webhooks follow a send: fields of StatusPlan"] = field(
        default_factory=StatusPlan
    )
    redelivery_base_seconds: Annotated[
        float, "wait after a webhook that isn't answered 200; doubles each time, up to 30 s"
    ] = 0.2
    redelivery_tries: Annotated[int, "how often a webhook is posted until it is answered 200"] = 12
    delivery_timeout_seconds: Annotated[float, "the longest that the answer to a webhook may take"] = 20.0
    api_key: Annotated[str, "the only key that the model takes"] = "sk-emulator"
    models: Annotated[tuple[str, ...], "names of models that there are; none: any"] = ("gpt-5.4-mini",)
    answers: Annotated[str, "echo: `answer to: <the last user text>`; assistant: plausible ones"] = "echo"
    model_delay_seconds: Annotated[float, "before the first byte of an answer"] = 0.0
    model_pace_seconds: Annotated[float, "between the words of a stream"] = 0.0
    context_characters: Annotated[int, "a longer input is a context_length_exceeded; 0: no limit"] = 0
    log: Annotated[bool, "keep a log of every call"] = True
    log_limit: Annotated[int, "entries of it that are kept; 0: all"] = 0
    lean: Annotated[bool, "as little CPU a request as can be, for benchmarks: no checks, no chats, no faults"] = False
    seed: Annotated[int, "of everything random but ids"] = 0
