"""kill -9 exactly at each named point, one after the other on the same file: what the services saw stays right."""

import asyncio

import pytest

from tests.process.crash.crowd import Person
from tests.process.crash.points import POINTS
from tests.process.crash.run import Crash

# In each group a start dies at the first point, the next one, on what that left, at the second, and so on. Where there
# is a C compiler some of the deaths are power cuts.
GROUPS = {
    "until the plan": (
        "append@commit", "append@committed", "claim@commit", "claim@committed", "model.asked", "model.answered",
        "plan@commit", "plan@committed",
    ),
    "from the plan on": (
        "answer.leaves", "answer.wire", "answer.answered", "receipt@commit", "receipt@committed", "mark@commit",
        "mark@committed", "status@commit", "status@committed", "settle@commit", "settle@committed",
    ),
    "apology and notice": (
        "apology@commit", "apology@committed", "apology.leaves", "apology.wire", "apology.answered",
        "notice@commit", "notice@committed", "notice.leaves", "notice.wire", "notice.answered",
    ),
    "start and merge": (
        "migrate.statement", "migrate.commit", "migrate.ended", "adopt@commit", "adopt@committed", "listening",
        "merge@commit", "merge@committed",
    ),
    "the owner's words": (
        "say@commit", "say@committed", "letter@commit", "letter@committed", "human.leaves", "human.wire",
        "human.answered", "posted@commit", "posted@committed",
    ),
    "stop": ("drain.begins", "drain.ended", "close.begins", "close.ended"),
    "prune": ("prune@commit", "prune@committed"),
}  # fmt: skip
REACHED_SECONDS = 15.0  # on a busy machine


def test_every_point_belongs_to_a_group() -> None:
    """A point that is added and not tried protects nothing."""
    assert sorted(point for group in GROUPS.values() for point in group) == sorted(POINTS)


@pytest.mark.parametrize("group", GROUPS)
async def test_a_kill_at_each_point_loses_and_repeats_nothing(crash: Crash, group: str) -> None:
    """Each start dies where it was told to, on what the last one left; at the end all is answered, once, in order."""
    writing = []
    if group == "prune":
        writing.append(asyncio.create_task(write(crash, *crash.crowd.people(1))))
        await crash.calm(writing)
        crash.emu.settings.clock_offset_seconds = 31 * 86_400  # WhatsApp's clock agrees: a month went by
    for point in GROUPS[group]:
        process = await crash.start({"CRASH_POINT": point, "CRASH_DAYS": "31" if group == "prune" else "0"})
        if group != "prune" and await crash.ready(process):
            if group == "stop":
                process.terminate()
            writing += [asyncio.create_task(write(crash, person)) for person in crash.crowd.people(4)[2:]]
        assert await process.ended(REACHED_SECONDS) == -9, f"{point} was not reached:\n{process.output}"
        await crash.after(process, "point")
    crash.emu.settings.clock_offset_seconds = 0
    writing.append(asyncio.create_task(write(crash, *crash.crowd.people(1))))
    await crash.calm(writing)
    verdict = crash.judge.verdict()
    assert (crash.unquiet, verdict.wrong) == ([], [])
    assert verdict.messages > 0


async def write(crash: Crash, who: Person) -> None:
    """Write one message of each kind, each once the one before it got its 200; who merges, then under both ids."""
    for number, kind in enumerate(("answer", "apology", "notice") if not who.merges else ("answer",) * 3):
        known_as = ("wa_id", "user_id", "")[number] if who.merges else ""
        message = crash.crowd.say(who, kind, 2 if kind == "answer" else 1, known_as)
        await crash.emu.deliveries.deliver(crash.crowd.wrap(who, [message]))
        await crash.crowd.letter(who)


@pytest.mark.parametrize("point", ["plan@committed", "apology@committed"])
async def test_the_model_is_asked_once_when_its_answer_was_stored(crash: Crash, point: str) -> None:
    """The daemon dies right behind the COMMIT of the plan, or at its first send: the next one goes by the plan."""
    crash.bot.configure(whatsapp={"confirm_seconds": 0.5})  # nothing was sent: no status comes
    (who,) = crash.crowd.people(1)
    kind = "apology" if point.startswith("apology") else "answer"
    process = await crash.start({"CRASH_POINT": point})
    assert await crash.ready(process)
    message = crash.crowd.wrap(who, [crash.crowd.say(who, kind)])
    delivery = asyncio.create_task(crash.emu.deliveries.deliver(message))
    assert await process.ended(REACHED_SECONDS) == -9, process.output
    await crash.after(process, "point")
    await crash.calm([delivery])
    assert crash.judge.verdict().wrong == []
    assert crash.judge.asked(1) == 1
