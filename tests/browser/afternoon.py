"""A busy afternoon, written straight into a file: every state a user and a message can be in, and hostile names."""

import contextlib
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.clock import Clock, stamp
from bot.store.store import Store

NAMES = (
    "Ana Torres", "Kwame Mensah", "Sheena Nelson", "Diego Paz", "Lucía Ferrer",
    "María José Fernández de Córdoba y Álvarez de Toledo", "محمد عبد الله", "Оля Петрова", "Þórunn Jónsdóttir",
    "Nguyễn Thị Minh Khai", "Jean-Baptiste Aubert", "Fatima Zahra", "Paula Ríos", "Tom Okafor", "Irene Soto",
)  # fmt: skip
HOSTILE = ("W" * 180, "\u202eevil \u2066", "<b>Bob</b>", "🌵" * 60, "a\u200b" * 40)
TEXTS = (
    "¿Tienen esta maceta en azul?", "What are your opening hours?",
    "Hola, quiero cambiar mi cita del jueves al viernes por la tarde, ¿se puede?",
    "مرحبا، هل يمكنني معرفة سعر التوصيل؟", "I ordered two weeks ago and nothing arrived. Order 55120.",
    "Necesito factura a nombre de la empresa; ya mandé los datos por correo.", "¿Abren el domingo?",
)  # fmt: skip
REJECTED = "the model service rejects the message (HTTP 400, invalid_request_error)"
SORRY = "Lo siento, ocurrió un error al procesar tu mensaje. Por favor intenta de nuevo."
FAILURES = ((REJECTED, 6), ("131026: Message undeliverable", 3), ("expired", 2))


async def fill(file: Path, number: str, *, people: int = 40) -> None:
    """Write the afternoon into a new file; 0 people: nobody has written yet."""
    await (await Store.open(file, clock=Clock())).close()
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        _Scribe(db, number).write(people)


