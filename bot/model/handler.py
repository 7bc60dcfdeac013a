"""Ask an OpenAI model, or any server that speaks one of its APIs."""

import asyncio
from itertools import groupby
from operator import itemgetter
from textwrap import shorten
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai
from openai._types import RequestOptions

from bot.clock import Clock
from bot.config import Config
from bot.domain import Answer, Question
from bot.model.answers import read_answer
from bot.model.failures import from_exception, request_id

QUOTE_CHARACTERS = 300
CONNECT_SECONDS = 10.0  # whatever the call's own limit: a busy machine must not look like no answer


class OpenAIHandler:
    """Answers by OpenAI's Responses API, or by Chat Completions for compatible servers (see domain.Handler).

    A call ends, whatever the server does, after `timeout_seconds`. Nothing is tried again here: the queue does that.
    Server, API and key are those of the start; the rest is as `config` has it when a question comes.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        known = config.openai
        self._client = openai.AsyncOpenAI(
            api_key=known.api_key.get_secret_value() or "none",  # a server at home needs no key, the package does
            base_url=known.base_url,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(follow_redirects=False),  # a POST would arrive as a GET
        )
        self._config, self._clock = config, clock
        # OpenAI keeps what it isn't told not to; other servers refuse a parameter that they don't know.
        forget = known.api == "responses" or (urlsplit(known.base_url).hostname or "").endswith(".openai.com")
        self._options = {"store": False} if forget else {}

    async def answer(self, question: Question) -> Answer:
        """Ask the model. Returns one part in Markdown, tokens and request id; raises ServiceError."""
        path, body = self._request(question)
        seconds = self._config.openai.timeout_seconds
        limits: RequestOptions = {"timeout": openai.Timeout(seconds, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)}
        try:
            async with asyncio.timeout(seconds):  # the package's own lets a body drip for ever
                # Not responses.create(): its parameters and models cost 4 ms of CPU with a history of 20 (this 0.55),
                # 11 MB, and half of what a server can get wrong passes them unnoticed.
                response = await self._client.post(path, cast_to=httpx2.Response, body=body, options=limits)
        except (openai.OpenAIError, aiohttp.ClientError, TimeoutError) as error:
            # `from None`: the package's texts may quote the key or the user.
            raise from_exception(error) from None
        return read_answer(response.content, request_id(response.headers))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _request(self, question: Question) -> tuple[str, dict[str, Any]]:
        known, items = self._config.openai, _conversation(question)
        options = {"model": known.model, **self._options}
        instructions = known.render_instructions(self._clock.now(), question.name)
        if known.api == "responses":
            return "/responses", {**options, "instructions": instructions, "input": items}
        # The prompt templates of some open models want the user to begin.
        begin = [{"role": "user", "content": "…"}] if items and items[0]["role"] == "assistant" else []
        messages = [{"role": "system", "content": instructions}, *begin, *items]
        return "/chat/completions", {**options, "messages": messages}


def _conversation(question: Question) -> list[dict[str, str]]:
    """Return history and question; what one side says in a row is one item, as some models insist on taking turns."""
    said = [(utterance.role, utterance.text) for utterance in question.history]
    for message in question.messages:
        quotes = shorten(message.quotes, QUOTE_CHARACTERS, placeholder="…") if message.quotes else ""
        said.append(("user", f'[in reply to: "{quotes}"]\n{message.body}' if quotes else message.body))
    turns = groupby((words for words in said if words[1]), key=itemgetter(0))
    return [{"role": role, "content": "\n\n".join(text for _, text in words)} for role, words in turns]
