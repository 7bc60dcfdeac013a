"""The configuration: what keys may be (settings), read with every mistake at once (loading), read anew (reloading)."""

from bot.config.loading import ConfigError, load, missing_to_run
from bot.config.reloading import take_over
from bot.config.settings import Admin, Config, OpenAI, Server, WhatsApp

__all__ = ["Admin", "Config", "ConfigError", "OpenAI", "Server", "WhatsApp", "load", "missing_to_run", "take_over"]
