from __future__ import annotations

import gc
import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from tests.fakes import Silent
from tests.loopback import Handler, serving

from envmatrix.console import Advance
from envmatrix.errors import Absent, LookupFailed
from envmatrix.lock.model import URL, Artifact
from envmatrix.machine.access import Access
from envmatrix.machine.origins import Origins
from envmatrix.retries import ATTEMPTS
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher, Stopped, _Transfer, measure_download
from envmatrix.store.outages import Outages
from envmatrix.store.package_index import PackageIndexes
from envmatrix.store.unlocked_files import UnlockedFiles

BASES = ("http://first.example/debian", "http://second.example/debian")
FILES = "http://files.example"
INDEX = "http://index.example/simple"

Answer = Callable[[httpx.Request], httpx.Response]


def item_of(content: bytes, name: str = "a", origin: str = "debian") -> Artifact:
    sha256 = hashlib.sha256(content).hexdigest()
    return Artifact(origin, f"pool/{name}_1%2b.deb", name, "1", len(content), sha256)


TEXT = b"the bytes of a package"
ITEM = item_of(TEXT)


@dataclass
class Downloader:
    """A store with its mirrors; it keeps the requests, pauses and warnings of downloads."""

    store: Store
    origins: Origins
    requests: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outages = Outages(self.warnings.append)

    def fetch(self, answer: Answer, *items: Artifact) -> None:
        with self._fetcher(answer) as fetcher:
            fetcher.fetch(items or (ITEM,), Silent())

    def require(self, answer: Answer, item: Artifact) -> None:
        with self._fetcher(answer) as fetcher:
            fetcher.require(item)

    @contextmanager
    def _fetcher(self, answer: Answer) -> Iterator[Fetcher]:
        def listen(request: httpx.Request) -> httpx.Response:
            self.requests.append(str(request.url))
            return answer(request)

        with httpx.Client(transport=httpx.MockTransport(listen)) as client:
            yield Fetcher(
                self.store, self.origins, client, self.pauses.append, outages=self.outages
            )

    @property
    def has_nothing(self) -> bool:
        return (
            not list((self.store.root / "partial").iterdir())
            and not (self.store.root / "sha256").exists()
        )


@pytest.fixture
def downloader(tmp_path: Path) -> Downloader:
    config = tmp_path / "config.toml"
    mirrors = {"debian": BASES, "pypi": [FILES], "pypi-index": INDEX}
    config.write_text(
        "[mirrors]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in mirrors.items())
    )
    return Downloader(Store(tmp_path / "store"), Origins(config, {}, tmp_path, ("", "")))


def answers(*responses: httpx.Response | Exception) -> Answer:
    """Answer with the responses one after the other, and with the last one from then on."""
    remaining = list(responses)

    def answer(_: httpx.Request) -> httpx.Response:
        response = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        if isinstance(response, Exception):
            raise response
        return httpx.Response(response.status_code, content=response.content)

    return answer


def ok(content: bytes = TEXT) -> httpx.Response:
    return httpx.Response(200, content=content)


def status(code: int) -> httpx.Response:
    return httpx.Response(code)


def test_a_file_is_required_of_any_server_and_not_stored(downloader: Downloader) -> None:
    downloader.require(answers(status(404), ok()), ITEM)
    assert len(downloader.requests) == 2
    assert not downloader.store.has(ITEM)


def test_a_required_file_that_is_stored_is_not_asked_for(downloader: Downloader) -> None:
    downloader.fetch(answers(ok()))
    downloader.requests.clear()
    downloader.require(answers(status(404)), ITEM)
    assert downloader.requests == []


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (status(404), Absent, "no server has `a_1%2b.deb`"),
        (status(503), LookupFailed, "cannot be read"),
        (httpx.ConnectError("refused"), LookupFailed, "cannot be read"),
    ],
)
def test_a_required_file_that_cannot_be_had_is_an_error(
    downloader: Downloader,
    answer: httpx.Response | Exception,
    kind: type[LookupFailed],
    words: str,
) -> None:
    with pytest.raises(LookupFailed, match=words) as caught:
        downloader.require(answers(answer), ITEM)
    assert type(caught.value) is kind
    assert len(caught.value.details) == len(BASES)
    assert caught.value.hint


