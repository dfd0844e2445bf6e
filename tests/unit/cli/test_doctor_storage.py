import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from heimdall_core.cli.doctor_findings import State
from heimdall_core.cli.doctor_storage import check_bucket, check_endpoint
from heimdall_core.settings import StorageSettings

BUCKET = "HEIMDALL_STORAGE__RAW_BUCKET"
Refuse = Callable[[str], tuple[int, str] | None]


class SmallStore:
    """S3's few verbs over a dict; ``refuse`` gives status and code of the methods to refuse."""

    def __init__(self, refuse: Refuse) -> None:
        self.refuse, self.objects = refuse, dict[str, bytes]()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if refused := self.refuse(method):
            status, code = refused
            return status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        if method == "PUT":
            self.objects[path] = body
        if method == "DELETE":
            self.objects.pop(path, None)
        if method == "DELETE":
            return 204, b""
        return 200, self.objects.get(path, b"") if method == "GET" else b""


@pytest.fixture
def serve() -> Iterator[Callable[[SmallStore], str]]:
    servers: list[ThreadingHTTPServer] = []

    def start(store: SmallStore) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # boto3 waits for "100 Continue"

            def _reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, content = store.answer(self.command, self.path.partition("?")[0], body)
                self.send_response(status)
                self.send_header("Connection", "close")
                if status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_DELETE = _reply  # noqa: N815 - the names of http.server

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def settings(url: str, public_url: str | None = None) -> StorageSettings:
    return StorageSettings.model_validate(
        {
            "endpoint_url": url,
            "public_endpoint_url": public_url,
            "access_key_id": "key",
            "secret_access_key": "very-secret",
        }
    )


def test_a_bucket_that_works_is_left_as_it_was(serve):
    store = SmallStore(lambda _: None)
    found = check_bucket(settings(serve(store)), "raw", BUCKET)
    assert [(f.subject, f.state) for f in found] == [("bucket", State.OK), ("presigned", State.OK)]
    assert store.objects == {}


@pytest.mark.parametrize(
    ("method", "refusal", "message", "remedy"),
    [
        ("PUT", (404, "NoSuchBucket"), "there is no bucket raw", BUCKET),
        ("PUT", (403, "InvalidAccessKeyId"), "does not accept the credential", "ACCESS_KEY_ID"),
        ("PUT", (403, "SignatureDoesNotMatch"), "does not accept the credential", "SECRET_ACCESS_KEY"),
        ("PUT", (403, "AccessDenied"), "may not put objects", "s3:PutObject"),
        ("GET", (403, "AccessDenied"), "may not get objects", "s3:GetObject"),
        ("DELETE", (403, "AccessDenied"), "may not delete objects", "s3:DeleteObject"),
        ("PUT", (403, "RequestTimeTooSkewed"), "clocks", "synchronise"),
        ("PUT", (301, "PermanentRedirect"), "another region", "REGION"),
        ("PUT", (503, "SlowDown"), "refuses to put an object (SlowDown)", "log"),
    ],
)
def test_each_refusal_has_words_and_a_remedy_of_its_own(serve, method, refusal, message, remedy):
    store = SmallStore(lambda asked: refusal if asked == method else None)
    found = check_bucket(settings(serve(store)), "raw", BUCKET)[0]
    assert found.state is State.FAILED
    assert message in found.message
    assert remedy in (found.remedy or "")
    assert "very-secret" not in str(found)


def test_a_probe_is_cleaned_up_when_it_cannot_be_read(serve):
    store = SmallStore(lambda asked: (403, "AccessDenied") if asked == "GET" else None)
    check_bucket(settings(serve(store)), "raw", BUCKET)
    assert store.objects == {}


def test_a_public_endpoint_that_cannot_be_reached_is_told_apart(serve):
    found = check_bucket(settings(serve(SmallStore(lambda _: None)), "http://127.0.0.1:1"), "raw", BUCKET)
    assert [(f.subject, f.state) for f in found] == [("bucket", State.OK), ("presigned", State.FAILED)]
    assert "HEIMDALL_STORAGE__PUBLIC_ENDPOINT_URL" in (found[1].remedy or "")
    assert "Signature" not in found[1].message


def test_a_public_endpoint_of_another_store_is_told_apart(serve):
    other = serve(SmallStore(lambda _: (403, "SignatureDoesNotMatch")))
    found = check_bucket(settings(serve(SmallStore(lambda _: None)), other), "raw", BUCKET)
    assert "answers HTTP 403 to a presigned URL" in found[1].message


def test_an_endpoint_that_is_away_and_one_that_is_none():
    assert "refuses the connection" in check_endpoint(settings("http://127.0.0.1:1"))[0].message
    assert "is no HTTP URL" in check_endpoint(settings("s3.example:9000"))[0].message


def test_an_endpoint_that_answers_tells_its_clock(serve):
    found = check_endpoint(settings(serve(SmallStore(lambda _: (403, "AccessDenied")))))
    assert [(f.subject, f.state) for f in found] == [("s3", State.OK), ("clock", State.OK)]
