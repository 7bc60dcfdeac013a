"""The commands: the daemon, the demo, the check of the configuration; what operators do in a terminal is in terminal/.

What only some need is imported by those: `bot status` answers without loading an HTTP server.
"""

import asyncio
import io
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from bot import __version__, logs, systemd
from bot.config import ConfigError, load
from bot.errors import BadValue, StartError, StoreError
from bot.store.migrate import check_file
from bot.terminal.commands import configured, operators

SQLITE_SETTINGS = str(Path(__file__).parent / "terminal" / "sqliterc")
HINTS = ".schema explains the tables, docs/sqlite.md has recipes, .quit ends."


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Say what is wrong with the configuration (exit code 2), or can't be done (1), without a traceback."""
        try:
            return super().invoke(ctx)
        except (ConfigError, StartError, StoreError) as error:
            click.echo(str(error), err=True)
            sys.exit(2 if isinstance(error, ConfigError | BadValue) else 1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bot")
def main() -> None:
    """Answer a WhatsApp number with an AI assistant: every message once, in order.

    USER is u17, a phone number (with or without +) or a business-scoped id. For --config there is $BOT_CONFIG, too.

    \b
    Exit codes: 0 done; 1 can't be done (why is on standard error); 2 wrong arguments or configuration.
    """
    os.umask(0o077)  # the database holds what people wrote
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what this terminal has no letter for is no reason to end
            with suppress(OSError):  # of a pipe that was opened like a file
                stream.reconfigure(errors="backslashreplace")


@main.command()
@configured
def run(path: Path) -> None:
    """Run the daemon until SIGTERM or SIGINT. SIGHUP makes it read bot.toml again."""
    config = (read := partial(load, path, os.environ | systemd.addresses(), to_run=True))()
    from bot.daemon import run as run_daemon  # after the configuration, whose mistakes then show at once

    sys.exit(run_daemon(config, read))


@main.command()
@click.option("--config", expose_value=False, help="Accepted and not used: the demo brings its own configuration.")
@click.option("--model", type=click.Choice(["scripted", "openai"]), default="scripted", show_default=True)
def demo(model: str) -> None:
    """Run the daemon on an emulated WhatsApp, with a chat page in the browser. No account is needed.

    With --model openai (and OPENAI_API_KEY set) the real model answers.
    """
    from bot.demo import run_demo

    sys.exit(run_demo(model))


@main.command()
@click.option("--root", type=click.Path(path_type=Path), default="/", show_default=True, help="Write below it.")
@click.option("--dry-run", is_flag=True, help="Ask and try all the same, show what would be written; change nothing.")
@click.option("--subscribe", is_flag=True, help="Let the business account's messages come to the token's app.")
def init(root: Path, *, dry_run: bool, subscribe: bool) -> None:
    """Install on this machine: ask, write, try the accounts. Then print the remaining steps (docs/install.md).

    Written are /etc/bot/bot.toml, each secret into a file of its own in /etc/bot/credentials, systemd's units, and the
    program itself as /usr/local/bin/bot. What is there is kept, so it can be run again. What the environment sets
    (BOT_<SECTION>__<KEY>, OPENAI_API_KEY) is not asked but written down; the verify token is made where none is set.
    """
    from bot.install import install

    logs.configure(level="critical")
    sys.exit(not install(root, dry_run=dry_run, subscribe=subscribe))


@main.command()
@configured
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
        _report(findings + (asyncio.run(check_alerts(config)) if alerts else []))


@main.command()
@configured
@click.option("--offline", is_flag=True, help="Ask nobody outside; that wants no tokens.")
def doctor(path: Path, *, offline: bool) -> None:
    """Say what is well and what to do. Looks at disk, file, daemon, permissions, and asks what check --online asks.

    \b
    A line each: ok, WRONG (then the exit code is 1), or -- for what can't be told. Nothing is changed.
    """
    config = load(path)
    from bot.doctor import examine

    logs.configure(level="critical")
    click.echo(f"Looking; to read all of {config.store.path} may take a while …", err=True)
    _report(asyncio.run(examine(config, path, offline=offline)))


def _report(findings: list[Any]) -> None:
    """Print findings of check.py, and end: with 1 where something is wrong."""
    click.echo("\n".join(map(str, findings)))
    sys.exit(1 if False in [finding.good for finding in findings] else 0)


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@configured
@click.option("--readonly", is_flag=True, help="Look only.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SQL | SQLITE3-OPTION]...")
def sql(path: Path, arguments: tuple[str, ...], *, readonly: bool) -> None:
    """Open the database with sqlite3. Or run SQL on it; docs/sqlite.md has recipes."""
    database = load(path).store.path
    check_file(database)
    options = ["-cmd", ".mode box --wrap 80"] * sys.stdout.isatty() + ["-readonly"] * readonly
    if sys.stdin.isatty() and not arguments:
        click.echo(f"{database}: {'look only' if readonly else 'what you change counts at once'}. {HINTS}", err=True)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python had it ignored, which the program would inherit
    try:
        os.execvp("sqlite3", ["sqlite3", "-init", SQLITE_SETTINGS, *options, str(database), *arguments])
    except FileNotFoundError:
        raise StartError("there is no program sqlite3 here: apt install sqlite3") from None


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes Tab complete commands. Put eval "$(bot completion bash)" into ~/.bashrc."""
    from click.shell_completion import shell_complete

    shell_complete(main, {}, "bot", "_BOT_COMPLETE", f"{shell}_source")


main.commands.update(operators.commands)
