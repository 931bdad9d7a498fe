"""Asks for the one page that its manifest allows, and then for what it does not."""

from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import outgoing_handler
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import (
    Fields,
    Method_Get,
    Method_Post,
    OutgoingRequest,
    Scheme_Http,
    Scheme_Https,
)

ATTEMPTS = [
    "GET https://example.com/",
    "GET https://example.com/admin",
    "POST https://example.com/",
    "GET http://example.com/",
    "GET https://www.example.com/",
    "GET http://169.254.169.254/latest/meta-data/",
]

METHODS = {"GET": Method_Get, "POST": Method_Post}
SCHEMES = {"http": Scheme_Http, "https": Scheme_Https}


def fetch(method, url):
    """Status and body of an answer. It sends no key and has none: the gateway adds it, where the
    manifest says so."""
    parts = urlsplit(url)
    request = OutgoingRequest(Fields())
    request.set_method(METHODS[method]())
    request.set_scheme(SCHEMES[parts.scheme]())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path)
    coming = outgoing_handler.handle(request, None)
    with coming.subscribe() as ready:
        ready.block()
    told = coming.get().value
    if isinstance(told, Err):
        raise told
    answer = told.value
    with answer.consume() as body, body.stream() as stream:
        return answer.status(), read(stream)


def read(stream):
    """A stream to its end."""
    whole = b""
    while True:
        try:
            whole += stream.blocking_read(1 << 16)
        except Err as error:
            if isinstance(error.value, StreamError_Closed):
                return whole
            raise


def attempt(line):
    try:
        status, body = fetch(*line.split(" "))
        return f"{status}, {len(body)} bytes"
    except Err as error:
        return type(error.value).__name__


class Run(exports.Run):
    def run(self):
        for line in ATTEMPTS:
            print(f"{line}: {attempt(line)}")