def test_a_file_is_fetched_once(downloader: Downloader) -> None:
    downloader.fetch(answers(ok()))
    downloader.fetch(answers(ok()))
    assert downloader.store.verified(ITEM)
    assert downloader.requests == [f"{BASES[0]}/pool/a_1%252b.deb"]


def test_a_corrupt_file_is_fetched_again(downloader: Downloader) -> None:
    downloader.fetch(answers(ok()))
    file = downloader.store.path(ITEM)
    file.chmod(0o644)
    file.write_bytes(TEXT.swapcase())
    downloader.fetch(answers(ok()))
    assert file.read_bytes() == TEXT


@pytest.mark.parametrize(
    "trouble",
    [status(500), status(429), httpx.ReadError("reset"), httpx.ReadTimeout("slow"), ok(b"th")],
    ids=["500", "429", "reset", "timeout", "short"],
)
def test_what_may_pass_is_tried_again_after_a_growing_pause(
    downloader: Downloader, trouble: httpx.Response | Exception
) -> None:
    downloader.fetch(answers(trouble, trouble, ok()))
    assert downloader.store.verified(ITEM)
    assert len(downloader.requests) == 3
    assert downloader.pauses == sorted(downloader.pauses)
    assert len(set(downloader.pauses)) == 2


def test_after_the_last_attempt_the_next_mirror_is_asked(downloader: Downloader) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return status(503) if "first" in str(request.url) else ok()

    downloader.fetch(answer)
    assert downloader.store.verified(ITEM)
    assert len(downloader.requests) == ATTEMPTS + 1


CONNECTION_ERRORS = [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow")]


@pytest.mark.parametrize("error", CONNECTION_ERRORS, ids=["refused", "timeout"])
def test_a_mirror_that_cannot_be_reached_is_told_once_and_not_tried_again(
    downloader: Downloader, error: Exception
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "first" in str(request.url):
            raise error
        return ok(TEXT if "/a_" in str(request.url) else b"other")

    downloader.fetch(answer)
    downloader.fetch(answer, item_of(b"other", "other"))
    assert [url.split("/")[2] for url in downloader.requests] == [
        "first.example",
        "second.example",
        "second.example",
    ]
    assert downloader.pauses == []
    (warning,) = downloader.warnings
    assert warning.startswith(f"`{BASES[0]}` cannot be reached ({error})")


def test_the_last_server_is_tried_again_also_if_it_refuses_connections(
    downloader: Downloader,
) -> None:
    refused = httpx.ConnectError("refused")
    downloader.fetch(answers(refused, refused, ok()))
    assert downloader.store.verified(ITEM)
    assert [url.split("/")[2] for url in downloader.requests] == [
        "first.example",
        "second.example",
        "second.example",
    ]


def test_a_file_is_not_gone_if_a_mirror_could_not_be_reached(downloader: Downloader) -> None:
    answer = answers(httpx.ConnectError("refused"), status(404))
    for _ in range(2):
        with pytest.raises(LookupFailed, match="was not downloaded") as caught:
            downloader.fetch(answer)
        assert not isinstance(caught.value, Absent)
        assert caught.value.details[0] == f"{BASES[0]}/pool/a_1%252b.deb: refused"


@pytest.mark.parametrize("refusal", [status(404), status(403), ok(TEXT.swapcase()), ok(TEXT * 2)])
def test_what_will_not_pass_sends_straight_to_the_next_mirror(
    downloader: Downloader, refusal: httpx.Response
) -> None:
    downloader.fetch(answers(refusal, ok()))
    assert downloader.store.verified(ITEM)
    assert [url.split("/")[2] for url in downloader.requests] == ["first.example", "second.example"]
    assert downloader.pauses == []


@pytest.mark.parametrize("reason", ["404 Not Found", "410 Gone"])
def test_a_file_that_nobody_has_is_told_with_every_place_and_a_way_out(
    downloader: Downloader, reason: str
) -> None:
    with pytest.raises(LookupFailed) as caught:
        downloader.fetch(answers(status(int(reason[:3]))))
    error = caught.value
    assert isinstance(error, Absent)
    assert error.message == f"no server has `a_1%2b.deb` ({len(TEXT)} bytes) any more"
    assert error.details == tuple(f"{base}/pool/a_1%252b.deb: {reason}" for base in BASES)
    assert error.hint
    assert "`envmatrix lock --upgrade a`" in error.hint
    assert "[mirrors] debian" in error.hint
    assert downloader.has_nothing


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TEXT.swapcase(), f"the lock names {ITEM.sha256}"),
        (TEXT * 2, f"more than the {len(TEXT)} bytes that the lock names"),
        (TEXT[:-1], f"ended after {len(TEXT) - 1} of {len(TEXT)} bytes"),
    ],
    ids=["other", "longer", "shorter"],
)
def test_bytes_that_the_lock_does_not_name_never_get_into_the_store(
    downloader: Downloader, content: bytes, reason: str
) -> None:
    with pytest.raises(LookupFailed) as caught:
        downloader.fetch(answers(ok(content)))
    assert all(reason in detail for detail in caught.value.details)
    assert downloader.has_nothing


