from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

import httpx
import pytest
from tests.servers import REPOSITORY, Answer, Server

from envmatrix.errors import Absent, LookupFailed
from envmatrix.registry.client import Registry, is_loopback
from envmatrix.registry.manifests import MANIFEST, Manifest, digest_of
from envmatrix.retries import ATTEMPTS

ONE = Manifest(MANIFEST, b'{"one": 1}')


def test_those_that_are_there_are_told_from_those_that_are_not() -> None:
    server = Server(manifests={"a": ONE, "b": ONE})

    with server.client() as client:
        assert client.digests(["a", "x", "b", "y"]) == {"a": ONE.digest, "b": ONE.digest}
        assert client.manifest("x") is None
        assert client.manifest("a") == ONE


def many(*, digests: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return more tags than are looked up one by one."""
    return {f"tag{number}": f"tag{number}" for number in range(20)} | dict(digests or {})


def test_of_many_only_those_that_are_listed_are_looked_up() -> None:
    server = Server(manifests={"tag3": ONE, "other": ONE})

    with server.client() as client:
        assert client.digests_of(many(), is_its_own=True) == {"tag3": ONE.digest}

    assert server.requests == [
        "GET /v2/team/images/tags/list",
        "HEAD /v2/team/images/manifests/tag3",
    ]


@pytest.mark.parametrize(("is_its_own", "looked_up"), [(True, 0), (False, 1)])
def test_a_listed_tag_is_what_it_was_known_to_be_in_this_repository(
    *, is_its_own: bool, looked_up: int
) -> None:
    server = Server(manifests={"tag3": ONE, ONE.digest: ONE})

    with server.client() as client:
        result = client.digests_of(many(digests={"tag3": ONE.digest}), is_its_own=is_its_own)

    assert result == {"tag3": ONE.digest}
    assert len(server.requests) == 1 + looked_up


def test_what_is_known_by_digest_is_found_without_its_tag() -> None:
    server = Server(manifests={ONE.digest: ONE})

    with server.client() as client:
        result = client.digests_of(many(digests={"tag3": ONE.digest}), is_its_own=True)

    assert result == {"tag3": ONE.digest}


def test_pages_of_tags_are_followed() -> None:
    def page(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("tags/list"):
            return None
        if request.url.params.get("last") == "tag3":
            return httpx.Response(200, json={"tags": ["tag5"]})
        link = '</v2/team/images/tags/list?last=tag3&n=1>; rel="next"'
        return httpx.Response(200, json={"tags": ["tag3"]}, headers={"Link": link})

    with Server(page).client() as client:
        assert client.tags() == frozenset({"tag3", "tag5"})


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(405),
        httpx.Response(403),
        httpx.Response(200, json={"tags": ["a"]}, headers={"Link": '<?last=a&n=1000>; rel="next"'}),
    ],
    ids=["not allowed", "forbidden", "endless"],
)
def test_where_tags_are_not_told_each_is_looked_up(refusal: httpx.Response) -> None:
    server = Server(
        lambda request: refusal if request.url.path.endswith("tags/list") else None,
        manifests={"tag3": ONE},
    )

    with server.client() as client:
        assert client.digests_of(many(), is_its_own=True) == {"tag3": ONE.digest}


def test_a_repository_that_nobody_pushed_to_has_no_tags() -> None:
    server = Server()

    with server.client() as client:
        assert client.digests_of(many(), is_its_own=True) == {}
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"<html>log in</html>",
        b"[]",
        b"3",
        b'{"manifests": 3}',
        b'{"manifests": [{"platform": {}}]}',
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.tags(),
        lambda client: client.referrers(ONE.digest),
        lambda client: client.manifest("tag").by_architecture(),
        lambda client: client.manifest("tag").descriptors("layers"),
    ],
    ids=["tags", "referrers", "index", "image"],
)
def test_what_is_no_answer_of_a_registry_is_a_clear_error(
    ask: Callable[[Registry], object], content: bytes
) -> None:
    """A login portal or a proxy may have answered."""
    answer = httpx.Response(200, content=content, headers={"Content-Type": "text/html"})

    with (
        Server(lambda _: answer).client() as client,
        pytest.raises(LookupFailed, match="malformed") as caught,
    ):
        ask(client)

    assert "text/html" in caught.value.details[0]
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"<html>log in</html>", b"[]", b"\xff"])
def test_what_is_no_manifest_has_no_digest(content: bytes) -> None:
    with (
        Server(lambda _: httpx.Response(200, content=content)).client() as client,
        pytest.raises(LookupFailed, match="malformed"),
    ):
        client.digest("tag")


def test_a_registry_that_does_not_say_a_digest_has_it_computed() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"" if request.method == "HEAD" else ONE.content)

    with Server(silent).client() as client:
        assert client.digest("a") == ONE.digest


def test_blobs_and_manifests_are_there_once_put() -> None:
    server = Server()

    with server.client() as client:
        descriptor = client.put_blob(b"text", "text/plain")
        client.put_blob(b"text", "text/plain")
        client.put_manifest("tag", ONE)

        assert client.blob(descriptor["digest"]) == b"text"
        assert b"".join(client.stream(descriptor["digest"])) == b"text"
        assert client.digest("tag") == ONE.digest
    assert descriptor == {"mediaType": "text/plain", "digest": digest_of(b"text"), "size": 4}
    assert sum(line.startswith("POST") for line in server.requests) == 1


@pytest.mark.parametrize("has_referrers", [True, False])
def test_what_is_attached_refers_to_its_subject(*, has_referrers: bool) -> None:
    server = Server(has_referrers=has_referrers, manifests={"tag": ONE, ONE.digest: ONE})

    with server.client() as client:
        first = client.attach(ONE.descriptor, "text/one", b"1")
        second = client.attach(ONE.descriptor, "text/two", b"2")
        again = client.attach(ONE.descriptor, "text/one", b"1")

        assert {row["digest"] for row in client.referrers(ONE.digest)} == {first, second}
        assert again == first
    fallback = ONE.digest.replace(":", "-")
    assert (fallback in server.manifests) == (not has_referrers)


def challenge(kind: str) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/token":
            parameters = dict(request.url.params) or dict(
                httpx.QueryParams(request.content.decode())
            )
            parameters["authorization"] = request.headers.get("Authorization", "")
            token = base64.urlsafe_b64encode(json.dumps(parameters).encode()).decode()
            return httpx.Response(200, json={"token": token})
        if "Authorization" in request.headers:
            return None
        words = 'realm="https://registry.example/token",service="s",scope="repository:x:pull"'
        return httpx.Response(401, headers={"WWW-Authenticate": f"{kind} {words}"})

    return answer


@pytest.mark.parametrize("kind", ["Basic", "Bearer"])
@pytest.mark.parametrize(
    "account", [{"username": "ann", "password": "secret"}, {"identitytoken": "refresh"}, None]
)
def test_who_is_asked_for_credentials_gives_those_of_docker(
    kind: str, account: Mapping[str, str] | None
) -> None:
    server = Server(challenge(kind), manifests={"a": ONE}, account=account)

    with server.client() as client:
        if kind == "Basic" and account is None:
            with pytest.raises(LookupFailed, match="refuses access") as caught:
                client.digest("a")
            assert caught.value.hint == "log in: `docker login registry.example`"
            return
        assert client.digest("a") == ONE.digest
        assert client.digest("a") == ONE.digest
    assert server.requests.count("GET /token") + server.requests.count("POST /token") == (
        1 if kind == "Bearer" else 0
    )


@pytest.mark.parametrize(
    ("response", "count", "pause"),
    [
        (httpx.Response(500), ATTEMPTS, 0),
        (httpx.Response(429, headers={"Retry-After": "7"}), ATTEMPTS, 7),
        (httpx.Response(400, text="what is this"), 1, 0),
        (httpx.Response(403), 1, 0),
    ],
)
def test_only_what_may_pass_is_asked_again(
    response: httpx.Response, count: int, pause: float
) -> None:
    server = Server(lambda _: response)

    with server.client() as client, pytest.raises(LookupFailed) as caught:
        client.digest("a")

    assert len(server.requests) == count
    assert all(seconds >= pause for seconds in server.pauses)
    assert REPOSITORY in caught.value.message


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_password_in_the_name_of_a_repository_is_not_shown(status: int) -> None:
    server = Server(lambda _: httpx.Response(status))
    with (
        server.client(f"user:secret@{REPOSITORY}") as client,
        pytest.raises(LookupFailed, match=r"registry\.example") as caught,
    ):
        client.put_manifest("tag", ONE)
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"
    assert "***" not in str(caught.value.hint)  # `docker login` takes no user here


def test_a_password_of_a_registry_that_does_not_answer_is_not_shown() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with (
        Server(answer).client(f"user:secret@{REPOSITORY}") as client,
        pytest.raises(LookupFailed, match=r"the registry `\*\*\*@registry\.example` does not"),
    ):
        client.digest("a")


@pytest.mark.parametrize(
    ("code", "count"), [("MANIFEST_BLOB_UNKNOWN", ATTEMPTS), ("MANIFEST_INVALID", 1)]
)
def test_a_manifest_is_put_again_while_a_blob_of_it_is_not_seen(code: str, count: int) -> None:
    server = Server(lambda _: httpx.Response(400, json={"errors": [{"code": code}]}))

    with server.client() as client, pytest.raises(LookupFailed, match="answers 400"):
        client.put_manifest("tag", ONE)

    assert len(server.requests) == count


def test_bytes_that_are_not_those_of_the_digest_are_refused() -> None:
    server = Server(
        blobs={digest_of(b"text"): b"other"}, manifests={ONE.digest: Manifest("", b"x")}
    )

    with server.client() as client:
        with pytest.raises(LookupFailed, match="does not answer as it should"):
            client.blob(digest_of(b"text"))
        with pytest.raises(LookupFailed, match="does not answer as it should"):
            client.manifest(ONE.digest)
        with pytest.raises(Absent, match="has no blob"):
            client.blob(digest_of(b"nothing"))


@pytest.mark.parametrize(
    ("host", "answer", "scheme"),
    [
        ("127.0.0.1:5000", httpx.Response(200), "http"),
        ("127.0.0.1:5000", httpx.Response(401), "http"),
        ("localhost", httpx.Response(400, text="Client sent an HTTP request to an HTTPS server"),
         "https"),
        ("registry.example", httpx.Response(200), "https"),
    ],
)  # fmt: skip
def test_a_registry_on_this_machine_may_have_no_tls(
    host: str, answer: httpx.Response, scheme: str
) -> None:
    schemes: list[str] = []

    def note(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/v2/":
            return answer
        schemes.append(request.url.scheme)
        return None

    with Server(note).client(f"{host}/team/images") as client:
        client.digest("a")

    assert schemes == [scheme]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost:5000", True), ("127.8.0.1", True), ("[::1]:5000", True),
     ("registry.example", False), ("10.0.0.1:5000", False), ("localhost.example", False)],
)  # fmt: skip
def test_loopback_is_told_from_other_hosts(host: str, *, expected: bool) -> None:
    assert is_loopback(host) == expected


@pytest.mark.parametrize("code", [404, 410])
def test_what_a_registry_has_no_more_is_not_there(code: int) -> None:
    with Server(lambda _: httpx.Response(code)).client() as client:
        assert client.digest("a") is None
        assert client.manifest("a") is None
        assert client.tags() == frozenset()
        with pytest.raises(Absent, match="has no blob"):
            next(client.stream(ONE.digest))
        with pytest.raises(Absent, match="has no repository `team/images`"):
            client.put_manifest("tag", ONE)


def test_a_registry_on_this_machine_that_is_away_is_told_by_whatever_is_asked_first() -> None:
    def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    for ask in (Registry.tags, lambda client: client.digests_of(many(), is_its_own=True)):
        with (
            Server(away).client("127.0.0.1:5000/team/images") as client,
            pytest.raises(LookupFailed, match="does not answer as it should"),
        ):
            ask(client)
