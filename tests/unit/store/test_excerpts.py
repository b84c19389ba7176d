from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.archives import noise, package, zipped
from tests.fakes import Silent
from tests.loopback import Handler, serving

from envmatrix.errors import Absent, LookupFailed
from envmatrix.excerpts.planning import is_promising, plan_excerpt
from envmatrix.excerpts.reading import BytesReader
from envmatrix.lock.lock_file import dumps
from envmatrix.lock.model import Excerpt, Lock, PackageSet, Range, ReleaseRequest
from envmatrix.machine.http import WrongContent
from envmatrix.machine.origins import Origins
from envmatrix.parallel import INTERRUPTION
from envmatrix.store.artifacts import Content, Store
from envmatrix.store.downloads import Fetcher, Mirror, RemoteFile
from envmatrix.store.excerpts import open_reader
from envmatrix.store.mirrors import DirectoryMirror

BASES = ("http://first.example", "http://second.example")

LARGE = noise(1_000_000)
WHOLE = zipped(
    ("lib/a.so", LARGE, 0o755),
    ("include/a.h", b"the text of a header", 0o644),
    ("lib/b.so", LARGE, 0o755),
    ("include/b.h", b"the text of another header", 0o644),
)
ITEM = package(WHOLE, "a-1-py3-none-any.whl")


def excerpt_of_whole() -> Excerpt:
    excerpt = plan_excerpt(ITEM, BytesReader(WHOLE), ("include/*",), 0)
    assert excerpt
    return excerpt


EXCERPT = excerpt_of_whole()
FIRST, LAST = EXCERPT.ranges


def part_of(request: httpx.Request) -> tuple[int, int] | None:
    """Return the first byte and the last one of a request for a range."""
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
    return (int(match[1]), int(match[2])) if match else None


def serve(request: httpx.Request, content: bytes = WHOLE) -> httpx.Response:
    """Answer as a server with ranges does."""
    part = part_of(request)
    if part is None:
        return httpx.Response(200, content=content)
    start, last = part
    headers = {"Content-Range": f"bytes {start}-{last}/{len(content)}"}
    return httpx.Response(206, content=content[start : last + 1], headers=headers)


Answer = Callable[[httpx.Request], httpx.Response]


@dataclass
class Downloads:
    """A store, and the requests of downloads to it: what they asked for, and its size."""

    store: Store
    origins: Origins
    mirror: Mirror | None = None
    requests: list[str] = field(default_factory=list)
    meter: Silent = field(default_factory=Silent)

    def fetch(self, answer: Answer, excerpt: Excerpt = EXCERPT) -> None:
        def listen(request: httpx.Request) -> httpx.Response:
            self.requests.append(request.headers.get("Range", "whole"))
            return answer(request)

        with httpx.Client(transport=httpx.MockTransport(listen)) as client:
            fetcher = Fetcher(self.store, self.origins, client, lambda _: None, self.mirror)
            fetcher.fetch([excerpt], self.meter)

    def put(self, content: Content, text: bytes) -> None:
        with self.store.incoming(content) as partial:
            partial.write_bytes(text)
            self.store.keep(content, partial)

    @property
    def has_excerpt(self) -> bool:
        if not self.store.verified(EXCERPT):
            return False
        with zipfile.ZipFile(self.store.path(EXCERPT)) as archive:
            return archive.namelist() == ["include/a.h", "include/b.h"]


def origins_in(directory: Path, *bases: str) -> Origins:
    config = directory / "config.toml"
    config.write_text(f"[mirrors]\ndebian = {json.dumps(bases)}\n")
    return Origins(config, {}, directory, ("", ""))


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(Store(tmp_path / "store"), origins_in(tmp_path, *BASES))


def header(part: Range) -> str:
    return f"bytes={part.offset}-{part.offset + part.size - 1}"


RANGES = [header(FIRST), header(LAST)]


def test_only_ranges_of_a_file_are_downloaded(downloads: Downloads) -> None:
    downloads.fetch(serve)
    assert downloads.requests == RANGES
    assert downloads.has_excerpt
    assert not downloads.store.has(ITEM)
    downloads.fetch(serve)
    assert downloads.requests == RANGES