def test_a_body_without_end_is_not_read_to_its_end(downloader: Downloader) -> None:
    chunks = Counter[str]()

    def endless(request: httpx.Request) -> httpx.Response:
        def body() -> Iterator[bytes]:
            while True:
                chunks[str(request.url)] += 1
                yield b"x" * (1 << 20)

        return httpx.Response(200, content=body())

    with pytest.raises(LookupFailed):
        downloader.fetch(endless)
    assert all(count <= (5 if url.endswith("/") else 2) for url, count in chunks.items())


def test_progress_ends_where_the_lock_says_whatever_was_tried(downloader: Downloader) -> None:
    moves: list[int] = []
    items: set[str] = set()

    class ProgressRecorder:
        @contextmanager
        def task(self, name: str, *, total: int, unit: str) -> Iterator[Advance]:
            def advance(amount: int, item: str = "") -> None:
                assert item in ("", ITEM.filename)
                items.add(item)
                moves.append(amount)

            assert (name, total, unit) == ("download", len(TEXT), "bytes")
            yield advance

    transport = httpx.MockTransport(answers(ok(TEXT[:5]), ok()))
    with httpx.Client(transport=transport) as client:
        Fetcher(downloader.store, downloader.origins, client, downloader.pauses.append).fetch(
            [ITEM], ProgressRecorder()
        )
    assert min(moves) == -5
    assert sum(moves) == len(TEXT)
    assert ITEM.filename in items


def test_one_failure_stops_the_rest_and_is_the_one_that_is_told(downloader: Downloader) -> None:
    slow, broken = replace(item_of(b"", "slow"), size=1 << 40), item_of(b"b", "broken")
    later = [item_of(f"{number}".encode(), f"later{number}") for number in range(50)]
    is_reading = threading.Event()

    def body() -> Iterator[bytes]:
        while True:
            is_reading.set()
            time.sleep(0.01)
            yield b"s" * (1 << 20)

    def answer(request: httpx.Request) -> httpx.Response:
        if "broken" in str(request.url):
            assert is_reading.wait(10)
            return status(403)
        return httpx.Response(200, content=body())

    with pytest.raises(LookupFailed, match=re.escape(f"`{broken.filename}`")):
        downloader.fetch(answer, slow, broken, *(replace(item, size=1 << 40) for item in later))
    assert downloader.has_nothing
    assert len(downloader.requests) < len(later)


