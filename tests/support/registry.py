"""A registry of images on this machine, for tests that push and pull where no other can be had.

As much of the OCI distribution specification as the daemon asks of it: logins, uploads in one stream, mounts.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from mcwbuild.contract import disk

_PIECE = 1 << 20  # bytes
_BLOB = re.compile(r"/v2/(?P<name>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})")
_UPLOAD = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<upload>[0-9a-f]*)(\?(?P<query>.*))?")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/?]+)")


@dataclass
class Registry:
    """What it holds: blobs as files by their digest, manifests by (name, tag or digest), who pushed."""

    folder: Path
    user: str
    password: str
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    address: str = ""

    def blob(self, digest: str) -> Path:
        """Where a blob lies."""
        return self.folder / digest.replace(":", "-")


class _Answers(BaseHTTPRequestHandler):
    registry: ClassVar[Registry]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""

    def _answer(self, code: int, headers: dict[str, str], body: bytes = b"", size: int | None = None) -> None:
        self.send_response(code)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _known(self) -> bool:
        pair = f"{self.registry.user}:{self.registry.password}".encode()
        if self.headers.get("Authorization") == f"Basic {base64.b64encode(pair).decode()}":
            return True
        self._body(None)
        self._answer(401, {"WWW-Authenticate": 'Basic realm="tests"'})
        return False

    def _body(self, into: Path | None) -> bytes:
        """The request's body, appended to a file or returned."""
        kept = b""
        file = None if into is None else into.open("ab")
        for piece in self._pieces():
            if file is not None:
                file.write(piece)
            else:
                kept += piece
        if file is not None:
            file.close()
        return kept

    def _pieces(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, _PIECE))
            left -= len(piece)
            yield piece

    def do_GET(self) -> None:
        """A blob or a manifest, or whether this is a registry."""
        if not self._known():
            return
        if self.path == "/v2/":
            self._answer(200, {})
        elif found := _BLOB.fullmatch(self.path):
            file = self.registry.blob(found["digest"])
            if not file.is_file():
                self._answer(404, {})
                return
            body = b"" if self.command == "HEAD" else file.read_bytes()
            headers = {"Docker-Content-Digest": found["digest"], "Content-Type": "application/octet-stream"}
            self._answer(200, headers, body, file.stat().st_size)
        elif (found := _MANIFEST.fullmatch(self.path)) and (
            held := self.registry.manifests.get((found["name"], found["reference"]))
        ):
            digest = f"sha256:{hashlib.sha256(held[1]).hexdigest()}"
            self._answer(200, {"Content-Type": held[0], "Docker-Content-Digest": digest}, held[1])
        else:
            self._answer(404, {})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """An upload begins, or a blob that is here already is taken for another name too."""
        if not self._known():
            return
        self._body(None)
        found = _UPLOAD.fullmatch(self.path)
        assert found is not None, self.path
        mount = re.search(r"mount=(sha256(?:%3A|:)[0-9a-f]{64})", found["query"] or "")
        if mount and self.registry.blob(mount[1].replace("%3A", ":")).is_file():
            self._answer(201, {"Location": f"/v2/{found['name']}/blobs/{mount[1].replace('%3A', ':')}"})
            return
        upload = secrets.token_hex(8)
        (self.registry.folder / upload).touch()
        self._answer(202, {"Location": f"/v2/{found['name']}/blobs/uploads/{upload}", "Docker-Upload-UUID": upload})

    def do_PATCH(self) -> None:
        """More of an upload."""
        if not self._known():
            return
        found = _UPLOAD.fullmatch(self.path)
        assert found is not None, self.path
        file = self.registry.folder / found["upload"]
        self._body(file)
        where = f"/v2/{found['name']}/blobs/uploads/{found['upload']}"
        self._answer(202, {"Location": where, "Range": f"0-{max(0, file.stat().st_size - 1)}"})

    def do_PUT(self) -> None:
        """An upload ends, or a manifest comes."""
        if not self._known():
            return
        if found := _UPLOAD.fullmatch(self.path):
            file = self.registry.folder / found["upload"]
            self._body(file)
            digest = f"sha256:{disk.sha256_of(file)}"
            wanted = (found["query"] or "").replace("%3A", ":")
            if digest not in wanted:
                self._answer(400, {})
                return
            file.replace(self.registry.blob(digest))
            self._answer(201, {"Location": f"/v2/{found['name']}/blobs/{digest}", "Docker-Content-Digest": digest})
            return
        found = _MANIFEST.fullmatch(self.path)
        assert found is not None, self.path
        body = self._body(None)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        for reference in (found["reference"], digest):
            self.registry.manifests[found["name"], reference] = (self.headers["Content-Type"], body)
        self._answer(201, {"Location": f"/v2/{found['name']}/manifests/{digest}", "Docker-Content-Digest": digest})


@contextmanager
def serving(folder: Path, user: str, password: str) -> Iterator[Registry]:
    """A registry that answers on this machine alone: daemons take plain HTTP from 127.0.0.1."""
    registry = Registry(folder, user, password)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"registry": registry}))
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