def test_an_excerpt_is_made_of_the_whole_file_if_that_is_there(downloads: Downloads) -> None:
    downloads.put(ITEM, WHOLE)
    downloads.fetch(serve)
    assert downloads.requests == []
    assert downloads.has_excerpt
    assert all(map(downloads.store.verified, EXCERPT.ranges))


def test_a_damaged_range_is_downloaded_again(downloads: Downloads) -> None:
    downloads.fetch(serve)
    file = downloads.store.path(LAST)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().swapcase())
    downloads.fetch(serve)
    assert downloads.requests == [*RANGES, header(LAST)]
    assert downloads.has_excerpt


def test_a_damaged_excerpt_is_made_again(downloads: Downloads) -> None:
    downloads.fetch(serve)
    file = downloads.store.path(EXCERPT)
    file.chmod(0o644)
    file.write_bytes(b"damaged")
    downloads.fetch(serve)
    assert downloads.requests == RANGES
    assert downloads.has_excerpt


def ignore_ranges(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=WHOLE)


def misreport(request: httpx.Request) -> httpx.Response:
    response = serve(request)
    if response.status_code == 206:
        response.headers["Content-Range"] = f"bytes 0-9/{len(WHOLE)}"
    return response


def report_another_size(request: httpx.Request) -> httpx.Response:
    response = serve(request)
    if response.status_code == 206:
        response.headers["Content-Range"] += "0"
    return response


def report_nothing(request: httpx.Request) -> httpx.Response:
    response = serve(request)
    return httpx.Response(response.status_code, content=response.content)


def shift(request: httpx.Request) -> httpx.Response:
    """Answer with other bytes than the header says."""
    response = serve(request)
    if response.status_code == 200:
        return response
    content = response.content[1:] + b"x"
    return httpx.Response(206, content=content, headers=response.headers)


def truncate(request: httpx.Request) -> httpx.Response:
    response = serve(request)
    if response.status_code == 200:
        return response
    headers = {"Content-Range": response.headers["Content-Range"]}
    return httpx.Response(206, content=response.content[:-1], headers=headers)


def lengthen(request: httpx.Request) -> httpx.Response:
    response = serve(request)
    if response.status_code == 200:
        return response
    headers = {"Content-Range": response.headers["Content-Range"]}
    return httpx.Response(206, content=response.content + b"x", headers=headers)


def refuse(request: httpx.Request) -> httpx.Response:
    return serve(request) if part_of(request) is None else httpx.Response(416)


def break_off(request: httpx.Request) -> httpx.Response:
    if part_of(request):
        raise httpx.ReadError("the connection ended", request=request)
    return serve(request)


def change(request: httpx.Request) -> httpx.Response:
    """Have another file after the first range."""
    part = part_of(request)
    return serve(request, WHOLE if part is None or part[0] == FIRST.offset else WHOLE[::-1])


@pytest.mark.parametrize(
    "answer",
    [
        ignore_ranges,
        misreport,
        report_another_size,
        report_nothing,
        shift,
        truncate,
        lengthen,
        refuse,
        break_off,
        change,
    ],
)
def test_the_whole_file_makes_up_for_ranges_that_are_not_right(
    downloads: Downloads, answer: Answer
) -> None:
    downloads.fetch(answer)
    assert downloads.requests[-1] == "whole"
    assert downloads.requests.count("whole") == 1
    assert downloads.store.verified(ITEM)
    assert downloads.has_excerpt


def test_a_range_that_ends_too_early_once_is_downloaded_again(downloads: Downloads) -> None:
    failures = iter([truncate])
    downloads.fetch(lambda request: next(failures, serve)(request))
    assert downloads.requests == [RANGES[0], *RANGES]


def test_another_server_may_have_the_range_that_one_changed(downloads: Downloads) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return change(request) if request.url.host == "first.example" else serve(request)

    downloads.fetch(answer)
    assert downloads.requests == [*RANGES, header(LAST)]
    assert downloads.has_excerpt


