"""Qirsh in other shapes: two processes over one database, and the cache of answers in Redis."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from bench.contenders import Contender, Ground, redis
from bench.hot_path import INITIATE, REPLAY, Run
from bench.machine import MissingToolError
from bench.table import of_contenders


async def variants(place: Ground, say: Callable[[str], None], *, rounds: int, seconds: int) -> str:
    """Measure, and return the tables."""
    with ExitStack() as stack:
        url = await place.database("variants")
        one = Contender("one process", [stack.enter_context(place.qirsh(url))], url)
        found = [one, replace(one, name="two processes", servers=[*one.servers, stack.enter_context(place.qirsh(url))])]
        try:
            redis_url = stack.enter_context(redis(place.folder))
        except MissingToolError as missing:
            say(f"The cache in Redis is not measured: {missing}")
        else:
            found.append(Contender("cache in Redis", [stack.enter_context(place.qirsh(url, redis_url=redis_url))], url))
        run = Run(place, found, rounds=rounds, seconds=seconds)
        tables = [of_contenders(work.name, await run.measure(work, say), one.name) for work in (INITIATE, REPLAY)]
        return "\n\n".join(tables)
