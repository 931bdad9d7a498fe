"""A component that makes requests by wasi:http, several at once, and prints what came of them."""

import asyncio
import hashlib
import sys

import poll_loop
from componentize_py_types import Err, Ok
from poll_loop import PollLoop, Sink, Stream
from wit_world import exports
from wit_world.imports import outgoing_handler
from wit_world.imports.types import (
    Fields,
    IncomingResponse,
    Method_Get,
    Method_Post,
    OutgoingRequest,
    Scheme_Http,
)


def asked(method, path):
    request = OutgoingRequest(Fields.from_list([("x-agent", b"python")]))
    request.set_method(method)
    request.set_scheme(Scheme_Http())
    request.set_authority("api.example")
    request.set_path_with_query(path)
    return request


async def read(response: IncomingResponse):
    stream = Stream(response.consume())
    whole = b""
    while (piece := await stream.next()) is not None:
        whole += piece
    return whole


async def get(path):
    response = await poll_loop.send(asked(Method_Get(), path))
    status = response.status()
    return status, await read(response)


async def post(path, pieces):
    """Sends and reads at the same time: an answer may begin before the request has ended."""
    request = asked(Method_Post(), path)
    sink = Sink(request.body())

    async def send():
        for piece in pieces:
            await sink.send(piece)
        sink.close()

    async def receive():
        return await read(await poll_loop.send(request))

    _, whole = await asyncio.gather(send(), receive())
    return whole


def name(error):
    """The class of an error's value, through however many results."""
    while isinstance(error, (Err, Ok)):
        error = error.value
    return type(error).__name__


async def tried(request):
    try:
        return await request
    except Err as error:
        return name(error)


async def main():
    print("get", await tried(get("/hello")))
    pieces = [bytes([index]) * 40_000 for index in range(20)]
    bodies = await asyncio.gather(*[tried(post("/echo", pieces)) for _ in range(3)])
    same = hashlib.sha256(b"".join(pieces)).digest()
    print("post", [isinstance(body, bytes) and hashlib.sha256(body).digest() == same for body in bodies])
    try:
        Fields.from_list([("host", b"other.example")])
    except Err as error:
        print("host", name(error))
    held = []
    try:
        while len(held) < 100:
            held.append(outgoing_handler.handle(asked(Method_Get(), "/never"), None))
    except Err as error:
        print("many", len(held), name(error))


class Run(exports.Run):
    """What `wasi:cli/run` is."""

    def run(self):
        loop = PollLoop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main())
        sys.stdout.flush()
