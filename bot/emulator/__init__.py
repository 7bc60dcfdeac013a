"""Play Meta's Graph API and OpenAI's API on one port, for the demo, the tests and the benchmarks.

It imports nothing else of bot: what it knows of either API it knows by itself, so that both sides can disagree.
"""

from bot.emulator.chats import Bubble, Customer
from bot.emulator.delivery import Undelivered
from bot.emulator.faults import Fault
from bot.emulator.journal import Entry
from bot.emulator.openai_shapes import Answer, ModelRequest
from bot.emulator.server import Emulator
from bot.emulator.settings import Settings, StatusPlan

__all__ = [
    "Answer",
    "Bubble",
    "Customer",
    "Emulator",
    "Entry",
    "Fault",
    "ModelRequest",
    "Settings",
    "StatusPlan",
    "Undelivered",
]
