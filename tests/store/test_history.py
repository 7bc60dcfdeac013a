"""What the model reads of a conversation."""

import asyncio

from bot.domain import Cancelled, Done, Failed, Operator, Retry
from tests.store.desk import Desk, message

ANA, BEN = "5215550001", "5215550002"


async def test_the_conversation_is_told_in_the_order_of_answering(desk: Desk) -> None:
    """Not in that of arrival: what was answered late stands late."""
    await desk.say(ANA, "first", "second", sent=0)
    await desk.settle(await desk.lease(), Failed("bad"))
    await desk.serve(await desk.lease(), "re second")
    await desk.store.retry([await desk.message_id(ANA, "first")], who=Operator("test"))
    await desk.serve(await desk.lease(), "re first")
    assert await desk.history(ANA) == [
        ("user", "second"),
        ("assistant", "re second"),
        ("user", "first"),
        ("assistant", "re first"),
    ]


async def test_the_parts_of_an_answer_are_one_utterance_in_their_order(desk: Desk) -> None:
    """However many: the tenth comes after the second."""
    await desk.say(ANA, "tell me all")
    await desk.serve(await desk.lease(), *(f"part {n}" for n in range(12)))
    assert await desk.history(ANA) == [
        ("user", "tell me all"),
        ("assistant", "\n\n".join(f"part {n}" for n in range(12))),
    ]


async def test_only_what_was_sent_was_said(desk: Desk) -> None:
    """Parts that failed or never went out are no part of the conversation; the question is."""
    await desk.say(ANA, "question")
    lease = await desk.lease()
    one, two, _ = await desk.plan(lease, "one", "two", "three")
    await desk.begin(lease, one)
    await desk.begin(lease, two, desk.receipt(one))
    await desk.store.refuse_part(two, "bad", final=True)
    await desk.settle(lease, Failed("bad"))
    assert await desk.history(ANA) == [("user", "question"), ("assistant", "one")]


async def test_what_was_asked_in_vain_was_asked(desk: Desk) -> None:
    """The user's words of failed messages count; of cancelled and ignored ones, and of what still waits, not."""
    await desk.say(ANA, "failed", "cancelled", "retried", "waits")
    await desk.arrive(message(ANA, "👍", 9, kind="reaction", answerable=False))
    await desk.settle(await desk.lease(), Failed("bad"))
    await desk.settle(await desk.lease(), Cancelled("limit_per_day"))
    await desk.settle(await desk.lease(), Retry(60, "busy"))
    assert await desk.history(ANA) == [("user", "failed")]


async def test_apologies_and_notices_were_never_said(desk: Desk) -> None:
    """The model must not learn to apologise; what couldn't be read left no words."""
    await desk.say(ANA, "bad")
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "sorry", kind="apology", error="bad")
    await desk.begin(lease, part)
    await desk.settle(lease, Failed("bad", desk.receipt(part)))
    await desk.arrive(message(ANA, "", 1, wamid="wamid.audio", kind="audio"))
    lease = await desk.lease()
    (part,) = await desk.plan(lease, "I can't hear", kind="notice")
    await desk.begin(lease, part)
    await desk.settle(lease, Done(desk.receipt(part)))
    assert await desk.history(ANA) == [("user", "bad")]


async def test_what_the_owner_wrote_was_said(desk: Desk) -> None:
    """Between the answers, by its time; a picture of the owner's has no words."""
    await desk.say(ANA, "one")
    await desk.serve(await desk.lease(), "re one")
    desk.tick(10)
    await desk.echo(ANA, "the owner here")
    await desk.echo(ANA, "")
    desk.tick(10)
    await desk.say(ANA, "two", sent=30)
    await desk.serve(await desk.lease(), "re two")
    assert await desk.history(ANA) == [
        ("user", "one"),
        ("assistant", "re one"),
        ("assistant", "the owner here"),
        ("user", "two"),
        ("assistant", "re two"),
    ]


async def test_the_newest_are_taken_within_both_bounds(desk: Desk) -> None:
    """So many utterances, so many characters; what doesn't fit ends it, nothing is cut or left out between."""
    await desk.say(ANA, "aaaa", "bb", "cccc")
    for answer in ("AAAA", "BB", "CCCC"):
        await desk.serve(await desk.lease(), answer)
    newest = [
        ("user", "aaaa"), ("assistant", "AAAA"), ("user", "bb"), ("assistant", "BB"),
        ("user", "cccc"), ("assistant", "CCCC"),
    ]  # fmt: skip
    for count in range(8):
        assert await desk.history(ANA, count) == (newest[-count:] if count else [])
    for characters, count in ((3, 0), (4, 1), (8, 2), (9, 2), (10, 3), (12, 4), (15, 4), (16, 5), (20, 6)):
        assert await desk.history(ANA, 20, characters) == (newest[-count:] if count else [])


async def test_messages_without_an_answer_count_as_one_utterance(desk: Desk) -> None:
    """So many are read as there are bounds for, whoever else's turn reads with them and has answers alone."""
    said: dict[str, list[tuple[str, str]]] = {ANA: [], BEN: []}
    for n in range(16):
        for who, fails in ((ANA, n % 3 < 2), (BEN, False)):
            await desk.say(who, f"{who} {n}")
            lease = await desk.lease()
            await (desk.settle(lease, Failed("bad")) if fails else desk.serve(lease, f"a{n}"))
            said[who] += [("user", f"{who} {n}"), *([] if fails else [("assistant", f"a{n}")])]
    for count in range(1, 25):
        for who, newest in zip(said, await asyncio.gather(*(desk.history(who, count) for who in said)), strict=True):
            assert newest == said[who][-count:]


async def test_everybody_has_a_conversation_of_their_own(desk: Desk) -> None:
    """No word crosses over."""
    await desk.say(ANA, "ana's")
    await desk.say(BEN, "ben's")
    await desk.serve_all()
    assert await desk.history(ANA) == [("user", "ana's"), ("assistant", "re ana's")]
    assert await desk.history(BEN) == [("user", "ben's"), ("assistant", "re ben's")]


async def test_messages_that_end_in_the_same_millisecond_keep_their_order(desk: Desk) -> None:
    """A fast handler; the clock is not fine enough to tell."""
    await desk.say(ANA, *(f"m{n}" for n in range(6)))
    lease = await desk.lease()
    while lease:
        lease = await desk.store.settle(lease, Done(), claim=True)  # type: ignore[assignment]
    assert await desk.history(ANA) == [("user", f"m{n}") for n in range(6)]


async def test_an_edit_is_told_as_it_was_answered(desk: Desk) -> None:
    """The words that the model had are the words it finds again."""
    await desk.say(ANA, "v1")
    await desk.serve(await desk.lease(), "re v1")
    await desk.arrive(message(ANA, "v2", 9, answerable=False))
    assert await desk.history(ANA) == [("user", "v1"), ("assistant", "re v1")]
