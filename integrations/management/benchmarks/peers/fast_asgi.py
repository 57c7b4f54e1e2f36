"""The peer that aims at speed: FastAPI on uvloop, asyncpg with SQL by hand, one count in Redis, orjson.

An ASGI application: `uvicorn integrations.management.benchmarks.peers.fast_asgi:application`. It leaves out what the product
does beside: filters, cursors, ETags, the scopes that were taken back, the hour that slides, usage.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import asyncpg
import orjson
import redis.asyncio
from fastapi import Depends, FastAPI, HTTPException, Request, Response

PAGE_SIZE: Final = 100
LIMIT: Final = 1_000_000
_CALLER: Final = """SELECT consumer.id FROM oauth2_provider_accesstoken token
    JOIN apiauth_consumer consumer ON consumer.id = token.application_id
    WHERE token.token_checksum = $1 AND token.expires > now() AND consumer.status = 'active'
    AND 'sections:read' = ANY(string_to_array(token.scope, ' '))"""
_SEATS: Final = (
    "(SELECT count(*) FROM registration_enrollment e WHERE e.section_id = section.id AND e.status = '{}')"
)
_PAGE: Final = f"""SELECT section.id, term.code AS term, section.crn, course.id AS course_id, course.code AS course,
    course.title, course.credits::numeric(20,2)::text AS credits, section.capacity,
    {_SEATS.format("enrolled")} AS enrolled, {_SEATS.format("waitlisted")} AS waitlisted,
    COALESCE((SELECT json_agg(row_to_json(meeting)) FROM (SELECT weekday, left(begins::text, 5) AS begins,
        left(ends::text, 5) AS ends, room, first_on, last_on FROM registration_sectionmeeting
        WHERE section_id = section.id ORDER BY first_on, weekday, begins) meeting), '[]') AS meetings
    FROM (SELECT * FROM registration_section ORDER BY id LIMIT {PAGE_SIZE} OFFSET $1) section
    JOIN registration_term term ON term.id = section.term_id
    JOIN registration_course course ON course.id = section.course_id ORDER BY section.id"""
_open: Final[dict[str, Any]] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=2, max_size=4) as pool:
        _open.update(pool=pool, redis=redis.asyncio.from_url(os.environ["REDIS_URL"]))
        yield


application = FastAPI(lifespan=lifespan)


async def caller(request: Request) -> int:
    token = request.headers.get("authorization", "")[7:]
    found = await _open["pool"].fetchval(_CALLER, hashlib.sha256(token.encode()).hexdigest())
    if found is None:
        raise HTTPException(401)
    name = f"{os.environ['COUNTERS_PREFIX']}:peer:{found}:{int(time.time())}"
    count, _ = await _open["redis"].pipeline(transaction=False).incr(name).expire(name, 2).execute()
    if count > LIMIT:
        raise HTTPException(429)
    return int(found)


@application.get("/sections/")
async def sections(request: Request, who: Annotated[int, Depends(caller)], page: int = 1) -> Response:
    async with _open["pool"].acquire() as connection:
        count = await connection.fetchval("SELECT count(*) FROM registration_section")
        rows = await connection.fetch(_PAGE, page * PAGE_SIZE - PAGE_SIZE)
    base = str(request.url).partition("?")[0]
    body = {
        "count": count,
        "next": f"{base}?page={page + 1}" if page * PAGE_SIZE < count else None,
        "previous": f"{base}?page={page - 1}" if page > 1 else None,
        "results": [_shown(row) for row in rows],
    }
    return Response(orjson.dumps(body), media_type="application/json")


def _shown(row: Any) -> dict[str, Any]:
    section = dict(row)
    meetings = orjson.Fragment(section.pop("meetings"))
    return {
        **section,
        "seats_available": max(0, section["capacity"] - section["enrolled"]),
        "meetings": meetings,
    }
