"""The reasons not to be ready that only the process knows; what the database can know, the store says."""


class Health:
    """Reasons in words, each under a key, set by the daemon and shown by the web. A new one is starting."""

    def __init__(self) -> None:
        self._reasons = {"start": "starting"}

    def set(self, key: str, reason: str) -> None:
        """Note why messages can't be answered; a reason under the same key is replaced."""
        self._reasons[key] = reason

    def clear(self, key: str) -> None:
        """Take a reason back; nothing happens where there is none."""
        self._reasons.pop(key, None)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons in force, oldest first; empty while nothing stands in the way."""
        return tuple(self._reasons.values())
