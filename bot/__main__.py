"""Run the commands, as `bot` or as `python -m bot`."""

import os
import signal
import sys


def main() -> None:
    """Run a command. A daemon that is stopped while its code is loaded has begun nothing, and ends well."""
    if sys.argv[1:2] == ["run"]:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the configuration isn't read yet
    from bot.cli import main as commands  # takes its time

    commands()


if __name__ == "__main__":
    main()