def test_a_file_that_changed_as_a_whole_is_refused(downloads: Downloads) -> None:
    with pytest.raises(LookupFailed, match="no server has") as caught:
        downloads.fetch(lambda request: serve(request, WHOLE[::-1]))
    assert "the lock names" in caught.value.details[0]
    assert not downloads.store.has(ITEM)
    assert not downloads.has_excerpt


def test_a_file_that_is_gone_is_told_by_its_name(downloads: Downloads) -> None:
    with pytest.raises(Absent, match=re.escape(ITEM.filename)):
        downloads.fetch(lambda _: httpx.Response(404))


def of_another_range(excerpt: Excerpt) -> Excerpt:
    first, last = excerpt.ranges
    return replace(excerpt, ranges=(replace(first, offset=first.offset + 1), last))


def of_another_hash(excerpt: Excerpt) -> Excerpt:
    first, last = excerpt.ranges
    return replace(excerpt, ranges=(first, replace(last, sha256="0" * 64)))


def of_fewer_ranges(excerpt: Excerpt) -> Excerpt:
    return replace(excerpt, ranges=excerpt.ranges[1:])


def of_other_members(excerpt: Excerpt) -> Excerpt:
    return replace(excerpt, patterns=("include/b.h",))


@pytest.mark.parametrize(
    "change_lock", [of_another_range, of_another_hash, of_fewer_ranges, of_other_members]
)
def test_a_lock_that_does_not_match_the_file_gets_the_whole_file(
    downloads: Downloads, change_lock: Callable[[Excerpt], Excerpt]
) -> None:
    wrong = change_lock(EXCERPT)
    for _ in range(2):
        downloads.fetch(serve, wrong)
    assert downloads.requests.count("whole") == 1
    assert downloads.store.verified(ITEM)
    assert not downloads.store.has(EXCERPT)


def mirror_with(downloads: Downloads, directory: Path, *contents: Content) -> DirectoryMirror:
    mirror = DirectoryMirror(Store(directory))
    source = Downloads(Store(directory / "source"), downloads.origins)
    source.put(ITEM, WHOLE)
    source.fetch(serve)
    for content in contents:
        mirror.put(content, source.store.path(content))
    return mirror


def test_a_mirror_with_the_ranges_is_enough(downloads: Downloads, tmp_path: Path) -> None:
    downloads.mirror = mirror_with(downloads, tmp_path / "mirror", FIRST, LAST)
    downloads.fetch(serve)
    assert downloads.requests == []
    assert downloads.has_excerpt
    assert not downloads.store.has(ITEM)


def test_a_mirror_with_the_whole_file_is_enough(downloads: Downloads, tmp_path: Path) -> None:
    downloads.mirror = mirror_with(downloads, tmp_path / "mirror", ITEM)
    downloads.fetch(serve)
    assert downloads.requests == []
    assert downloads.has_excerpt


@pytest.mark.parametrize("part", EXCERPT.ranges)
def test_servers_have_the_ranges_that_a_mirror_lacks(
    downloads: Downloads, tmp_path: Path, part: Range
) -> None:
    downloads.mirror = mirror_with(downloads, tmp_path / "mirror", part)
    downloads.fetch(serve)
    assert downloads.requests == [header(other) for other in EXCERPT.ranges if other != part]
    assert downloads.has_excerpt


def test_half_of_the_ranges_without_servers_is_not_enough(
    downloads: Downloads, tmp_path: Path
) -> None:
    downloads.mirror = mirror_with(downloads, tmp_path / "mirror", FIRST)
    with pytest.raises(Absent, match=re.escape(ITEM.filename)):
        downloads.fetch(lambda _: httpx.Response(404))


def test_damaged_ranges_of_a_mirror_are_not_used(downloads: Downloads, tmp_path: Path) -> None:
    mirror = mirror_with(downloads, tmp_path / "mirror", FIRST, LAST)
    file = mirror.store.path(FIRST)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().swapcase())
    downloads.mirror = mirror
    downloads.fetch(serve)
    assert header(FIRST) in downloads.requests
    assert downloads.has_excerpt


def test_a_remote_file_is_read_in_ranges() -> None:
    with httpx.Client(transport=httpx.MockTransport(serve)) as client:
        remote = RemoteFile(client, "http://h/a.whl", len(WHOLE))
        assert remote.read(5, 7) == WHOLE[5:12]
        assert remote.read(5, 0) == b""
        large = replace(ITEM, size=10 * len(WHOLE))
        assert is_promising(large, remote, ("include/*",))


