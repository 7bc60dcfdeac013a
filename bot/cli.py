"""The commands: the daemon, the demo, the check of the configuration, and what operators do in a terminal.

What only some need is imported by those: `bot status` answers without loading an HTTP server.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bot import __version__, logs
from bot.clock import Clock
from bot.config import Config, ConfigError, load
from bot.domain import Operator
from bot.errors import StartError, StoreError
from bot.report import failure_lines, status_lines
from bot.store.store import Store
from bot.store.turns import Budget

T = TypeVar("T")
WHO = Operator("cli")  # in the audit
MARKS = {True: "ok   ", False: "WRONG", None: "--   "}


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Say what is wrong with the configuration (exit code 2), or can't be done (1), without a traceback."""
        try:
            return super().invoke(ctx)
        except (ConfigError, StartError, StoreError) as error:
            click.echo(str(error), err=True)
            sys.exit(2 if isinstance(error, ConfigError) else 1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bot")
def main() -> None:
    """Answer a WhatsApp number with an AI assistant: every message once, in order.

    USER is u17, a phone number (with or without +) or a business-scoped id. For --config there is $BOT_CONFIG, too.
    """
    os.umask(0o077)  # the database holds what people wrote


def _command(function: Callable[..., None]) -> click.Command:
    """Make it a command, of which each takes --config."""
    option = click.option("--config", "path", type=Path, envvar="BOT_CONFIG", default="bot.toml", show_default=True)
    return main.command()(option(function))


@_command
def run(path: Path) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    config = load(path, to_run=True)
    from bot.daemon import run as run_daemon  # after the configuration, whose mistakes then show at once

    sys.exit(run_daemon(config))


@main.command()
@click.option("--config", expose_value=False, help="Accepted and not used: the demo brings its own configuration.")
@click.option("--model", type=click.Choice(["scripted", "openai"]), default="scripted", show_default=True)
def demo(model: str) -> None:
    """Run the daemon on an emulated WhatsApp, with a chat page in the browser. No account is needed.

    With --model openai (and OPENAI_API_KEY set) the real model answers.
    """
    from bot.demo import run_demo

    sys.exit(run_demo(model))


@_command
@click.option("--online", is_flag=True, help="Also ask WhatsApp, server.public_url and the model service.")
@click.option("--alerts", is_flag=True, help="Also send a test alert by each channel of [alerts].")
def check(path: Path, *, online: bool, alerts: bool) -> None:
    """Say every mistake in the configuration at once; with --online, whether accounts and public_url work."""
    config = load(path, to_run=True)
    click.echo(f"{path} is fine.")
    if online or alerts:
        from bot.check import check_alerts, check_online

        logs.configure(level="critical")
        findings = asyncio.run(check_online(config)) if online else []
        findings += asyncio.run(check_alerts(config)) if alerts else []
        for finding in findings:
            click.echo(f"{MARKS[finding.good]}  {finding.text}")
        sys.exit(1 if False in [finding.good for finding in findings] else 0)


@_command
def status(path: Path) -> None:
    """Show the queue: what waits, who waits, what failed, what is paused or refused."""
    config = load(path)
    click.echo("\n".join(_on_store(config, lambda store, _: status_lines(store, config.store.path))))


@_command
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
def failures(path: Path, limit: int) -> None:
    """List the failed messages, newest first, with their ids."""
    click.echo("\n".join(_on_store(load(path), lambda store, _: failure_lines(store.insights, limit))))


@_command
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**62), metavar="ID...")
@click.option("--all", "every", is_flag=True, help="Every failed message that can be retried.")
def retry(path: Path, ids: tuple[int, ...], *, every: bool) -> None:
    """Put failed messages back into the queue, by the IDs that `bot failures` shows."""
    if bool(ids) == every:
        raise click.UsageError("Name the IDs of failed messages (`bot failures` lists them), or --all.")
    retried = _on_store(load(path), lambda store, _: store.retry(None if every else ids, who=WHO))
    click.echo(f"{retried}." if retried.why else f"Messages back in the queue: {retried.retried}.")


@_command
@click.argument("user", required=False)
@click.option("--all", "every", is_flag=True, help="Everybody.")
def pause(path: Path, user: str | None, *, every: bool) -> None:
    """Stop answering a user, or everybody. What they write waits."""
    _on_store(load(path), lambda store, user_id: store.pause(user_id, who=WHO), _one_of(user, every=every))
    click.echo(f"{user or 'Everybody'}: paused.")


@_command
@click.argument("user", required=False)
@click.option("--all", "every", is_flag=True, help="Everybody; who is paused alone stays so.")
@click.option("--skip", is_flag=True, help="Don't answer what waits.")
def resume(path: Path, user: str | None, *, every: bool, skip: bool) -> None:
    """Answer a user, or everybody, again."""
    _one_of(user, every=every)
    _, skipped = _on_store(load(path), lambda store, user_id: store.resume(user_id, skip=skip, who=WHO), user)
    click.echo(f"{user or 'Everybody'}: resumed.{f' Messages skipped: {skipped}.' if skip else ''}")


@_command
@click.argument("user", required=False)
@click.option("--yes", is_flag=True, help="Don't ask, as it does on a terminal.")
def clear(path: Path, user: str | None, *, yes: bool) -> None:
    """Cancel what waits of USER; without USER, of everybody. The messages stay in the database, unanswered."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Cancel everything that waits, of {user or 'every user'}?", abort=True)
    _, messages = _on_store(load(path), lambda store, user_id: store.clear(user_id, who=WHO), user)
    click.echo(f"Waiting messages cancelled: {messages}.")


def _one_of(user: str | None, *, every: bool) -> str | None:
    if (user is None) != every:
        raise click.UsageError("Name a user, or --all.")
    return user


def _on_store(config: Config, work: Callable[[Store, int | None], Awaitable[T]], user: str | None = None) -> T:
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
