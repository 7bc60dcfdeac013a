"""What operators do in a terminal: commands that look and commands that act, on the file, daemon up or down.

Each has --json, and prints with it what the JSON API answers.
"""

import asyncio
import select
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from bot import logs
from bot.clock import Clock, readable, stamp
from bot.config import Config, load
from bot.domain import Operator
from bot.store.copies import back_up, put_back
from bot.store.failures import EMPTY, Failing
from bot.store.migrate import check_copy, check_file
from bot.store.people import STATES
from bot.store.store import Store
from bot.store.turns import Budget
from bot.terminal import report

T = TypeVar("T")
WHO = Operator("cli")  # in the audit
MOST_USERS = 20
WATCH_SECONDS, TAIL_SECONDS = 2.0, 0.5
OF_THIS = " in its text, error, name or number."

operators = click.Group()
configured = click.option("--config", "path", type=Path, envvar="BOT_CONFIG", default="bot.toml", show_default=True)
limited = click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
somebody = click.argument("user", required=False)
yes = click.option("--yes", is_flag=True, help="Don't ask first. Needed without a terminal.")


def _command(function: Callable[..., None]) -> click.Command:
    """Make it a command with --config and --json, that is called with the Config and `as_json`."""

    @wraps(function)
    def whole(path: Path, **given: Any) -> None:
        function(load(path), **given)

    return operators.command()(configured(click.option("--json", "as_json", is_flag=True, help="For programs.")(whole)))


def _meant(context: click.Context, option: click.Parameter, value: str) -> str:
    given = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    if given and not value.strip():
        raise click.BadParameter(EMPTY)
    return value


def _filtered(function: Callable[..., None]) -> Callable[..., None]:
    """Let it take the filters of failures."""
    for name, help_ in ("search", "With this" + OF_THIS), ("user", "Of this person."), ("cause", "With this error."):
        function = click.option(f"--{name}", default="", callback=_meant, help=help_)(function)
    return function


@_command
@click.option("--watch", is_flag=True, help="Draw it again every 2 seconds, until Ctrl-C.")
def status(config: Config, *, watch: bool, as_json: bool) -> None:
    """Show how it goes, who waits and what failed. Also what is paused or refused."""

    async def look(store: Store) -> None:
        running, found = report.daemon_runs(config.store.path), await _status(store)
        found |= {"running": running, "ready": running and not found["reasons"]}
        report.show(found, report.status_lines(found), as_json=as_json, over=watch)

    _repeat(config, look, WATCH_SECONDS * watch)


@_command
@click.option("--search", default="", help="In names, numbers, ids and recent texts.")
@click.option("--state", type=click.Choice(STATES), help="Those in this state; leased is being answered.")
@click.option("--sort", default="depth", type=click.Choice(["depth", "oldest", "failed", "recent"]), show_default=True)
@limited
def users(config: Config, *, as_json: bool, limit: int, state: str | None, **which: str) -> None:
    """List the people who write. The deepest line comes first."""
    found = _on_store(config, lambda store, _: store.insights.users(limit, state=state or "", **which))
    lines = report.user_lines(found["users"], running=report.daemon_runs(config.store.path))
    report.show(found, [*(lines or ["Nobody."]), *report.more(found)], as_json=as_json)


@_command
@click.argument("user")
def show(config: Config, *, user: str, as_json: bool) -> None:
    """Show one person: line and conversation. With every try at answering each message."""
    found = _on_store(config, lambda store, _: store.insights.user(user))
    report.show(found, report.person_lines(found, running=report.daemon_runs(config.store.path)), as_json=as_json)


@_command
@_filtered
@limited
def failures(config: Config, *, as_json: bool, limit: int, **which: str) -> None:
    """List what failed, by cause and one by one. The newest comes first; its id is what `bot retry` wants."""

    async def look(store: Store, _: int | None) -> dict[str, Any]:
        causes = [] if any(which.values()) else await store.insights.causes()
        return {**await store.insights.failures(limit, **which), "causes": causes}

    found = _on_store(config, look)
    none = ["No failure is like that." if any(which.values()) else "Nothing failed."]
    report.show(found, [*(report.failure_lines(found) or none), *report.more(found)], as_json=as_json)