def test_a_full_disk_is_told_once_if_it_stops_several_downloads(
    downloader: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    failure = threading.Event()
    transfer = _Transfer(lambda count, _="": failure.set() if count else None, failure=failure)
    with httpx.Client() as client:
        fetcher = Fetcher(downloader.store, downloader.origins, client)
        with pytest.raises(Stopped):
            fetcher._take(lambda: iter([b"a"]), item_of(b"ab"), Path("/dev/full"), transfer)
    gc.collect()
    assert unraisable == []


def test_a_download_goes_on_when_another_one_of_the_same_fetcher_fails(
    downloader: Downloader,
) -> None:
    has_failed = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if "broken" in request.url.path:
            return status(403)
        assert has_failed.wait(10)
        return ok(TEXT)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        fetcher = Fetcher(downloader.store, downloader.origins, client)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(fetcher.fetch, [ITEM], Silent())
            with pytest.raises(LookupFailed):
                fetcher.fetch([item_of(b"broken", "broken")], Silent())
            has_failed.set()
            other.result()
    assert downloader.store.verified(ITEM)


def test_all_files_that_are_gone_are_told_at_once_with_what_is_offered(
    downloader: Downloader,
) -> None:
    items = [item_of(f"{name}".encode(), name) for name in ("gcc-12", "zlib1g", "there")]
    archive = replace(item_of(b"a", "source", "url"), path="http://a.example/source.tar")
    names = ("../", "gcc-12_9_all.deb", "/d/gcc-12_12.2-14%2bb1_all.deb", "gcc-12-base_13_all.deb")
    listing = "".join(f'<a href="{name}">x</a>' for name in names)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/debian/pool/":
            return ok(listing.encode())
        return ok(b"there") if "there" in request.url.path else status(404)

    with pytest.raises(LookupFailed, match="no server has 3 files of the lock any more") as caught:
        downloader.fetch(answer, *items, archive)
    assert caught.value.details[:3] == (
        "`gcc-12` 1; 12.2-14+b1 is offered now",
        "`zlib1g` 1",
        "`source` 1",
    )
    places = (*(f"{base}/pool" for base in BASES), "http://a.example")
    assert caught.value.details[3:] == tuple(f"looked for in {place}" for place in places)
    assert "`envmatrix lock --upgrade gcc-12 zlib1g`" in str(caught.value.hint)
    assert downloader.store.verified(items[2]), "what is there is not lost"


def test_a_wheel_that_is_gone_is_told_with_the_newest_of_the_index(downloader: Downloader) -> None:
    names = ("wheel-1.9-py3-none-any.whl", "wheel-1.10-py3-none-any.whl", "wheel-2.tar.gz")
    files = [{"filename": name, "url": name, "hashes": {}} for name in names]

    def answer(request: httpx.Request) -> httpx.Response:
        is_page = request.url.host == "index.example"
        return httpx.Response(200, json={"files": files}) if is_page else status(404)

    with pytest.raises(LookupFailed) as caught:
        downloader.fetch(answer, WHEEL)
    assert "now offered (1.10): `envmatrix lock --upgrade wheel`" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("trouble", "hint"),
    [
        (status(401), "a login is missing"),
        (status(403), "a login is missing"),
        (status(407), "a login is missing"),
        (status(500), "the server fails"),
        (httpx.ConnectError("refused"), "is the network there"),
        (httpx.ConnectTimeout("slow"), "is the network there"),
    ],
)
def test_the_way_out_is_right_for_the_failure(
    downloader: Downloader, trouble: httpx.Response | Exception, hint: str
) -> None:
    """Without a connection to a server another version does not help."""

    def answer(request: httpx.Request) -> httpx.Response:
        if "first" in str(request.url):
            return status(404)
        if isinstance(trouble, Exception):
            raise trouble
        return status(trouble.status_code)

    with pytest.raises(LookupFailed, match=r"`a_1%2b\.deb` .* was not downloaded") as caught:
        downloader.fetch(answer)
    assert not isinstance(caught.value, Absent)
    assert hint in str(caught.value.hint)
    assert "--upgrade" not in str(caught.value.hint)


