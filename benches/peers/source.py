"""Serves the pages of our mock server from memory, in a form that the other programs can read too.

usage: source.py ENDPOINT STORE_ID SECRET

It fetches all pages from the mock server first, prints its own address as JSON, and serves until it is terminated. Three things differ
from the mock server, and from what Yotpo may send: cursors are plain numbers, because faucet and dlt encode a percent-encoded cursor once
more; half of a surrogate pair is replaced by U+FFFD, because both end with an error at it; and so are integers of more than 64 bits by
smaller ones, because dlt ends with an error at them.
"""

import asyncio
import json
import re
import sys
import urllib.parse
import urllib.request

ESCAPES = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89abcdefABCDEF][0-9a-fA-F]{2}|\\.", re.DOTALL)
LARGE = re.compile(rb"(?<=[:\[,\s])-?[0-9]{19,}(?=[,}\]\s])")
NEXT = re.compile(rb'("next_page_info"\s*:\s*)"([^"]*)"')
QUERY = "limit=100&include_custom_properties=true&expand=loyalty"


def replace_half(match):
    escape = match.group()
    return rb"\ufffd" if len(escape) == 6 else escape


def fetch(url, headers, body=None):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:
        return response.read()


def pages(store, secret):
    """The bodies of all pages, in their order, and how many customers were changed."""
    token = json.loads(fetch(f"{store}/access_tokens", {"Content-Type": "application/json"}, json.dumps({"secret": secret}).encode()))
    headers = {"X-Yotpo-Token": token["access_token"]}
    bodies, changed, cursor = [], 0, ""
    while cursor is not None:
        body = fetch(f"{store}/customers?{QUERY}{cursor}", headers)
        match = NEXT.search(body)
        # Percent-encoded, ready for the query.
        cursor = f"&page_info={match[2].decode()}" if match else None
        body = NEXT.sub(lambda match: match[1] + b'"%d"' % (len(bodies) + 1), body)
        readable = LARGE.sub(b"9007199254740993", ESCAPES.sub(replace_half, body))
        changed += readable != body
        bodies.append(readable)
    return bodies, changed


class Connection(asyncio.Protocol):
    """One keep-alive connection. Requests have small bodies, which are skipped."""

    responses = []
    token = b""

    def __init__(self):
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, rest = self.received.split(b"\r\n\r\n", 1)
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            length = int(length[1]) if length else 0
            if len(rest) < length:
                return
            self.received = rest[length:]
            self.transport.write(self.respond(head.split(b"\r\n", 1)[0]))

    def respond(self, line):
        target = line.split(b" ")[1].decode()
        if target.endswith("/access_tokens"):
            return self.token
        number = urllib.parse.parse_qs(urllib.parse.urlsplit(target).query).get("page_info", ["0"])[0]
        return self.responses[int(number)]


def response(body):
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def serve(bodies, changed):
    Connection.responses = [response(body) for body in bodies]
    Connection.token = response(b'{"access_token":"token","token_type":"bearer"}')
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    address = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    print(json.dumps({"endpoint": address, "bytes": sum(map(len, bodies)), "pages": len(bodies), "changed_pages": changed}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    endpoint, store_id, secret = sys.argv[1:]
    try:
        asyncio.run(serve(*pages(f"{endpoint}/core/v3/stores/{store_id}", secret)))
    except KeyboardInterrupt:
        pass
