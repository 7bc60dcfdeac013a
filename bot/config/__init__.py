"""The configuration: what each key may be (settings), and how it is read, every mistake at once (loading)."""

from bot.config.loading import ConfigError, load, missing_to_run
from bot.config.settings import Admin, Config, OpenAI, Server, WhatsApp

__all__ = ["Admin", "Config", "ConfigError", "OpenAI", "Server", "WhatsApp", "load", "missing_to_run"]
