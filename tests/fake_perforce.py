"""A fake Perforce server: as much of its protocol as Perforce's own client library needs to list
and to print files. No server of Perforce's can be had here.

A message is a header of five bytes, the xor of the length's bytes and the length, and then
variables: name, NUL, length, value, NUL. The variable `func` says what is to be done.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from tests.loopback import running

# Changelist -> depot file -> revision and content.
Depot = Mapping[int, Mapping[str, tuple[int, bytes]]]

_BINARY = b"1"  # a type of file, as the protocol has it
_WARNING, _NONE_THERE = 2, 17  # severity and kind of a message


@contextmanager
def serving(depot: Depot) -> Iterator[str]:
    """P4PORT of a fake server that has `depot`."""

    class Handler(_Handler):
        content = depot

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server, running(server):
        server.daemon_threads = True
        yield f"127.0.0.1:{server.server_address[1]}"


class _Handler(StreamRequestHandler):
    content: Depot

    def handle(self) -> None:
        while (message := self._received()) is not None:
            function = dict(message)["func"].decode()
            if function.startswith("user-"):
                arguments = [value.decode() for name, value in message if not name]
                self._send("protocol", xfiles="7", server="3", server2="54", revver="9")
                self._answer(function.removeprefix("user-"), arguments)
                self._send("release")

    def _answer(self, command: str, arguments: Sequence[str]) -> None:
        *options, pattern = arguments or [""]
        if command == "files":
            path, _, change = pattern.rpartition("@")
            files = self.content.get(int(change), {})
            matching = {name: files[name][0] for name in files if _matches(path, name)}
            for name, number in sorted(matching.items()):
                self._send("client-FstatInfo", depotFile=name, rev=str(number), change=change)
            if not matching:
                self._warn(f"{pattern} - no such file(s).")
        elif command == "print":
            name, _, revision = pattern.rpartition("#")
            versions = (files[name] for files in self.content.values() if name in files)
            content = next(content for number, content in versions if str(number) == revision)
            path = options[options.index("-o") + 1]
            self._send("client-OpenFile", path=path, handle="h", type=_BINARY, perms="rw")
            self._send("client-WriteFile", handle="h", data=content)
            self._send("client-CloseFile", handle="h", commit="1")

    def _warn(self, text: str) -> None:
        code = _WARNING << 28 | _NONE_THERE << 16
        self._send("client-Message", code0=str(code), fmt0=text)

    def _received(self) -> list[tuple[str, bytes]] | None:
        header = self.rfile.read(5)
        if len(header) < 5:
            return None
        body = self.rfile.read(struct.unpack("<I", header[1:])[0])
        variables = []
        while body:
            name, _, rest = body.partition(b"\0")
            (size,) = struct.unpack("<I", rest[:4])
            variables.append((name.decode(), rest[4 : 4 + size]))
            body = rest[4 + size + 1 :]
        return variables

    def _send(self, function: str, **variables: Any) -> None:
        texts = {**variables, "func": function}
        values = {
            name: value if isinstance(value, bytes) else value.encode()
            for name, value in texts.items()
        }
        body = b"".join(
            name.encode() + b"\0" + struct.pack("<I", len(value)) + value + b"\0"
            for name, value in values.items()
        )
        length = struct.pack("<I", len(body))
        check = length[0] ^ length[1] ^ length[2] ^ length[3]
        self.wfile.write(bytes([check]) + length + body)


def _matches(path: str, name: str) -> bool:
    return name.startswith(path.removesuffix("...")) if path.endswith("...") else name == path