def test_a_server_of_snapshots_that_apt_knows_is_asked_last(
    downloader: Downloader, tmp_path: Path
) -> None:
    dump = 'Acquire::Snapshots::URI::Origin::Debian "http://s.example/debian/@SNAPSHOTID@/";\n'
    access = Access({}, tmp_path, run=lambda command, _: dump if "apt-config" in command else "")
    vars(downloader.origins)["access"] = access

    def listen(request: httpx.Request) -> httpx.Response:
        downloader.requests.append(str(request.url))
        return ok() if "20260102T030405Z" in str(request.url) else status(404)

    with httpx.Client(transport=httpx.MockTransport(listen)) as client:
        epoch = 1767323045
        Fetcher(downloader.store, downloader.origins, client, epoch=epoch).fetch([ITEM], Silent())
    assert downloader.requests == [
        *(f"{base}/pool/a_1%252b.deb" for base in BASES),
        "http://s.example/debian/20260102T150405Z/pool/a_1%252b.deb",
        "http://s.example/debian/20260102T030405Z/pool/a_1%252b.deb",
    ]


def test_a_fetcher_that_failed_once_works_again(downloader: Downloader) -> None:
    is_down = True

    def answer(_: httpx.Request) -> httpx.Response:
        return status(404) if is_down else ok()

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        fetcher = Fetcher(downloader.store, downloader.origins, client, downloader.pauses.append)
        with pytest.raises(LookupFailed):
            fetcher.fetch([ITEM], Silent())
        is_down = False
        fetcher.fetch([ITEM], Silent())
    assert downloader.store.verified(ITEM)


WHEEL = item_of(TEXT, "wheel", "pypi")


def page(sha256: str = WHEEL.sha256) -> httpx.Response:
    file = {"url": "../../files/w.whl", "hashes": {"sha256": sha256}, "size": 7}
    return httpx.Response(200, json={"files": [{"hashes": {}, "url": "x"}, file]})


def test_a_wheel_that_no_mirror_has_is_where_the_index_says(downloader: Downloader) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "files.example":
            return status(404)
        return page() if request.url.path == "/simple/wheel/" else ok()

    downloader.fetch(answer, WHEEL)
    assert downloader.store.verified(WHEEL)
    assert downloader.requests[-1] == "http://index.example/files/w.whl"


def test_an_index_without_the_file_is_one_more_place_that_was_tried(downloader: Downloader) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return page("0" * 64) if request.url.host == "index.example" else status(404)

    with pytest.raises(LookupFailed) as caught:
        downloader.fetch(answer, WHEEL)
    assert f"lists no file with sha256 {WHEEL.sha256}" in caught.value.details[-1]


def test_the_index_tells_url_and_size() -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda _: page())) as client:
        entry = PackageIndexes(client, (INDEX,), Outages()).entry(WHEEL)
    assert entry == ("http://index.example/files/w.whl", 7)


def index_error(*answers: httpx.Response | Exception) -> LookupFailed:
    """Return the error about a project that no index lists, where each has its answer."""
    indexes = [f"http://{number}.example/simple" for number in range(len(answers))]

    def answer(request: httpx.Request) -> httpx.Response:
        outcome = answers[int(request.url.host[0])]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        package_indexes = PackageIndexes(client, indexes, Outages())
        with pytest.raises(LookupFailed) as caught:
            package_indexes.entry(WHEEL)
        if not any(
            response.status_code == 200
            for response in answers
            if isinstance(response, httpx.Response)
        ):
            with pytest.raises(type(caught.value)):
                package_indexes.files("wheel")
    return caught.value


@pytest.mark.parametrize("code", [404, 410])
def test_a_project_that_no_index_has_is_told_as_that(code: int) -> None:
    error = index_error(status(code), status(404))
    assert isinstance(error, Absent)
    assert error.message == "the index has no project `wheel`"
    assert [line.partition(": ")[0] for line in error.details] == [
        f"http://{number}.example/simple/wheel/" for number in range(2)
    ]
    assert "is its name right" in str(error.hint)


