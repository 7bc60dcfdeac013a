"""`bot doctor`: look at the machine, the file and the daemon here, then ask those outside as `bot check --online` does.

What each answer means is said in words: check.json. What the file tells is judged where it is read: insights.sql.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from platform import python_version

from bot import __version__
from bot.check import Finding, check_online, told
from bot.clock import Clock, readable
from bot.config import Config
from bot.config.loading import missing_to_run
from bot.errors import StartError, StoreError
from bot.store.store import Store
from bot.store.turns import Budget
from bot.terminal.report import daemon_runs


async def examine(config: Config, path: Path, *, offline: bool) -> list[Finding]:
    """Say how all is that `path`, a bot.toml, names; nothing is changed and nothing sent to anybody.

    All of the file is read (some 100 MB a second), while the daemon goes on writing.
    """
    database, found = config.store.path, [told("versions", "known", bot=__version__, python=python_version())]
    try:
        mends = "; ".join(_mends(path, database, path.parent / (config.openai.instructions_file or path.name)))
        found.append(told("permissions", "open" if mends else "closed", mends=mends))
        store = await Store.open_existing(database, clock=Clock(), budget=Budget.of(config))
        try:
            await store.try_writing()
            copied = max((copy.stat().st_mtime for copy in database.parent.glob("backups/bot-*.db")), default=None)
            known = {"running": daemon_runs(database), "copied": copied, "silent_hours": config.alerts.no_webhook_hours}
            rows = await store.insights.examined(known | {"reasons": "; ".join(await store.reasons())})
        finally:
            await store.close()
        found += [told(row["topic"], row["how"], **json.loads(readable(row["known"]))) for row in rows]
    except (StartError, StoreError, OSError) as error:  # OSError: a file that is being taken away
        found.append(Finding(False, f"{error}."))
    lacking = [Finding(False, f"{lack}.") for lack in missing_to_run(config)]
    return found if offline else [*found, *(lacking or await check_online(config))]


def _lets(file: Path, who: os.stat_result, bit: int) -> bool:
    seen = file.stat()
    return bool(seen.st_mode >> (6 if seen.st_uid == who.st_uid else 3 if seen.st_gid == who.st_gid else 0) & bit)


def _mends(path: Path, database: Path, instructions: Path) -> Iterator[str]:
    """Yield what others could read or change, and what the owner of the database's folder could not, with remedies."""
    secret = (*path.parent.glob("*.env"), *path.parent.glob("credentials/*"))
    private = tuple(database.parent.glob(f"{database.name}*"))
    shut = {path: 0o002, path.parent: 0o002} | dict.fromkeys(secret, 0o007) | dict.fromkeys(private, 0o077)
    for file, bits in shut.items():
        if file.stat().st_mode & bits and file.parent.stat().st_mode & (0o001 | bits & 0o010):  # let in by the folder
            yield f"{file} is open to others: chmod {'o-w' if bits == 0o002 else 'go='} {file}"
    owners, folder, who = {file.stat().st_uid for file in private}, database.parent, database.parent.stat()
    for file in sorted({path, instructions}) if who.st_uid else ():  # the daemon runs as who has the folder
        if not (_lets(file, who, 4) and all(_lets(above, who, 1) for above in file.resolve().parents)):
            yield f"{folder}'s owner, who runs the bot, can't read {file}: chmod a+r, or take it out of a closed folder"
    alone = owners and not who.st_mode & 0o022  # only its owner may write there
    if len(owners | ({who.st_uid} if alone else set())) > 1:
        yield f"{database} isn't its folder's owner's: chown --reference={folder} {database}*"
