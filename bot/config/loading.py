"""Read defaults, then bot.toml, then the environment, and say every mistake at once.

By hand: pydantic-settings stops at the first source with a mistake and passes over unknown names in the environment.
Values travel flat, by dotted key, until the models check them.
"""

import difflib
import json
import os
import re
import shlex
import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from string import Template
from typing import Any

from pydantic import SecretStr, ValidationError

from bot.config.settings import Config

FIELDS = {f"{name}.{key}": field for name, part in Config() for key, field in type(part).model_fields.items()}
VARIABLES = {f"BOT_{key.upper().replace('.', '__')}": key for key in FIELDS}
SECRETS = {key: [name] for name, key in VARIABLES.items() if FIELDS[key].annotation is SecretStr}
VARIABLES["OPENAI_API_KEY"] = "openai.api_key"
SECRETS["openai.api_key"].append("OPENAI_API_KEY")

LONGEST_SHOWN = 30  # a longer wrong value is not repeated: it may be a token that landed in the wrong place
IN_WORDS = json.loads(Path(__file__).with_name("words.json").read_text("utf-8"))  # pydantic's words, and ours


class ConfigError(Exception):
    """The configuration can't be used; the text has a heading, then a line for each mistake: key, what, what to do."""


def load(path: Path, environ: Mapping[str, str] = os.environ, *, to_run: bool = False) -> Config:
    """Read the configuration, secrets included, and make its paths absolute: they are relative to path's folder.

    The environment wins over the file, and over a systemd credential of the same name; there an empty secret is a
    missing one. Raises ConfigError with every mistake that can be seen; `to_run` counts what is missing to run, too:
    who only looks at the file has no tokens as a rule.
    """
    problems: list[str] = []
    written = _read_file(path, problems)
    values = _flatten(written or {}, problems)
    origins = _add_environment(values, environ, problems)
    config = _validate(values, origins, problems)
    if written is not None:  # otherwise half of each contradiction would be a default that nobody chose
        wrong = {VARIABLES.get(name, name) for name, *_ in map(str.split, problems)}
        further = (*_contradictions(config), *(missing_to_run(config) if to_run else ()))
        problems += [problem for problem in further if wrong.isdisjoint(re.findall(r"\w+\.\w+", problem))]
    config = _resolve_paths(config, path.absolute().parent, problems)
    if told := list(dict.fromkeys(problems)):
        heading = f"{path}: {len(told)} mistake{'s' if len(told) > 1 else ''}"
        raise ConfigError("\n".join(told if written is None else [heading, *told]))  # one that can't be read is named
    return config


def missing_to_run(config: Config) -> tuple[str, ...]:
    """Return a line for each thing that `bot run` wants beyond a configuration without mistakes."""
    wanted = ["whatsapp.phone_number_id", *(key for key in SECRETS if not key.startswith(("admin.", "alerts.")))]
    missing = [f"{key} is missing; {_how_to_set(key)}" for key in wanted if not attrgetter(key)(config)]
    if (config.admin.exposed or config.admin.read_token) and not config.admin.token:
        others = "others than this machine can reach the status page"
        why = others if config.admin.exposed else "admin.read_token alone is set"
        missing.append(f"admin.token is missing, and {why}; {_how_to_set('admin.token')}")
    return tuple(missing)


