"""`bot init`: ask what must be known, write configuration, secrets, program and units, try it, say what remains.

What exists already is kept, and counts instead of what is given: a second run adds what the first one lacked. Questions
are in install.json, what is told in install.txt.
"""

import asyncio
import json
import os
import re
import sys
from operator import attrgetter
from pathlib import Path

import click
from jinja2 import Template

from bot.check import check_online
from bot.config import Config, ConfigError, load
from bot.config.loading import FIELDS, SECRETS, VARIABLES
from bot.errors import StartError

HERE = Path(__file__).parent
REFERENCE, UNITS = HERE / "bot.toml", HERE / "units"  # links in a checkout
WORDS = json.loads((HERE / "install.json").read_text("utf-8"))
VALUE = r' = )("""\n.*?"""|"[^"]*"|\[.*?\]|[^\s#]+)'  # behind the name of a key in bot.toml


def install(root: Path, *, dry_run: bool, subscribe: bool) -> bool:
    """Do it below `root`; return whether all that was tried is well, but for our own address, where nobody is yet.

    Raises ConfigError for what is wrong or missing, before anything is written, and StartError.
    """
    if os.geteuid() and root == Path("/") and not dry_run:
        raise StartError(WORDS["not root"])
    config, systemd = settle(root / "etc/bot"), (root / "usr/lib/systemd/systemd").exists()
    keys = {key: attrgetter(key)(config) for key in FIELDS if attrgetter(key)(config) != attrgetter(key)(Config())}
    held = {SECRETS[key][-1]: keys.pop(key).get_secret_value() for key in SECRETS if key in keys}
    keys["store.url"] = WORDS["database"]

    files = {root / "etc/bot/credentials" / name: (value.encode(), 0o600) for name, value in held.items()}
    files[root / "etc/bot/bot.toml"] = fill_in(REFERENCE.read_text("utf-8"), keys).encode(), 0o644
    script = WORDS["script"].format(sys.executable).encode()
    files[root / "usr/local/bin/bot"] = Path(sys.executable).read_bytes() if hasattr(sys, "frozen") else script, 0o755
    for unit in sorted(UNITS.iterdir()) if systemd else ():
        text = re.sub("#(LoadCredential=(.+):)", lambda line: line[line[2] in held], unit.read_text("utf-8"))
        files[root / "etc/systemd/system" / unit.name] = text.encode(), 0o644

    kept = {path for path in files if os.path.lexists(path)}
    write({path: file for path, file in files.items() if path not in kept and not dry_run})
    findings = asyncio.run(check_online(config, subscribe=subscribe and not dry_run))
    told = {"config": config, "files": files, "kept": kept, "keys": keys, "findings": findings}
    told |= {"systemd": systemd, "dry_run": dry_run, "subscribe": subscribe}
    click.echo(Template((HERE / "install.txt").read_text("utf-8"), trim_blocks=True).render(told))
    return all(finding.good is not False for finding in findings if "/webhook" not in finding.text)


def settle(folder: Path) -> Config:
    """Return the configuration as it will be: what is there, what is given, what is asked where there is a terminal."""
    toml, held, asks = folder / "bot.toml", folder / "credentials", sys.stdin.isatty()
    places = {name: held / SECRETS[key][-1] if key in SECRETS else toml for name, key in VARIABLES.items()}
    kept = {name for name, place in places.items() if os.path.lexists(place)}
    given = {"BOT_WHATSAPP__VERIFY_TOKEN": os.urandom(16).hex(), **os.environ, "CREDENTIALS_DIRECTORY": str(held)}
    given = {name: value for name, value in given.items() if value and name not in kept}
    now = load(source := toml if os.path.lexists(toml) else REFERENCE, given)
    asked = {name: attrgetter(VARIABLES[name])(now) for name in WORDS if name in VARIABLES.keys() - given.keys() - kept}
    if not asks and (missing := [name for name, value in asked.items() if not value]):
        raise ConfigError(WORDS["nobody to ask"].format(", ".join(missing)))
    for name, value in asked.items() if asks else ():
        while name not in given:
            typed = click.prompt(WORDS[name], default=value or None, hide_input=VARIABLES[name] in SECRETS).strip()
            try:
                load(source, given | {name: typed})
                given[name] = typed
            except ConfigError as error:
                click.echo(str(error).splitlines()[-1])
    return load(source, given, to_run=True)


def fill_in(text: str, keys: dict[str, object]) -> str:
    """Set keys ("store.url") in the text of bot.toml; its comments stay."""
    for key, value in keys.items():  # JSON's texts, numbers, booleans and lists are TOML's, too
        written = json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f").replace("\\", r"\\")
        text = re.sub(r"(?ms)(^\[" + key.replace(".", r"\].*?^") + VALUE, rf"\g<1>{written}", text)
    return text


def write(files: dict[Path, tuple[bytes, int]]) -> None:
    """Write each whole or not at all, at no time open to more than its mode says. Raises StartError."""
    os.umask(0o022)  # the daemon's own user reads bot.toml
    for path, (content, mode) in files.items():
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(0o755 if mode & 0o4 else 0o700, parents=True, exist_ok=True)
            part.touch(mode)
            with part.open("wb", buffering=0) as file:
                file.write(content)
                os.fsync(file)
            part.rename(path)
        except OSError as error:
            raise StartError(f"{path} can't be written: {error.strerror}") from error
