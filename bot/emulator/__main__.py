"""Run an emulator as a process of its own: `python -m bot.emulator --port 8090 --webhook-url http://127.0.0.1:8080/webhook`.

Every setting is an option. The first line on stdout is JSON: {"url": …, "graph_url": …, "model_url": …}.
"""

import argparse
import asyncio
import dataclasses
import functools
import json
import signal
import sys
from typing import Any, get_type_hints

from bot.emulator.server import Emulator
from bot.emulator.settings import Settings, StatusPlan


def settings_from(arguments: list[str]) -> Settings:
    """Read the command line: `--name value` for each plain setting, `--statuses` as JSON. Exits on a mistake."""
    parser = argparse.ArgumentParser(prog="python -m bot.emulator", description="Stand in for WhatsApp and a model.")
    defaults, kinds = Settings(), get_type_hints(Settings, include_extras=True)
    for member in dataclasses.fields(Settings):
        option, default = "--" + member.name.replace("_", "-"), getattr(defaults, member.name)
        add = functools.partial(parser.add_argument, option)
        parser.set_defaults(**{member.name: default})  # not in add: some Pythons write a flag's default by themselves
        told = f"{kinds[member.name].__metadata__[0]} (default: {_shown(default)})"
        if isinstance(default, bool):
            add(action=argparse.BooleanOptionalAction, help=told)
        elif isinstance(default, StatusPlan):
            add(type=_plan, metavar="JSON", help=told)
        elif isinstance(default, tuple):
            add(nargs="*", help=told)
        else:
            add(type=type(default), help=told)
    return Settings(**_without_lists(vars(parser.parse_args(arguments))))


def _shown(default: Any) -> str:
    if isinstance(default, StatusPlan):
        return json.dumps(dataclasses.asdict(default))
    if isinstance(default, bool):
        return "yes" if default else "no"
    return (" ".join(default) if isinstance(default, tuple) else str(default)) or "none"


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