class _Scribe:
    def __init__(self, db: sqlite3.Connection, number: str) -> None:
        self._db, self._number, self._now, self._dice = db, number, datetime.now(UTC), random.Random(7)

    def write(self, people: int) -> None:
        names = [*NAMES, *HOSTILE]
        for n in range(1, people + 1):
            self._person(n, names[n - 1] if n <= len(names) else f"{NAMES[n % 5].split()[0]} {n}")
        if people:
            self._conversation(1)
            self._queue(people)
            self._failures()
            self._past()

    def _at(self, seconds_ago: float) -> str:
        return stamp(self._now - timedelta(seconds=seconds_ago))

    def _insert(self, table: str, **values: Any) -> int:
        names, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
        return self._db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values).lastrowid or 0

    def _person(self, n: int, name: str) -> None:
        phone, bsuid = (f"5215510{n * 7919:06d}", None) if n % 6 != 2 else (None, f"GH.13491208655302{n:06d}")
        known = {"id": n, "phone": phone, "bsuid": bsuid, "name": name}
        self._insert("users", **known, created_at=self._at(90_000), last_message_at=self._at(3600 if n % 9 else 99_000))
        self._insert("user_ids", id=phone or bsuid, user_id=n, linked_at=self._at(90_000))

    def _message(self, user: int, body: str, ago: float, state: str = "done", **more: Any) -> int:
        times = {"sent_at": self._at(ago), "received_at": self._at(ago - 1), "begun_at": self._at(ago - 1.2)}
        ended = None if state == "pending" else self._at(ago - 5)
        known = {
            "phone_number_id": self._number,
            "wamid": f"wamid.{user}.{ago}.{body[:9]}",
            "payload": "{}",
            "type": "text",
        }
        values = known | times | {"user_id": user, "body": body, "state": state, "finished_at": ended} | more
        return self._insert("outbox", **values)

    def _reply(self, user: int, message: int | None, body: str, ago: float, kind: str = "answer", **more: Any) -> None:
        values = {
            "part": 1,
            "state": "sent",
            "delivery": "read",
            "planned_at": self._at(ago),
            "sent_at": self._at(ago - 1),
        }
        self._insert("replies", user_id=user, outbox_id=message, body=body, kind=kind, **(values | more))

    def _try(self, message: int, stage: str, outcome: str, ago: float, **more: Any) -> None:
        self._insert("attempts", outbox_id=message, stage=stage, outcome=outcome, at=self._at(ago), **more)

    def _conversation(self, user: int) -> None:
        message = self._message(user, "Hola 👋", 93_000)
        self._try(
            message,
            "model",
            "answered",
            92_998,
            duration_ms=1310,
            input_tokens=412,
            output_tokens=18,
            request_id="req_5f1c9ab0",
        )
        self._try(message, "send", "sent", 92_997, duration_ms=143)
        self._reply(user, message, "¡Hola, Ana! ¿En qué te puedo ayudar?", 92_996)
        message = self._message(user, TEXTS[0], 4000)
        self._try(message, "model", "retry", 3998, code="429", error="rate limit reached", duration_ms=95)
        self._try(message, "model", "answered", 3990, duration_ms=1844, input_tokens=530, output_tokens=61)
        self._reply(
            user,
            message,
            "Sí, viene en azul cobalto y en turquesa. La mediana cuesta 340 pesos.",
            3988,
            delivery="delivered",
        )
        message = self._message(user, "", 3600, type="audio")
        self._reply(user, message, "Lo siento, todavía no puedo leer este tipo de mensaje.", 3590, "notice")
        message = self._message(user, "😀" * 4000, 3000)
        self._reply(user, message, "¡Cuánta alegría!", 2990, delivery="sent")
        message = self._message(user, "¿Y el envío a Oaxaca?", 2000, "failed", error=REJECTED, attempts=1)
        self._try(message, "model", "failed", 1998, code="400", error=REJECTED, duration_ms=233, request_id="req_99")
        self._reply(user, message, SORRY, 1990, "apology")
        self._reply(user, None, "El envío a Oaxaca cuesta 120 pesos y tarda 3 días. (Paula)", 1500, "human")
        self._message(user, "Olvídalo", 1200, "cancelled", error="revoked")
        message = self._message(user, TEXTS[3], 600)
        self._reply(user, message, "نعم، التوصيل 120 بيزو.", 590)
        self._message(user, TEXTS[2], 40, "pending", begun_at=None)

    def _queue(self, people: int) -> None:
        for user in (each for each in (2, 3, 5, 7, 8, 9, 12, 16, 17, 19) if each <= people):
            for _ in range(self._dice.randint(1, 4)):
                self._message(user, self._dice.choice(TEXTS), self._dice.randint(5, 140), "pending", begun_at=None)
        late = {"attempts": 2, "error": "the model didn't answer within 60 s", "not_before_at": self._at(-3000)}
        self._message(10, TEXTS[4], 130, "pending", **late)
        self._message(4, TEXTS[1], 100, "pending", begun_at=None)
        self._db.execute("UPDATE users SET paused_at = ?, paused_by = 'limit_per_hour' WHERE id = 4", (self._at(60),))
        self._db.execute("UPDATE users SET paused_at = ?, paused_by = 'page' WHERE id = 11", (self._at(60),))

    def _failures(self) -> None:
        for error, count in FAILURES:
            for n in range(count):
                text = TEXTS[n % len(TEXTS)] if n else "Una historia muy larga. " * 160
                user, ago = self._dice.randint(2, 15), self._dice.randint(1000, 50_000)
                self._message(user, text, ago, "failed", error=error, attempts=self._dice.randint(1, 5))
        message = self._message(14, "¿Abren el domingo?", 5000)
        self._reply(14, message, "Sí, de 10 a 14 h.", 4990, delivery="failed", error="131047: Re-engagement message")

    def _past(self) -> None:
        acts = ("retry", None, 3), ("pause", 4, None), ("clear", 11, 6), ("try model", None, None)
        for action, user, messages in acts:
            who = {"who": "page" if user else "cli", "address": "192.0.2.7" if user else None}
            self._insert(
                "audit",
                at=self._at(self._dice.randint(10, 5000)),
                action=action,
                user_id=user,
                messages=messages,
                **who,
            )
        for minute in range(1, 60):
            wave, wait = abs(30 - minute), self._dice.randint(200, 900)  # most half an hour ago, and now
            answered = 14 + wave // 2 + self._dice.randint(0, 6)
            row = {
                "depth": min(abs(15 - minute), abs(45 - minute)) + 6 + self._dice.randint(0, 4),
                "arrived": answered,
                "answered": answered,
            }
            spans = {
                "wait_p50_ms": wait,
                "wait_p95_ms": wait * 4,
                "answer_p50_ms": 1200 + wait,
                "answer_p95_ms": 3000 + wait * 3,
            }
            self._insert(
                "minutes",
                at=self._at(60 * minute),
                failed=minute % 17 == 0,
                **row,
                **spans,
                last_outbox=0,
                last_attempt=0,
            )
        self._insert("usage", day=f"{self._now:%Y-%m-%d}", answers=1204, input_tokens=611_350, output_tokens=70_220)
        warning = {"kind": "phone_number_quality_update", "text": "the number's quality is now YELLOW", "grave": 0}
        self._insert("warnings", at=self._at(7200), received_at=self._at(7199), **warning)
