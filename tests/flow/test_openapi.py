"""The description of the API is true: it names what there is, and whatever fits it is answered as it says."""

import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
import schemathesis
from aiohttp import web
from hypothesis import Phase, settings
from schemathesis.checks import not_a_server_error

from bot.domain import Operator
from bot.store.store import Store
from bot.web.api import OPENAPI
from tests.flow.described import operations
from tests.flow.listeners import a_store, a_window, serving
from tests.flow.people import fail, lease, refuse, wait

VERBS = ("pause", "resume", "clear")
SERVICES = ("graph", "model")
# For people; a program has no use for them.
PAGES = {"/", "/users/{user_id}", "/users/{user_id}/clear", "/clear", "/messages/{id}", "/audit", "/signin", "/signout"}
API = schemathesis.openapi.from_path(OPENAPI)


def app_on(store: Store) -> web.Application:
    """Build the app on loopback, without a token."""
    return a_window(store)


async def test_the_document_describes_every_route_and_no_other(tmp_path: Path) -> None:
    """A route that nobody can find out about is none; one that isn't there is worse."""
    async with a_store(tmp_path) as store:
        resources = app_on(store).router.resources()
        routes = {(route.method, resource.canonical) for resource in resources for route in resource}
    routes = {(method, path) for method, path in routes if method != "HEAD" and not path.startswith("/static")}
    for method, path in [route for route in routes if "{verb}" in route[1]]:
        routes.remove((method, path))
        routes |= {(method, path.replace("{verb}", verb)) for verb in VERBS}
    assert {path for _, path in routes} >= PAGES
    assert operations() == {(method, path) for method, path in routes if path not in PAGES}


async def test_verbs_and_services_are_what_the_document_says(tmp_path: Path) -> None:
    """A pattern of a route says no more than its name; here are its words."""
    async with a_store(tmp_path) as store:
        patterns = {resource.get_info().get("pattern") for resource in app_on(store).router.resources()}
    for words, path in ((VERBS, "/api/{}"), (SERVICES, "/api/circuits/{}/try")):
        for word in words:
            assert any(pattern and re.fullmatch(pattern, path.format(word)) for pattern in patterns)


def test_the_document_is_openapi() -> None:
    """By its own schema."""
    API.validate()


async def fill(store: Store) -> None:
    """Let people wait, fail, be answered, be paused, and a service be shut."""
    for n in range(3):
        await fail(store, f"521555000000{n}", f"what time is it? {n}", "expired" if n else "the model broke")
    await wait(store, "5215550000003", "hola", "¿hay alguien?")
    await store.pause(await store.insights.find_user("5215550000003"), who=Operator("test"))
    await wait(store, "5215550000004", "one", "two")
    await lease(store)
    await refuse(store)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the app from a thread, as schemathesis waits for each answer."""
    loop = asyncio.new_event_loop()
    started: Future[int] = Future()
    end = asyncio.Event()

    async def serve() -> None:
        async with a_store(tmp_path_factory.mktemp("api")) as store:
            await fill(store)
            async with serving(app_on(store)) as port:
                started.set_result(port)
                await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    yield f"http://127.0.0.1:{started.result(20)}"
    loop.call_soon_threadsafe(end.set)
    thread.join()
    loop.close()


@API.exclude(path="/events").parametrize()  # which doesn't end
@settings(max_examples=10, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
def test_whatever_is_asked_is_answered_as_the_document_says(case: schemathesis.Case, address: str) -> None:
    """What fits it is taken, what doesn't is refused with 4xx, never 5xx; answers have the shapes that it names."""
    excluded = [not_a_server_error] if case.path == "/readyz" else []  # there 503 is an answer
    case.call_and_validate(base_url=address, excluded_checks=excluded)
