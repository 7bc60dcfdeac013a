"""The configuration: what each key may be (settings), and how it is read, every mistake at once (loading)."""

from bot.config.loading import ConfigError, load, missing_to_run
from bot.config.settings import Config, OpenAI, WhatsApp

__all__ = ["Config", "ConfigError", "OpenAI", "WhatsApp", "load", "missing_to_run"]