@_command
@click.option("-n", "--lines", "last", type=click.IntRange(0, 1000), default=10, show_default=True, help="Of the past.")
@click.option("--texts", is_flag=True, help="With what people wrote and were answered.")
@click.option("--once", is_flag=True, help="Print the past and end.")
def tail(config: Config, *, last: int, texts: bool, once: bool, as_json: bool) -> None:
    """Show what happens, as it happens. Arrivals, tries, answers, sends, what operators do; until Ctrl-C."""

    position: dict[str, int] = {}

    async def look(store: Store) -> None:
        events, reached = await store.insights.events(position, last)
        for event in events if position else events[-last:]:
            told = event | {"text": event["text"] if texts or event["event"] == "warning" else None}
            report.show(told, [report.event_line(told)], as_json=as_json)
        position.update(reached)

    _repeat(config, look, TAIL_SECONDS * (not once))


@_command
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**62), metavar="ID...")
@click.option("--all", "every", is_flag=True, help="Every one that can be.")
@_filtered
def retry(config: Config, *, ids: tuple[int, ...], every: bool, as_json: bool, **which: str) -> None:
    """Put failed messages back into the queue. By the IDs that `bot failures` shows, by its filters, or all."""
    if bool(ids) == (every or any(which.values())):
        raise click.UsageError("Name the IDs of failed messages (`bot failures` lists them), a filter, or --all.")
    done = _on_store(config, lambda store, _: store.retry(ids or Failing(**which), who=WHO))
    told = f"{done}." if done.why else f"Messages back in the queue: {done.retried}."
    report.show(done.as_row(), [told], as_json=as_json)


@_command
@somebody
@click.option("--all", "every", is_flag=True, help="Everybody.")
def pause(config: Config, *, user: str | None, every: bool, as_json: bool) -> None:
    """Stop answering a user, or everybody. What they write waits."""
    people = _on_store(config, lambda store, user_id: store.pause(user_id, who=WHO), _one_of(user, every=every))
    report.show({"users": people}, [f"{user or 'Everybody'}: paused."], as_json=as_json)


@_command
@somebody
@click.option("--all", "every", is_flag=True, help="Everybody; who is paused alone stays so.")
@click.option("--skip", is_flag=True, help="Don't answer what waits: cancel it.")
@yes
def resume(config: Config, *, user: str | None, every: bool, skip: bool, yes: bool, as_json: bool) -> None:
    """Answer a user, or everybody, again."""
    _one_of(user, every=every)
    if skip and not yes:
        _ask(config, "Resume, and cancel", user, resumes=True)
    people, skipped = _on_store(config, lambda store, user_id: store.resume(user_id, skip=skip, who=WHO), user)
    told = f"{user or 'Everybody'}: resumed.{f' Messages skipped: {skipped}.' if skip else ''}"
    report.show({"users": people, "messages": skipped}, [told], as_json=as_json)


@_command
@somebody
@yes
def clear(config: Config, *, user: str | None, yes: bool, as_json: bool) -> None:
    """Cancel what waits of USER; without USER, of everybody. The messages stay in the database, unanswered."""
    if not yes:
        _ask(config, "Cancel", user)
    people, messages = _on_store(config, lambda store, user_id: store.clear(user_id, who=WHO), user)
    report.show({"users": people, "messages": messages}, [f"Waiting messages cancelled: {messages}."], as_json=as_json)


@_command
@click.argument("user")
@click.argument("text")
def reply(config: Config, *, user: str, text: str, as_json: bool) -> None:
    """Write TEXT to a person as the number. While WhatsApp's 24 hours last; the model reads it as history."""
    from bot.whatsapp import clean, split  # what no other command needs

    if not (bodies := split.split(clean.text(text))) or len(text) > clean.TEXT_LIMIT:
        raise click.UsageError(f"TEXT must say something, in at most {clean.TEXT_LIMIT} characters.")
    replies = _on_store(config, lambda store, user_id: store.say(user_id, bodies, WHO), user)
    report.show({"replies": replies}, [f"{user}: replies that the daemon sends: {replies}."], as_json=as_json)


@_command
@click.argument("user")
def export(config: Config, *, user: str, as_json: bool) -> None:
    """Print all that is kept of a person, as one JSON document. What was said, each try, and what operators did."""
    fits = str.isascii if as_json else str.isprintable
    _on_store(config, lambda store, user_id: store.insights.export(user_id, click.echo, fits), user)


@_command
@click.argument("user")
@yes
def forget(config: Config, *, user: str, yes: bool, as_json: bool) -> None:
    """Take a person out of the database for ever: ids, name and all that was said. Copies keep them."""
    if not yes:
        _ask(config, "Forget all that was said with them for ever, and cancel", user)
    messages, gone = _on_store(config, lambda store, user_id: store.forget(user_id, who=WHO), user)
    told = report.WORDS["forgotten"].format(messages, config.store.path) + report.WORDS["left"] * (not gone)
    report.show({"messages": messages, "gone": gone}, [told], as_json=as_json)


