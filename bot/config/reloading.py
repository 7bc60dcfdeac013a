"""What of a configuration that was read anew can count at once."""

from operator import attrgetter

from bot.config.loading import FIELDS, SECRETS
from bot.config.settings import Config

SECTIONS = {"openai", "limits", "alerts", "replies"}
FOR_THE_START = {*SECRETS, "openai.base_url", "openai.api"}


def take_over(config: Config, new: Config) -> tuple[list[str], list[str]]:
    """Put what can change while the daemon runs into `config`; return the keys that did, and those that want a restart.

    What other keys say stays as it is.
    """
    different = [key for key in FIELDS if attrgetter(key)(config) != attrgetter(key)(new)]
    taken = [key for key in different if key.split(".")[0] in SECTIONS and key not in FOR_THE_START]
    for section, name in (key.split(".") for key in taken):
        changed = getattr(config, section).model_copy(update={name: attrgetter(f"{section}.{name}")(new)})
        setattr(config, section, changed)
    return taken, [key for key in different if key not in taken]
