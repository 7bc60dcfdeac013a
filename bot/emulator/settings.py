"""What an emulator can be told: who it plays, how it treats sends, how fast it is."""

from dataclasses import dataclass, field


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
    """Hold the emulator's knobs; each may be turned while it runs (`emu.settings.webhook_url = …`)."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    webhook_url: str = ""  # empty: webhooks go nowhere, a delivery waits for an address
    phone_number_id: str = "106540352242922"
    display_phone_number: str = "15550783881"
    verified_name: str = "La Tienda"
    waba_id: str = "102290129340398"
    access_token: str = "emulator-access-token"
    app_secret: str = "emulator-app-secret"
    subscribed: bool = True  # whether the app is among the business account's subscribed_apps
    require_app_secret: bool = False  # a wrong appsecret_proof is refused always, a missing one only with this
    check_read_ids: bool = False  # refuse to mark a message read that nobody wrote
    clock_offset_seconds: float = 0.0  # of the Date header
    statuses: StatusPlan = field(default_factory=StatusPlan)
    redelivery_base_seconds: float = 0.2  # doubles at each try that isn't answered 200, up to 30 s
    redelivery_tries: int = 12
    delivery_timeout_seconds: float = 20.0
    api_key: str = "sk-emulator"
    models: tuple[str, ...] = ("gpt-5.4-mini",)  # empty: any model
    answers: str = "echo"  # "echo": `answer to: <the last user text>`; "assistant": plausible ones
    model_delay_seconds: float = 0.0  # before the first byte
    model_pace_seconds: float = 0.0  # between the words of a stream
    context_characters: int = 0  # a longer input is a context_length_exceeded; 0: no limit
    log: bool = True
    log_limit: int = 0  # entries kept; 0: all
    lean: bool = False  # as little CPU a request as can be: no checks, no chats, no faults; for benchmarks
    seed: int = 0  # of everything random but ids