@_command
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--keep", type=click.IntRange(1, 10_000), help="So many bot-DATE.db stay in the folder TARGET: the newest."
)
def backup(config: Config, *, target: Path, keep: int | None, as_json: bool) -> None:
    """Copy the database to TARGET, or into a folder as bot-DATE.db. With the daemon up or down; the copy is checked."""
    check_file(config.store.path)
    if keep and not target.is_dir():
        raise click.UsageError(f"--keep wants a folder that is there: mkdir -m 700 {target}")
    copy = target / f"bot-{stamp(Clock().now()).replace(':', '')}.db" if target.is_dir() else target.resolve()
    with click.progressbar(length=100, label="Copying", file=sys.stderr) as bar:
        size = back_up(config.store.path, copy, lambda share: bar.update(round(share * 100) - bar.pos))
    copies = sorted({*copy.parent.glob("bot-20??-??-??T??????.???Z.db")} - {config.store.path})
    for old in {*copies[: -(keep or 0)]} - {copy}:  # never what is newer: another backup made it meanwhile
        old.unlink(missing_ok=True)  # another backup's --keep was faster
    report.show({"copy": str(copy), "bytes": size}, [f"{copy}: whole and sound."], as_json=as_json)


@_command
@click.argument("copy", type=click.Path(path_type=Path), metavar="PATH")
def restore(config: Config, *, copy: Path, as_json: bool) -> None:
    """Put the copy at PATH in the database's place. The daemon has to be stopped; the file that was there is kept."""
    from bot.daemon import only_instance  # and with it all that a daemon is made of

    file, words = config.store.path, report.WORDS["restore"]
    with only_instance(file.with_name(f"{file.name}.lock"), words["runs"].format(file), words["no folder"]):
        check_copy(copy, file)
        found = {"database": str(file), **put_back(copy, file)}
    told = [readable(words[name].format(**found)) for name in found if found[name] and name in words]
    report.show(found, told, as_json=as_json)


async def _status(store: Store) -> dict[str, Any]:
    await store.try_writing()
    headline, found = await store.headline(), await store.insights.users(MOST_USERS)
    found = {"headline": headline.text, "reasons": await store.reasons(), "users": found["users"]}
    return {**await store.insights.queue_stats(), **found, "circuits": await store.insights.circuits()}


def _one_of(user: str | None, *, every: bool) -> str | None:
    if (user is None) != every:
        raise click.UsageError("Name a user, or --all.")
    return user


def _ask(config: Config, what: str, user: str | None, *, resumes: bool = False) -> None:
    """Have it confirmed that what waits is cancelled, with how much that is: nothing where a resume finds no pause."""
    if not sys.stdin.isatty():
        raise click.UsageError("This can't be undone, and there is no terminal to ask at: say --yes.")
    found = _on_store(config, lambda store, _: store.insights.user(user) if user else store.insights.queue_stats())
    found = found["user"] if user else found
    waiting = found["depth"] - (found["state"] == "leased") if user else found["pending"]
    # Who is paused alone keeps what waits when everybody is resumed.
    told = 0 if resumes and not found["paused"] else f"up to {waiting}" if resumes and not user else waiting
    click.confirm(f"{what} what waits of {user or 'everybody'}, messages: {told}?", abort=True, err=True)


def _on_store(config: Config, work: Callable[[Store, Any], Awaitable[T]], user: str | None = None) -> T:
    """Do something with the database, daemon up or down; `work` gets the id of `user`, None without one."""
    logs.configure(level="critical")  # what goes wrong is said in a sentence

    async def whole() -> T:
        store = await Store.open_existing(config.store.path, clock=Clock(), budget=Budget.of(config))
        try:
            user_id = None if user is None else await store.insights.find_user(user)
            return await work(store, user_id)
        finally:
            await store.close()

    return asyncio.run(whole())


def _repeat(config: Config, look: Callable[[Store], Awaitable[None]], seconds: float) -> None:
    """Look once or, with `seconds` between, until Ctrl-C or until nobody reads what is printed."""
    reader = select.poll()
    reader.register(1, 0)  # it tells of one that is gone

    async def whole(store: Store, _: int | None) -> None:
        await look(store)
        while seconds and not reader.poll(0):
            await asyncio.sleep(seconds)
            await look(store)

    with suppress(KeyboardInterrupt):  # is how one ends it
        _on_store(config, whole)
