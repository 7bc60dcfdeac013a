"""The short form of `make crash`: a few kills at random under load."""

from tests.process.crash.run import Crash


async def test_kills_under_load_lose_nothing_and_answer_nothing_twice(crash: Crash) -> None:
    """People write on while the daemon dies again and again; the services saw each answer once, in order."""
    crash.emu.faults.add("cut", times=0, probability=0.05, after=True)
    await crash.round(5, people=8)
    verdict = crash.judge.verdict()
    assert (crash.unquiet, verdict.wrong) == ([], [])
    assert verdict.messages > 30
