"""The commands: the daemon, the demo, the check of the configuration, and what operators do in a terminal.

What a command doesn't need is not imported: `bot status` answers without loading an HTTP server.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bot import __version__

if TYPE_CHECKING:
    from bot.config import Config
    from bot.store.store import Store

T = TypeVar("T")
WHO = "cli"  # in the audit
FAILED, MISTAKEN = 1, 2  # exit codes: it can't be done; the command or the configuration is wrong

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="BOT_CONFIG",
    default=Path("bot.toml"),
    show_default=True,
    help="The configuration file; also $BOT_CONFIG.",
)
user_argument = click.argument("user", required=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bot")
def main() -> None:
    """Answer a WhatsApp number with an AI assistant: every message once, in order.

    USER is u17, a phone number (with or without +) or a business-scoped id.
    """


# -- the daemon -----------------------------------------------------------------------------------------------------


@main.command()
@config_option
def run(config_path: Path) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    config = _load(config_path, to_run=True)
    from bot.daemon import run as run_daemon  # after the configuration, whose mistakes then show at once

    sys.exit(_in_one_sentence(lambda: run_daemon(config)))


@main.command()
@click.option("--config", expose_value=False, help="Accepted and not used: the demo brings its own configuration.")
@click.option("--model", type=click.Choice(["scripted", "openai"]), default="scripted", show_default=True)
def demo(model: str) -> None:
    """Run the daemon on an emulated WhatsApp, with a chat page in the browser. No account is needed.

    With --model openai (and OPENAI_API_KEY set) the real model answers.
    """
    from bot.demo import run_demo

    sys.exit(_in_one_sentence(lambda: run_demo(model)))


@main.command()
@config_option
@click.option("--online", is_flag=True, help="Also ask WhatsApp and the model service.")
def check(config_path: Path, *, online: bool) -> None:
    """Say every mistake in the configuration at once; with --online, whether the accounts work."""
    config = _load(config_path, to_run=True)
    click.echo(f"{config_path} is fine.")
    if not online:
        return
    from bot.check import check_online

    findings = asyncio.run(check_online(config))
    for finding in findings:
        click.echo(f"{'ok   ' if finding.good else 'WRONG'}  {finding.text}")
    sys.exit(0 if all(finding.good for finding in findings) else FAILED)


# -- what the status page does --------------------------------------------------------------------------------------


@main.command()
@config_option
def status(config_path: Path) -> None:
    """Show the queue: what waits, who waits, what failed, what is paused or refused."""
    from bot.report import status_lines

    config = _load(config_path)
    _print(_on_store(config, lambda store, _: status_lines(store.insights, config.store.path)))


@main.command()
@config_option
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
def failures(config_path: Path, limit: int) -> None:
    """List the failed messages, newest first, with their ids."""
    from bot.report import failure_lines

    _print(_on_store(_load(config_path), lambda store, _: failure_lines(store.insights, limit)))


@main.command()
@click.argument("ids", nargs=-1, type=click.IntRange(min=1, max=2**63 - 1), metavar="ID...")
@click.option("--all", "everything", is_flag=True, help="Every failed message that can be retried.")
@config_option
def retry(config_path: Path, ids: tuple[int, ...], *, everything: bool) -> None:
    """Put failed messages back into the queue, by the ids that `bot failures` shows."""
    if bool(ids) == everything:
        raise click.UsageError("Name the ids of failed messages, or --all.")
    retried = _on_store(
        _load(config_path),
        lambda store, _: store.retry_all(who=WHO) if everything else store.retry(ids, who=WHO),
    )
    click.echo(f"Messages back in the queue: {retried}.")


@main.command()
@user_argument
@click.option("--all", "everything", is_flag=True, help="Everybody.")
@config_option
def pause(config_path: Path, user: str | None, *, everything: bool) -> None:
    """Stop answering a user, or everybody. What they write waits."""
    _one_of(user, everything=everything)
    _on_store(_load(config_path), lambda store, user_id: store.pause(user_id, who=WHO), user)
    click.echo(f"{user or 'Everybody'}: paused.")


@main.command()
@user_argument
@click.option("--all", "everything", is_flag=True, help="Everybody; who is paused alone stays so.")
@click.option("--skip", is_flag=True, help="Don't answer what waits.")
@config_option
def resume(config_path: Path, user: str | None, *, everything: bool, skip: bool) -> None:
    """Answer a user, or everybody, again."""
    _one_of(user, everything=everything)
    config = _load(config_path)
    _, skipped = _on_store(config, lambda store, user_id: store.resume(user_id, skip=skip, who=WHO), user)
    click.echo(f"{user or 'Everybody'}: resumed.{f' Messages skipped: {skipped}.' if skip else ''}")


@main.command()
@user_argument
@click.option("--yes", is_flag=True, help="Don't ask.")
@config_option
def clear(config_path: Path, user: str | None, *, yes: bool) -> None:
    """Cancel what waits of USER; without USER, of everybody. The messages stay in the database, unanswered."""
    if user is None and not yes:
        click.confirm("Cancel everything that waits, of every user?", abort=True)
    _, messages = _on_store(_load(config_path), lambda store, user_id: store.clear(user_id, who=WHO), user)
    click.echo(f"Waiting messages cancelled: {messages}.")


# -- how they do it -------------------------------------------------------------------------------------------------


def _load(path: Path, *, to_run: bool = False) -> "Config":
    from bot.config import ConfigError, load

    try:
        return load(path, to_run=to_run)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(MISTAKEN)


def _on_store(config: "Config", work: "Callable[[Store, int | None], Awaitable[T]]", user: str | None = None) -> T:
    """Do something with the database, daemon up or down; `work` gets the id of `user`, None without one."""
    from bot import logs
    from bot.clock import SystemClock
    from bot.errors import NotFound
    from bot.store.store import Store
    from bot.store.turns import Budget

    logs.configure(level="error")
    prices = (config.openai.price_input_per_million, config.openai.price_output_per_million)
    budget = Budget(config.limits.cost_per_day, *prices)

    async def whole() -> T:
        store = await Store.open_existing(config.store.path, clock=SystemClock(), budget=budget)
        try:
            user_id = None if user is None else await store.insights.find_user(user)
            if user is not None and user_id is None:
                raise NotFound(f"There is no user {user[:40]}: write u17, a phone number or a business-scoped id.")
            return await work(store, user_id)
        finally:
            await store.close()

    return _in_one_sentence(lambda: asyncio.run(whole()))


def _in_one_sentence(work: Callable[[], T]) -> T:
    """Do something; what can't be done is one sentence on stderr and exit code 1, no traceback."""
    from bot.errors import StartError, StoreError

    try:
        return work()
    except (StartError, StoreError) as error:
        click.echo(str(error), err=True)
        sys.exit(FAILED)


def _one_of(user: str | None, *, everything: bool) -> None:
    if (user is None) != everything:
        raise click.UsageError("Name a user, or --all.")


def _print(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)
