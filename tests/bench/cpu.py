"""CPU of a message from its webhook to the send of its answer, against the bare calls that it makes."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from pydantic import SecretStr

from bot.config import Config
from bot.config.settings import OpenAI, WhatsApp
from bot.emulator import Settings, StatusPlan
from bot.web.live import WARM_UP_SECONDS
from tests.bench import client, load, rig
from tests.bench.bare import bare
from tests.bench.figures import Figure, at_most
from tests.bench.order import check_file

ROUNDS, MESSAGES, USERS = 12, 1000, 250  # the machine's speed changes by the second: short ones, in turn
WARM_UP = 250  # whole bursts, as all of them
PATIENCE_SECONDS = 120.0
READ = "SELECT count(*) FROM replies WHERE delivery = 'read'"

Wait = Callable[[int], None]


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Send the same messages through the daemon and through the bare calls, in turn."""
    rounds = 2 if quick else ROUNDS
    figures = []
    for plan, name in ((rig.NO_STATUSES, "no statuses"), (StatusPlan(), "three statuses a reply")):
        own = folder / f"{len(plan.names)}-statuses"
        own.mkdir()
        with _daemon(own, plan) as ours, _bare(plan) as bare:
            sides = [_Side(*ours), _Side(*bare)]
            for side in sides:
                side.milliseconds(WARM_UP)
            time.sleep(WARM_UP_SECONDS + 1.0)  # the page's templates are compiled once a start, not for each message
            times = rig.alternate(rounds, *(partial(side.milliseconds, MESSAGES) for side in sides))
        check_file(own / "bot.db", WARM_UP + rounds * MESSAGES)
        one, other = map(fmean, times)
        beside = f"{one:.2f} ms against {other:.2f} ms: {one - other:.2f} more"
        figures.append(at_most(f"CPU a message, end to end : bare calls; {name}", one / other, 1.25, beside=beside))
    return figures


@dataclass
class _Side:
    """A process that answers, and how to wait until so many in all are answered."""

    running: rig.Running
    wait: Wait
    sent: int = 0

    def milliseconds(self, messages: int) -> float:
        """Send so many more; return CPU milliseconds for each."""
        self.sent += messages
        before = self.running.cpu_seconds()
        rig.alone(_post, self.running.port, messages, f"up to {self.sent}")
        self.wait(self.sent)
        return (self.running.cpu_seconds() - before) / messages * 1000


def _post(port: int, messages: int, run: str) -> client.Acks:
    requests = [load.request(said, run) for said in load.people_write(messages, min(messages, USERS))]
    acks = client.post(port, requests)
    assert set(acks.statuses) == {200}, acks.statuses
    return acks


@contextlib.contextmanager
def _daemon(folder: Path, plan: StatusPlan) -> Iterator[tuple[rig.Running, Wait]]:
    port = rig.free_port()
    limits = {"WHATSAPP__SENDS_PER_SECOND": 0, "QUEUE__MAX_DEPTH_TOTAL": 0}
    with rig.emulator(port, statuses=plan) as url, rig.daemon(folder, url, port=port, settings=limits) as running:

        def wait(messages: int) -> None:
            rig.wait_until(folder / "bot.db", READ if plan.names else rig.DONE, messages, seconds=PATIENCE_SECONDS)

        yield running, wait


@contextlib.contextmanager
def _bare(plan: StatusPlan) -> Iterator[tuple[rig.Running, Wait]]:
    port, known = rig.free_port(), Settings()
    with rig.emulator(port, statuses=plan) as url:
        config = Config(
            whatsapp=WhatsApp(
                phone_number_id=load.NUMBER,
                base_url=url,
                access_token=SecretStr(known.access_token),
                app_secret=SecretStr(known.app_secret),
            ),
            openai=OpenAI(base_url=f"{url}/v1", api_key=SecretStr(known.api_key)),
        )
        with bare(config, port) as (running, answered, told):

            def wait(messages: int) -> None:
                until = time.monotonic() + PATIENCE_SECONDS
                while answered.value < messages or told.value < messages * len(plan.names):
                    if time.monotonic() > until:
                        raise TimeoutError(f"{answered.value} of {messages} answered, {told.value} statuses")
                    time.sleep(0.05)

            yield running, wait