@pytest.mark.parametrize("other", [status(404), page("0" * 64)])
@pytest.mark.parametrize(
    ("trouble", "hint"),
    [
        (httpx.ConnectError("refused"), "is the network there"),
        (status(401), "a login is missing"),
        (status(503), "the server fails"),
    ],
)
def test_an_index_that_cannot_be_asked_may_have_what_the_others_have_not(
    other: httpx.Response, trouble: httpx.Response | Exception, hint: str
) -> None:
    for answers in ((other, trouble), (trouble, other)):
        error = index_error(*answers)
        assert not isinstance(error, Absent)
        assert error.message.startswith(f"http://{answers.index(trouble)}.example/simple/wheel/: ")
        assert hint in str(error.hint)


def test_an_index_that_cannot_be_reached_is_told_once_and_not_tried_again() -> None:
    hosts: list[str] = []
    warnings: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        if request.url.host == "first.example":
            raise httpx.ConnectError("refused")
        return page()

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        urls = ("http://first.example/simple", INDEX)
        indexes = PackageIndexes(client, urls, Outages(warnings.append))
        assert len(indexes.files("wheel")) == 2
        assert indexes.entry(WHEEL) == ("http://index.example/files/w.whl", 7)
    assert hosts == ["first.example", "index.example", "index.example"]
    (warning,) = warnings
    assert warning.startswith(f"`{urls[0]}` cannot be reached (refused)")


@pytest.mark.parametrize(
    ("trouble", "is_absent", "hint"),
    [
        (status(404), True, "correct the `archive`"),
        (status(403), False, "a login is missing"),
        (httpx.ConnectError("refused"), False, "is the network there"),
    ],
)
def test_an_archive_that_its_server_has_not_is_told_from_one_that_is_out_of_reach(
    monkeypatch: pytest.MonkeyPatch,
    trouble: httpx.Response | Exception,
    is_absent: bool,
    hint: str,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    url = "http://server.example/a.tgz"
    with (
        httpx.Client(transport=httpx.MockTransport(answers(trouble))) as client,
        pytest.raises(LookupFailed, match=f"`{url}`") as caught,
    ):
        measure_download(client, Store(tmp_path), url, "0" * 64)
    assert isinstance(caught.value, Absent) == is_absent
    assert hint in str(caught.value.hint)


def test_an_archive_is_kept_where_it_is_the_one_that_is_wanted(tmp_path: Path) -> None:
    store, digest = Store(tmp_path), hashlib.sha256(b"content").hexdigest()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"content"))
    with httpx.Client(transport=transport) as client:
        assert measure_download(client, store, "http://h/a.tgz", "0" * 64) == (digest, 7)
        assert not [path for path in (tmp_path / "sha256").rglob("*") if path.is_file()]
        assert measure_download(client, store, "http://h/a.tgz", digest) == (digest, 7)
    assert store.verified(Artifact(URL, "http://h/a.tgz", "a", "1", 7, digest))
    assert not [*(tmp_path / "partial").iterdir()]


@pytest.mark.parametrize("body", ["<html>", "[]", "{}"])
def test_an_index_of_another_kind_is_told(body: str) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=body))
    with (
        httpx.Client(transport=transport) as client,
        pytest.raises(LookupFailed, match="is no JSON index"),
    ):
        PackageIndexes(client, (INDEX,), Outages()).entry(WHEEL)


BIG = b"0123456789abcdef" * (1 << 17)  # 2 MiB

FETCH = """
import sys
from contextlib import nullcontext
from pathlib import Path
import httpx
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher
from envmatrix.machine.origins import Origins
from envmatrix.lock.model import URL, Artifact
class Silent:
    def task(self, name, *, total, unit):
        return nullcontext(lambda *_: None)
home, size, sha256 = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
item = Artifact("debian", "big.deb", "big", "1", size, sha256)
with httpx.Client() as client:
    origins = Origins(home / "config.toml", {}, home, ("", ""))
    Fetcher(Store(home / "store"), origins, client).fetch([item], Silent())
"""


