"""Acks at WhatsApp's own limit of 80 messages a second, on one core and a disk whose fsync takes 5 ms longer."""

import shutil
import subprocess
from pathlib import Path

from bot.emulator import StatusPlan
from tests.bench import client, load, rig
from tests.bench.figures import Figure, at_most
from tests.bench.order import check_file

PER_SECOND = 80.0
SECONDS = 30
MESSAGES_OF_A_USER = 8
READ = "SELECT count(*) FROM replies WHERE delivery = 'read'"


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Post at regular times while answers and their three statuses each go on beside."""
    name = "acks p99 with fsync + 5 ms, one core, 80 messages/s, three statuses a reply (ms)"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return [Figure(name, "not measured: there is no C compiler", "≤ 250")]
    slow = folder / "slow_fsync.so"
    source = Path(__file__).parents[1] / "slow_fsync.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", slow, source, "-ldl"], check=True)
    disk = {"LD_PRELOAD": str(slow), "SLOW_FSYNC_MS": "5"}
    messages, port = int(PER_SECOND) * (5 if quick else SECONDS), rig.free_port()
    with (
        rig.emulator(port, statuses=StatusPlan()) as url,
        rig.daemon(folder, url, port=port, env=disk, cpus={0}) as running,
    ):
        busy = running.cpu_seconds()
        acks = rig.alone(_post, running.port, messages)
        share = (running.cpu_seconds() - busy) / acks.seconds
        rig.wait_until(folder / "bot.db", READ, messages, seconds=60.0)
    check_file(folder / "bot.db", messages)
    beside = f"p50 {acks.percentile(50):.0f} ms; {share:.0%} of the core"
    return [at_most(name, acks.percentile(99), 250.0, "{:.0f}", beside)]


def _post(port: int, messages: int) -> client.Acks:
    said = load.people_write(messages, messages // MESSAGES_OF_A_USER)
    acks = client.post(port, [load.request(one, "slow") for one in said], per_second=PER_SECOND)
    assert set(acks.statuses) == {200}, acks.statuses
    return acks