def test_a_remote_file_is_not_read_in_many_ranges() -> None:
    with httpx.Client(transport=httpx.MockTransport(serve)) as client:
        remote = RemoteFile(client, "http://h/a.whl", len(WHOLE))
        with pytest.raises(WrongContent, match="more than"):
            all(remote.read(offset, 1) for offset in range(1000))
        assert remote.reads < 100


@pytest.mark.parametrize("answer", [ignore_ranges, misreport, lengthen])
def test_a_remote_file_has_no_other_bytes(answer: Answer) -> None:
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        remote = RemoteFile(client, "http://h/a.whl", len(WHOLE))
        with pytest.raises(WrongContent):
            remote.read(5, 7)


FETCH = """
import sys
from contextlib import nullcontext
from pathlib import Path
import httpx
from envmatrix.lock.lock_file import loads
from envmatrix.machine.origins import Origins
from envmatrix.parallel import INTERRUPTION
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher
class Silent:
    def task(self, name, *, total, unit):
        return nullcontext(lambda *_: None)
home = Path(sys.argv[1])
files = loads((home / "lock.json").read_text()).sets["a"].files
with httpx.Client() as client:
    origins = Origins(home / "config.toml", {}, home, ("", ""))
    Fetcher(Store(home / "store"), origins, client).fetch(files, Silent())
"""


class Server:
    """The requests that a server with ranges, or without, got."""

    def __init__(self, *, has_ranges: bool) -> None:
        self.requests: list[str] = []
        server = self

        class RangeHandler(Handler):
            def do_GET(self) -> None:
                value = self.headers.get("Range", "whole")
                server.requests.append(value)
                if not has_ranges or value == "whole":
                    self.answer(200, WHOLE)
                    return
                start, last = map(int, value.removeprefix("bytes=").split("-"))
                position = f"bytes {start}-{last}/{len(WHOLE)}"
                self.answer(206, WHOLE[start : last + 1], {"Content-Range": position})

        self.handler = RangeHandler


@pytest.mark.parametrize("has_ranges", [True, False])
def test_processes_download_a_file_once(tmp_path: Path, *, has_ranges: bool) -> None:
    server = Server(has_ranges=has_ranges)
    request = ReleaseRequest("pip", "amd64", ())
    lock = Lock(1, {"a": PackageSet(request, (ITEM,), excerpts=(EXCERPT,))})
    (tmp_path / "lock.json").write_text(dumps(lock))
    with serving(server.handler) as url:
        downloads = Downloads(Store(tmp_path / "store"), origins_in(tmp_path, url))
        start = partial(subprocess.Popen, [sys.executable, "-c", FETCH, str(tmp_path)])
        processes = [start() for _ in range(3)]
        assert [process.wait() for process in processes] == [0, 0, 0]
    if has_ranges:
        assert sorted(server.requests) == sorted(RANGES)
    assert server.requests.count("whole") == (not has_ranges)
    assert downloads.has_excerpt
    assert downloads.store.verified(ITEM) != has_ranges
    assert not [*(downloads.store.root / "partial").iterdir()]


def test_the_bytes_of_ranges_are_the_size_of_a_download(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals: list[int] = []
    task = Silent.task

    def note(self: Silent, name: str, *, total: int, unit: str) -> object:
        totals.append(total)
        return task(self, name, total=total, unit=unit)

    monkeypatch.setattr(Silent, "task", note)
    downloads.fetch(serve)
    downloads.fetch(serve)
    assert totals == [EXCERPT.downloaded, 0]
    assert len(WHOLE) > 100 * EXCERPT.downloaded > 0


def test_reading_a_file_ends_at_an_interruption(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_bytes(b"content")
    with open_reader(file) as reader:
        assert reader.read(0, 4) == b"cont"
        INTERRUPTION.set()
        try:
            with pytest.raises(KeyboardInterrupt):
                reader.read(0, 4)
        finally:
            INTERRUPTION.clear()
