"""A collector that keeps what it is told by OTLP over HTTP, and one that never answers."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class OtlpReceiver:
    """What has come so far."""

    def __init__(self, url: str) -> None:
        self.endpoint = f"{url}/v1/traces"
        self.requests: list[ExportTraceServiceRequest] = []

    def spans(self) -> list[dict[str, Any]]:
        """Each span with its service, its ids in hexadecimal and its attributes."""
        return [
            {
                "service": _attributes(resource.resource.attributes)["service.name"],
                "name": span.name,
                "trace_id": span.trace_id.hex(),
                "span_id": span.span_id.hex(),
                "parent_id": span.parent_span_id.hex(),
                "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                "failed": span.status.message if span.status.code else None,
                "events": [event.name for event in span.events],
                **_attributes(span.attributes),
            }
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, num_spans: int) -> list[dict[str, Any]]:
        """At least so many of them."""
        deadline = time.monotonic() + 20
        while len(found := self.spans()) < num_spans:
            assert time.monotonic() < deadline, [span["name"] for span in found]
            time.sleep(0.02)
        return found


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """Listens on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield receiver
    server.shutdown()
    server.server_close()
    thread.join()
