"""docs/faults.md is true: each row is brought about, and what becomes of the messages is what its words promise.

`make test` lets each fault hit one request; FAULTS=all (`make faults`) also a fifth of them, and all.
"""

import asyncio
import itertools
import os
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from bot.emulator import Customer, Fault
from bot.whatsapp import codes
from bot.whatsapp.client import GraphClient
from tests.flow.conftest import ERROR_REPLY, World

PAGE = Path(__file__).parents[2] / "docs/faults.md"
TIME_LIMIT = 1.0  # of a call to either service
SOON = {"Retry-After": "0.2"}
SHARES = ("one", "a fifth", "all")
UNANSWERED = ("apologises", "fails", "expires")
ADDRESSES = {"no TLS": "https://{host}{path}", "an unknown name": "http://nobody.invalid{path}"}
FAULTS = {
    "no answer in time": Fault("hang"),
    "no answer in time, but it went out": Fault("hang", after=True),
    "no answer in time, but it was asked": Fault("slow", after=True, seconds=2 * TIME_LIMIT),
    "cut": Fault("cut"),
    "cut, but it went out": Fault("cut", after=True),
    "half a body": Fault("cut_body"),
    "HTTP 200 with HTML": Fault("html"),
    "HTTP 200 with null": Fault("null"),
    "HTTP 200 with {}": Fault("object"),
    "HTTP 200 with broken JSON": Fault("broken"),
    "HTTP 200 with nothing": Fault("nothing"),
    "a slow body": Fault("drip", seconds=TIME_LIMIT / 4),
    "a body slower than the time limit": Fault("drip", seconds=2 * TIME_LIMIT),
    "a wrong content type": Fault("mistyped"),
    "HTTP 400 without a code": Fault("http", status=400),
    "HTTP 401 without a code": Fault("http", status=401),
    "HTTP 404 without a code": Fault("http", status=404),
    "HTTP 429 with Retry-After": Fault("http", status=429, headers=SOON),
    "HTTP 500": Fault("http", status=500),
    "HTTP 502": Fault("http", status=502),
    "HTTP 503 with Retry-After": Fault("http", status=503, headers=SOON),
    "HTTP 429": Fault("http", status=429),
    "HTTP 400": Fault("error", "model", status=400),
    "HTTP 401": Fault("error", "model", status=401),
    "HTTP 403": Fault("error", "model", status=403),
    "HTTP 404": Fault("error", "model", status=404),
    "HTTP 429 of a spent quota": Fault("error", "model", status=429, code="insufficient_quota"),
    "an empty answer": Fault("empty", "model"),
    "a content filter": Fault("content_filter", "model"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the page: its faults (one for each code), and the words for one, a fifth and all."""

    service: str
    name: str
    words: tuple[str, ...]

    @property
    def faults(self) -> list[Fault]:
        """Make what the line names."""
        if re.fullmatch(r"[0-9, ]+", self.name):
            return [Fault("error", code=int(code), headers=SOON) for code in self.name.split(",")]
        return [replace(FAULTS[self.name], service="graph.send" if self.service == "graph" else "model")]


def rows() -> list[Row]:
    """Read the page's three tables."""
    found = []
    for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE)[2:]:
            cells = line.split(" | ")
            found.append(Row("model" if title == "The model" else "graph", cells[0], tuple(cells[-3:])))
    return found


CASES = [
    pytest.param(row, share, id=f"{row.service}-{row.name}-{share}")
    for row in rows()
    for share in (SHARES if os.environ.get("FAULTS") == "all" else SHARES[:1])
    if row.words[SHARES.index(share)] != "–" and row.name not in ADDRESSES
]


class Trial:
    """One fault at one daemon: people write, and what became of it is counted at the services."""

    def __init__(self, world: World, row: Row, expected: str) -> None:
        self.world, self.row, self.expected = world, row, expected
        self._numbers = itertools.count(100)

    def people(self, count: int) -> list[Customer]:
        """Meet strangers."""
        return [self.world.emu.customer(f"N {n}", wa_id=f"34600200{n}") for n in itertools.islice(self._numbers, count)]

    def undecided(self) -> int:
        """Count what waits or is being answered."""
        return int(self.world.rows("SELECT depth FROM control")[0][0])

    async def decided(self) -> None:
        """Wait until everything is decided: probe at once, as an owner would, and let one person's wait end early."""
        try:
            async with asyncio.timeout(60):
                while self.undecided():
                    if self.world.opened(self.row.service):
                        await self.world.post(f"/api/circuits/{self.row.service}/try")
                    if self.expected == "user waits":
                        self.world.write("UPDATE outbox SET not_before_at = NULL WHERE not_before_at IS NOT NULL")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            columns = (
                "id, state, attempts, error, not_before_at, leased_at, (SELECT ready_at FROM users WHERE id = user_id)"
            )
            stuck = self.world.rows(f"SELECT {columns} FROM outbox WHERE finished_at IS NULL")
            circuits = self.world.rows("SELECT * FROM circuits")
            raise AssertionError(f"never decided: {stuck}; {circuits}; {self.world.emu.log.entries[-9:]}") from None

    async def struck(self, people: list[Customer]) -> None:
        """Wait until the fault has shown what it does to everybody."""
        if self.expected == "stops":
            await self.world.eventually(lambda: self.world.opened(self.row.service), 15)
        elif self.expected in ("waits", "user waits"):
            asked = "graph.send" if self.row.service == "graph" else "model"
            await self.world.emu.wait_for(lambda: self.world.emu.log.of(asked), 15)
            assert self.undecided() == len(people)
        else:
            await self.decided()

    def judge(self, people: list[Customer], hit: int | None) -> None:
        """Hold what the services saw, and what the file says, against the row's word; `hit` None: it isn't known."""
        failed = dict(self.world.rows("SELECT id, error FROM outbox WHERE state = 'failed'"))
        apologies = self.world.rows("SELECT outbox_id FROM replies WHERE kind = 'apology'")
        expected = (hit if hit is not None else len(failed)) if self.expected in UNANSWERED else 0
        assert len(failed) == expected
        assert sorted(id_ for (id_,) in apologies) == (sorted(failed) if self.expected == "apologises" else [])
        assert set(failed.values()) <= {"expired"} or self.expected != "expires"
        answers = [text for text in self.world.emu.sends() if text != ERROR_REPLY]
        assert len(answers) == len(set(answers)) == self.world.rows("SELECT count(*) FROM outbox")[0][0] - len(failed)
        for who in people:
            said = [text.split()[-1] for text in self.world.emu.sends(who) if text != ERROR_REPLY]
            assert said == sorted(said)
        spent = self.world.rows("SELECT coalesce(sum(attempts), 0) FROM outbox WHERE state = 'done'")[0][0]
        assert spent == (hit if self.expected == "tried again" and hit is not None else spent * (hit is None))
        assert self.world.opened(self.row.service) == []

    async def one(self) -> None:
        """Hit one request of three people's, for each code of the row."""
        for hits, fault in enumerate(self.row.faults, 1):
            self.world.emu.faults.add(fault)
            people = self.people(3)
            for who in people:
                await self.world.emu.say(who, f"{who.name} 1")
            await self.decided()
            self.judge(people, hits)

    async def a_fifth(self) -> None:
        """Hit each fifth request while ten people write twice."""
        self.world.emu.faults.add(replace(self.row.faults[0], times=0, probability=0.2))
        people = self.people(10)
        for n in (1, 2):
            await self.world.emu.batch([(who, f"{who.name} {n}") for who in people])
        await self.decided()
        self.world.emu.faults.clear()
        self.judge(people, None)

    async def all(self) -> None:
        """Hit every request of four people's, until it is mended."""
        number = self.world.emu.faults.add(replace(self.row.faults[0], times=0))
        people = self.people(4)
        await self.world.emu.batch([(who, f"{who.name} 1") for who in people])
        await self.struck(people)
        self.world.emu.faults.remove(number)
        await self.decided()
        if self.expected not in UNANSWERED and self.world.opened(self.row.service):
            await self.world.emu.say(people[0], f"{people[0].name} 2")  # what was confirmed by statuses asked nobody
            await self.decided()
        self.judge(people, 4 if self.expected in UNANSWERED else 0)


@pytest.mark.parametrize(("row", "share"), CASES)
async def test_a_fault_does_what_the_page_says(
    world: World, monkeypatch: pytest.MonkeyPatch, row: Row, share: str
) -> None:
    """Answered once, in order, at the price that the page names; or failed, with an apology or without."""
    limit = 10 if row.name == "a slow body" else TIME_LIMIT
    monkeypatch.setattr("bot.daemon.GraphClient", partial(GraphClient, timeout_seconds=limit))
    queue = {"max_attempts": 8, "backoff_base_seconds": 0.05, "concurrency": 1 if share == "a fifth" else 64}
    async with world.running(queue=queue, openai={"timeout_seconds": limit}):
        trial = Trial(world, row, row.words[SHARES.index(share)])
        await {"one": trial.one, "a fifth": trial.a_fifth, "all": trial.all}[share]()


@pytest.mark.parametrize("service", ["graph", "model"])
@pytest.mark.parametrize("name", ADDRESSES)
async def test_an_address_that_leads_nowhere_stops_its_service(world: World, service: str, name: str) -> None:
    """It is a matter of bot.toml or of the network: nothing fails, and a restart with the right one goes on."""
    assert next(row for row in rows() if (row.service, row.name) == (service, name)).words == ("–", "–", "stops")
    right = world.emu.graph_url if service == "graph" else world.emu.model_url
    host, _, path = right.removeprefix("http://").partition("/")
    wrong = ADDRESSES[name].format(host=host, path=f"/{path}".rstrip("/"))
    async with world.running(**{"whatsapp" if service == "graph" else "openai": {"base_url": wrong}}):
        await world.emu.say(world.ana, "hi")
        await world.eventually(lambda: world.opened(service))
        assert world.rows("SELECT state, attempts FROM outbox") == [("pending", 0)]
    async with world.running():
        assert await world.sent(1) == ["answer to: hi"]


def test_the_page_names_every_code_that_the_program_knows() -> None:
    """A code that is added to the program without a line on the page fails here."""
    named = {fault.code for row in rows() if row.name[0].isdigit() for fault in row.faults}
    assert named == {int(code) for code in codes._KINDS if code != "2xx"} | {200, 299}


def test_the_page_explains_its_words() -> None:
    """Each cell is a word of the legend."""
    legend = set(re.findall(r"^\| (\w[\w ]*) \| ", PAGE.read_text().partition("## ")[0], re.MULTILINE)) - {"word"}
    assert {word for row in rows() for word in row.words} - {"–"} == legend
