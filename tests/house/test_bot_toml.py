"""bot.toml is the reference of the configuration: every key, its default, and what it is for."""

import importlib
import re
import tomllib
from typing import Any

from pydantic import BaseModel

from tests.house.tree import ROOT

TOML = ROOT / "bot.toml"
TEXT = TOML.read_text(encoding="utf-8") if TOML.exists() else ""


def written() -> dict[str, dict[str, Any]]:
    """Return bot.toml by section and key."""
    return tomllib.loads(TEXT)


def modelled() -> dict[str, dict[str, Any]]:
    """Return the defaults of bot.config.Config by section and key, without the secrets."""
    if not TEXT:
        return {}
    config: type[BaseModel] = importlib.import_module("bot.config").Config
    return {
        section: {
            key: field.get_default(call_default_factory=True, validated_data={})
            for key, field in section_field.annotation.model_fields.items()
            if "Secret" not in str(field.annotation)
        }
        for section, section_field in config.model_fields.items()
        if isinstance(section_field.annotation, type) and issubclass(section_field.annotation, BaseModel)
    }


def keys(sections: dict[str, dict[str, Any]]) -> set[str]:
    """Return the dotted names of all keys."""
    return {f"{section}.{key}" for section, values in sections.items() for key in values}


def undocumented(text: str) -> set[str]:
    """Return the keys that have no comment: behind the value, or in the lines just above."""
    missing, section, comment_above = set(), "", False
    for line in text.splitlines():
        if header := re.match(r"\[(\w+)\]", line):
            section, comment_above = header[1], False
        elif line.startswith("#"):
            comment_above = True
        elif key := re.match(r"(\w+) *=", line):
            if not comment_above and "#" not in re.sub(r'"[^"]*"', "", line):
                missing.add(f"{section}.{key[1]}")
            comment_above = False
        elif not line.strip():
            comment_above = False
    return missing


def test_bot_toml_and_the_model_know_the_same_keys() -> None:
    """A key that only the code knows can't be found; one that only the file knows does nothing."""
    assert keys(written()) == keys(modelled())


def test_bot_toml_shows_the_defaults() -> None:
    """What the file shows is what holds where the line is missing."""
    defaults = modelled()
    different = {
        f"{section}.{key}": (value, defaults[section][key])
        for section, values in written().items()
        for key, value in values.items()
        if key in defaults.get(section, {})
        and value != (list(defaults[section][key]) if isinstance(value, list) else defaults[section][key])
    }
    assert different == {}


def test_every_key_of_bot_toml_has_a_comment() -> None:
    """The comment gives unit and reason, on the line or above it."""
    assert undocumented(TEXT) == set()


def test_no_secret_has_a_place_in_bot_toml() -> None:
    """Secrets come from the environment or from credentials; a file that is copied about is no place for them."""
    assert re.findall(r"^\w*(?:token|secret|api_key|password) *=", TEXT, re.MULTILINE) == []


def test_a_key_without_a_comment_is_found() -> None:
    """The search for comments knows both places, and that a # in a string is none."""
    text = '[a]\nx = 1  # seconds\n# what y is\ny = "#"\nz = "#"\n\n# apart\n\nw = [\n  "v",\n]\n'
    assert undocumented(text) == {"a.z", "a.w"}
