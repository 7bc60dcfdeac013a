"""`bot demo`: the real daemon on an emulated WhatsApp and model, with a chat page; no account needed."""

from bot.demo.run import run_demo

__all__ = ["run_demo"]
