"""Ask an OpenAI model, or any server that speaks one of its APIs."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from textwrap import shorten
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai

from bot.clock import Clock
from bot.domain import Answer, Message, Question
from bot.model.answers import read_answer
from bot.model.failures import from_exception, request_id

Item = dict[str, str]  # role and content, the same in both APIs

CONNECT_SECONDS = 10.0
QUOTE_CHARACTERS = 300


class OpenAIHandler:
    """Answers by OpenAI's Responses API, or by Chat Completions for compatible servers (see domain.Handler).

    `instructions` gets the time in UTC and the user's name and gives the system prompt. A call ends, whatever the
    server does, after `timeout_seconds`. Nothing is tried again here: the queue does that.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        model: str,
        api: Literal["responses", "chat_completions"],
        instructions: Callable[[datetime, str | None], str],
        timeout_seconds: float,
        clock: Clock,
    ) -> None:
        connect = min(CONNECT_SECONDS, timeout_seconds / 2)
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none",  # a server at home needs no key, the package does
            base_url=base_url,
            max_retries=0,
            timeout=openai.Timeout(timeout_seconds, connect=connect, pool=connect),
            http_client=openai.DefaultAioHttpClient(follow_redirects=False),  # a POST would arrive as a GET
        )
        self._model = model
        self._api = api
        self._instructions = instructions
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        # OpenAI keeps what it isn't told not to; other servers refuse a parameter that they don't know.
        self._forget = api == "responses" or (urlsplit(base_url).hostname or "").endswith(".openai.com")

    async def answer(self, question: Question) -> Answer:
        """Ask the model. Returns one part in Markdown, tokens and request id; raises ServiceError."""
        path, body = self._request(question)
        try:
            async with asyncio.timeout(self._timeout_seconds):  # the package's own lets a body drip for ever
                # Not responses.create(): its parameters and models cost 4 ms of CPU with a history of 20 (this 0.55),
                # 11 MB, and half of what a server can get wrong passes them unnoticed.
                response = await self._client.post(path, cast_to=httpx2.Response, body=body)
        except (openai.OpenAIError, aiohttp.ClientError, TimeoutError) as error:
            # `from None`: the package's texts may quote the key or the user.
            raise from_exception(error, self._clock.now()) from None
        return read_answer(response.content, request_id(response.headers))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _request(self, question: Question) -> tuple[str, dict[str, Any]]:
        instructions = self._instructions(self._clock.now(), question.name)
        items = _conversation(question)
        body: dict[str, Any] = {"model": self._model, **({"store": False} if self._forget else {})}
        if self._api == "responses":
            return "/responses", body | {"instructions": instructions, "input": items}
        # The prompt templates of some open models want the user to begin.
        if items and items[0]["role"] == "assistant":
            items.insert(0, {"role": "user", "content": "…"})
        return "/chat/completions", body | {"messages": [{"role": "system", "content": instructions}, *items]}


def _conversation(question: Question) -> list[Item]:
    """Return history and question; what one side says in a row is one item, as some models insist on taking turns."""
    said = [(utterance.role, utterance.text) for utterance in question.history]
    said += [("user", _shown(message)) for message in question.messages]
    turns = groupby((words for words in said if words[1]), key=itemgetter(0))
    return [{"role": role, "content": "\n\n".join(text for _, text in words)} for role, words in turns]


def _shown(message: Message) -> str:
    if not message.quotes:
        return message.body
    return f'[in reply to: "{shorten(message.quotes, QUOTE_CHARACTERS, placeholder="…")}"]\n{message.body}'