class SlowServer:
    """The state of a server of BIG whose second half waits for `go_on`."""

    def __init__(self) -> None:
        self.downloads = 0
        self.is_half_way = threading.Event()
        self.go_on = threading.Event()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SlowServer]:
    server = SlowServer()

    class SlowHandler(Handler):
        def do_GET(self) -> None:
            server.downloads += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(BIG)))
            self.end_headers()
            try:
                self.wfile.write(BIG[: len(BIG) // 2])
                server.is_half_way.set()
                server.go_on.wait(30)
                self.wfile.write(BIG[len(BIG) // 2 :])
            except OSError:
                self.close_connection = True

    with serving(SlowHandler) as url:
        (tmp_path / "config.toml").write_text(f'[mirrors]\ndebian = "{url}"\n')
        yield server


def fetching(home: Path) -> subprocess.Popen[bytes]:
    arguments = [str(home), str(len(BIG)), hashlib.sha256(BIG).hexdigest()]
    return subprocess.Popen([sys.executable, "-c", FETCH, *arguments])


def stored(home: Path) -> list[bytes]:
    return [file.read_bytes() for file in (home / "store/sha256").rglob("*") if file.is_file()]


def test_two_processes_download_a_file_once(server: SlowServer, tmp_path: Path) -> None:
    processes = [fetching(tmp_path), fetching(tmp_path)]
    assert server.is_half_way.wait(30)
    server.go_on.set()
    assert [process.wait(30) for process in processes] == [0, 0]
    assert server.downloads == 1
    assert stored(tmp_path) == [BIG]


def test_a_killed_download_leaves_nothing_that_the_next_one_trusts(
    server: SlowServer, tmp_path: Path
) -> None:
    killed = fetching(tmp_path)
    assert server.is_half_way.wait(30)
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    assert not (tmp_path / "store/sha256").exists()
    server.go_on.set()
    assert fetching(tmp_path).wait(30) == 0
    assert stored(tmp_path) == [BIG]
    assert list((tmp_path / "store/partial").iterdir()) == []


def reading(answer: Answer, pauses: list[float], outages: Outages | None = None) -> bytes:
    with httpx.Client(transport=httpx.MockTransport(answer), follow_redirects=True) as client:
        files = UnlockedFiles(client, BASES, outages or Outages(), pauses.append)
        return files.read("cuda/redist/")


def test_a_listing_is_read_from_the_first_mirror_that_has_it() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        first = str(request.url).startswith(BASES[0])
        return httpx.Response(404) if first else httpx.Response(200, content=b"listing")

    assert reading(answer, []) == b"listing"


def test_a_mirror_of_listings_that_cannot_be_reached_is_told_once_and_not_tried_again() -> None:
    hosts: list[str] = []
    warnings: list[str] = []
    outages = Outages(warnings.append)

    def answer(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        if request.url.host == "first.example":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, content=b"listing")

    assert [reading(answer, [], outages) for _ in range(2)] == [b"listing"] * 2
    assert hosts == ["first.example", "second.example", "second.example"]
    assert len(warnings) == 1


def test_a_listing_is_not_absent_if_a_mirror_could_not_be_reached() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "first.example":
            raise httpx.ConnectError("refused")
        return httpx.Response(404)

    with pytest.raises(LookupFailed, match="cannot be read") as caught:
        reading(answer, [])
    assert not isinstance(caught.value, Absent)
    assert caught.value.details[0] == f"{BASES[0]}/cuda/redist/: refused"
    assert "is the network there" in str(caught.value.hint)


def test_a_server_that_recovers_is_asked_again() -> None:
    answers = [httpx.Response(503), httpx.Response(200, content=b"listing")]
    pauses: list[float] = []
    assert reading(lambda _request: answers.pop(0), pauses) == b"listing"
    assert len(pauses) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(404), "404"),
        (httpx.Response(500), "500"),
        (httpx.Response(302, headers={"Location": "/again"}), "redirect"),
    ],
)
def test_what_no_mirror_has_is_told_with_each_that_was_tried(
    answer: httpx.Response, reason: str
) -> None:
    with pytest.raises(LookupFailed) as caught:
        reading(lambda _request: answer, [])
    assert len(caught.value.details) == len(BASES)
    assert all(reason in line for line in caught.value.details)
    assert isinstance(caught.value, Absent) == (answer.status_code == 404)
