"""Run an emulator as a process of its own: `python -m bot.emulator --port 8090 --webhook-url http://127.0.0.1:8080/webhook`.

Every setting is an option. The first line on stdout is JSON: {"url": …, "graph_url": …, "model_url": …}.
"""

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
from typing import Any

from bot.emulator.server import Emulator
from bot.emulator.settings import Settings, StatusPlan


def settings_from(arguments: list[str]) -> Settings:
    """Read the command line: `--name value` for each plain setting, `--statuses` as JSON. Exits on a mistake."""
    parser = argparse.ArgumentParser(prog="python -m bot.emulator")
    defaults = Settings()
    for member in dataclasses.fields(Settings):
        option, default = "--" + member.name.replace("_", "-"), getattr(defaults, member.name)
        if isinstance(default, bool):
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=default)
        elif isinstance(default, StatusPlan):
            parser.add_argument(option, type=_plan, default=default, metavar="JSON")
        elif isinstance(default, tuple):
            parser.add_argument(option, nargs="*", default=default)
        else:
            parser.add_argument(option, type=type(default), default=default)
    return Settings(**_without_lists(vars(parser.parse_args(arguments))))


def _plan(text: str) -> StatusPlan:
    return StatusPlan(**_without_lists(json.loads(text)))


def _without_lists(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Emulator(settings) as emulator:
        urls = {"url": emulator.url, "graph_url": emulator.graph_url, "model_url": emulator.model_url}
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_run(settings_from(sys.argv[1:])))
