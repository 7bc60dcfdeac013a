"""Answer a WhatsApp number with an AI assistant: one answer to each message, in order."""

__version__ = "0.1.0"