def _read_file(path: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        problems.append(f"{path} does not exist; run in the folder with bot.toml or give --config PATH")
    except OSError as error:
        problems.append(f"{path} can't be read ({error.strerror}); give --config PATH with a readable file")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problems.append(f"{path} is not UTF-8 in line {line}; save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        problems.append(f'{path} is not TOML: {error}; a line is key = value, texts stand in "quotes"')
    return None


def _flatten(written: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, content in written.items():
        known = section in Config.model_fields and isinstance(content, dict)
        flat |= {f"{section}.{name}": value for name, value in content.items()} if known else {section: content}
    for key in flat:
        if key in SECRETS:
            problems.append(f"{key} is a secret and has no place in this file; {_how_to_set(key)}")
        elif key in Config.model_fields:
            problems.append(f"{key} must be a section; write [{key}] and its keys below it")
        elif key not in FIELDS:
            nearest = _nearest(key, FIELDS if "." in key else (*Config.model_fields, *FIELDS))
            problems.append(f"{key} is not known here; {nearest}")
    return {key: value for key, value in flat.items() if key in FIELDS and key not in SECRETS}


def _add_environment(values: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """Put environment and credentials over the file; return which key came from which variable."""
    origins = {}
    misread = {name.replace("__", "_") for name in VARIABLES}
    others = sorted(environ.keys() - VARIABLES)
    unknown = [name for name in others if name in misread or re.fullmatch("BOT_.*__.*", name)]
    problems += [f"{name} sets nothing; {_nearest(name.upper(), VARIABLES)}" for name in unknown]
    for name, key in VARIABLES.items():
        if key in SECRETS:
            text = environ.get(name) or _credential(name, environ, problems)
            if not re.fullmatch("[!-~]*", text) and not (key == "whatsapp.verify_token" and text.isprintable()):
                problems.append(f"{name} has a space or another character that no token has; copy it once more")
            values[key] = values.get(key) or SecretStr(text)
        elif re.search("[\udc80-\udcff]", environ.get(name, "")):  # os.environ's way to carry other bytes
            problems.append(f"{name} is not UTF-8; set it again in UTF-8")
        elif name in environ:
            origins[key] = name
            values[key] = environ[name]
            with suppress(ValueError):  # the models say what it should have been
                values[key] = environ[name] if FIELDS[key].annotation is str else json.loads(environ[name])
    return origins


def _credential(name: str, environ: Mapping[str, str], problems: list[str]) -> str:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    try:
        return (Path(folder) / name).read_text(encoding="utf-8").rstrip("\r\n") if folder else ""
    except (OSError, UnicodeDecodeError) as error:
        if not isinstance(error, FileNotFoundError):
            problems.append(f"{name} can't be read as a credential; look at the file {folder}/{name}")
        return ""


def _validate(values: Mapping[str, Any], origins: Mapping[str, str], problems: list[str]) -> Config:
    """Return the configuration without the values that are wrong, and name those in plain words."""
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, name = key.split(".")
        nested.setdefault(section, {})[name] = tuple(value) if isinstance(value, list) else value
    try:
        return Config.model_validate(nested)
    except ValidationError as error:
        details = error.errors(include_url=False)
    wrong = set()
    for detail in details:
        wrong.add(key := ".".join(map(str, detail["loc"][:2])))
        what = detail["msg"]
        for jargon, plain in IN_WORDS.items():
            what = what.replace(jargon, plain)
        value = json.dumps(detail["input"], ensure_ascii=False, default=str).encode(errors="replace").decode()
        if len(value) > LONGEST_SHOWN or "@" in value:
            value = f"what stands there ({len(value)} characters)"
        problems.append(f"{origins.get(key, key)} {what}, not {value}; {_how_to_set(key, origins.get(key))}")
    return _validate({key: value for key, value in values.items() if key not in wrong}, origins, problems)


def _nearest(name: str, known: Collection[str]) -> str:
    ends = {key: re.split(r"\.|__", key)[-1] for key in (*known, name)}  # sections alike make no keys alike
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
    end = difflib.get_close_matches(ends.pop(name), ends.values(), n=1, cutoff=0.55)
    best = " or ".join(near or [key for key in known if ends[key] in end])
    best += f": {_how_to_set(best)}" if best in SECRETS else ""
    return f"the nearest known is {best}" if best else "nothing is called like it, take it out"


def _how_to_set(key: str, variable: str | None = None) -> str:
    if key in SECRETS:
        return (
            f"set {' or '.join(SECRETS[key])} in the environment, or in a file of that name in $CREDENTIALS_DIRECTORY"
        )
    example = (FIELDS[key].examples or [FIELDS[key].default])[0]
    written = json.dumps(example, ensure_ascii=False)
    if variable:
        return f"write for example {variable}={shlex.quote(example if isinstance(example, str) else written)}"
    return f"write for example {key.split('.')[1]} = {written}"


def _contradictions(config: Config) -> Iterator[str]:
    """Yield a line for what no key can say alone; it names all the keys concerned."""
    server, admin, openai = config.server, config.admin, config.openai
    if admin.token and admin.token == admin.read_token:
        yield "admin.read_token must not be the same as admin.token: who may only look could act; make another"
    if server.port == admin.port != 0 and (server.host == admin.host or {server.host, admin.host} & {"0.0.0.0", "::"}):
        yield f"admin.port must not be {admin.port} like server.port; give each listener a port of its own"
    for word in sorted(set(Template(openai.instructions).get_identifiers()) - {"now", "name"}):
        yield f"openai.instructions has ${word}, which nothing fills in; $now and $name are known, $$ is a $"
    if config.limits.cost_per_day and not openai.price_input_per_million + openai.price_output_per_million:
        fix = "set openai.price_input_per_million and openai.price_output_per_million"
        yield f"limits.cost_per_day limits nothing while both prices are 0; {fix}"
    if config.alerts.whatsapp_template and not config.alerts.whatsapp_to:
        yield f"alerts.whatsapp_template is sent to nobody; {_how_to_set('alerts.whatsapp_to')}"


def _resolve_paths(config: Config, folder: Path, problems: list[str]) -> Config:
    openai, store = config.openai, config.store
    if openai.instructions_file:
        file = folder / openai.instructions_file
        try:
            if not (instructions := file.read_text(encoding="utf-8-sig").strip()):
                raise ValueError
            openai = openai.model_copy(update={"instructions": instructions})
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the name
            reason = getattr(error, "strerror", None) or "empty, or no text in UTF-8"
            problems.append(f"openai.instructions_file can't be read ({reason}); look at {file}")
    store = store.model_copy(update={"url": f"sqlite:///{(folder / store.path).resolve()}"})
    return config.model_copy(update={"openai": openai, "store": store})
