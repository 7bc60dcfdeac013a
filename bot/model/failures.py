"""Say what a failed call to a model means: our kinds for OpenAI's codes, and how other servers put it (failures.json).

Reasons name statuses and codes and never repeat the service's own text: it may quote the key or the user's words.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import openai

from bot.backoff import asked_seconds
from bot.errors import Kind, ServiceError

# What a service does that answers with these codes, or else these statuses; and signs in "status message" that stand
# for a code, of services that have none. What an exception means, or else the kind that it is of.
_MEANINGS, _SIGNS, _CAUSES = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8")).values()
_CODES: Final = {code: (words, Kind[kind]) for words, kind, codes in _MEANINGS for code in codes.split()}
_CODE = re.compile(r"[\w.-]{1,64}", re.ASCII)


def from_exception(error: Exception) -> ServiceError:
    """Explain what the openai package, its transport or our own time limit raised."""
    if isinstance(error, openai.APIStatusError):
        wait, known_as = asked_seconds(error.response.headers), request_id(error.response.headers)
        return from_error(error.body, error.status_code, retry_after=wait, request_id=known_as)
    # On the aiohttp transport the package calls nearly all of these a timeout; the truth is further down.
    root: BaseException = error
    while root.__cause__ and not isinstance(root, aiohttp.ClientError | TimeoutError):
        root = root.__cause__
    kind, words, code = next(_CAUSES[sort.__name__] for sort in type(root).__mro__ if sort.__name__ in _CAUSES)
    return ServiceError("model", Kind[kind], words, code=code)


def from_error(body: object, status: int | None = None, **details: Any) -> ServiceError:
    """Explain an error object; `status` is None where it came with HTTP 200. `details`: retry_after, request_id."""
    error: dict[Any, Any] = body if isinstance(body, dict) else {"message": body}
    code = error.get("code")
    if status is None and isinstance(code, int) and 400 <= code < 600:
        status = code  # some proxies answer 200 and put the status inside
    names = [name for name in (code, error.get("type")) if isinstance(name, str) and _CODE.fullmatch(name)]
    if error.get("param") == "model":
        names.append("model_not_found")
    said = f"{status} {str(error.get('message'))[:4000]}"
    signs = [code for sign, code in _SIGNS if re.search(sign, said, re.IGNORECASE | re.DOTALL)]
    keys = (*names, *signs, str(status), f"{(status or 500) // 100}xx")
    words, kind = next((_CODES[key] for key in keys if key in _CODES), _CODES["5xx"])
    reason = f"the model service {words} ({', '.join([f'HTTP {status or 200}', *names[:1]])})"
    return ServiceError("model", kind, reason, code=next(iter(names), str(status or "")) or None, **details)


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the service's id of a request, for support."""
    found = headers.get("x-request-id", "")
    return found if _CODE.fullmatch(found) else None
