"""REST: every answer, and a problem document on everything that is no success."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

from service.api import errors
from service.api.boundary import origin_allowed
from service.api.codes import CLOSES, REGISTRY
from tests.api.tiny import WAIT_S, Running, Shelf, picture, running, said, tell


def _problem(answer: tuple[int, Any, bytes]) -> dict[str, Any]:
    status, headers, body = answer
    problem: dict[str, Any] = json.loads(body)
    assert headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"] == f"urn:mien:problem:{problem['code']}"
    assert problem["request_id"] == headers["X-Request-Id"]
    assert set(problem) - {"limit", "actual"} == {"type", "title", "status", "detail", "instance", "code", "request_id", "retryable"}
    return problem


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/nothing", "GET", "not-found"),
        ("/v1/models/", "GET", "unknown-model"),
        ("/v1/streams/x", "GET", "not-found"),
        ("/v1/models", "POST", "method-not-allowed"),
        ("/livez", "DELETE", "method-not-allowed"),
        ("/v1/live", "GET", "upgrade-required"),
        ("/v1/streams/x/events", "GET", "upgrade-required"),
        ("/v1/models/nope", "GET", "unknown-model"),
    ],
)
def test_every_refusal_is_a_problem(server: Running, path: str, method: str, code: str) -> None:
    answer = server.request(path, method)
    problem = _problem(answer)
    assert (problem["code"], answer[0]) == (code, REGISTRY[code].status)
    assert problem["instance"] == path
    if code == "method-not-allowed":
        assert answer[1]["Allow"]


def test_a_malformed_request_is_a_problem(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as raw:
        raw.sendall(b"NONSENSE\r\n\r\n")
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        problem = json.loads(answer.read())
    assert (answer.status, answer.headers["Content-Type"], problem["code"]) == (400, "application/problem+json", "bad-request")


def test_a_bug_is_a_problem_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Shelf):
        def ids(self, kind: str | None = None) -> tuple[str, ...]:
            raise RuntimeError("a bug in /secret/place")

    with running(Broken()) as server:
        answer = server.request("/v1/models")
    problem = _problem(answer)
    assert (problem["status"], problem["code"]) == (500, "internal")
    assert b"secret" not in answer[2]
    assert b"Traceback" not in answer[2]
    assert "a bug in" in caplog.text


def test_a_request_id_comes_back_if_it_is_sane(server: Running) -> None:
    assert server.request("/livez", X_Request_Id="mine-1.2_3")[1]["X-Request-Id"] == "mine-1.2_3"
    for given in ("x" * 65, "a b", "<script>"):
        answered = server.request("/livez", X_Request_Id=given)[1]["X-Request-Id"]
        assert answered != given
        assert len(answered) == 32


def test_answers_are_neither_stored_nor_sniffed(server: Running) -> None:
    headers = server.request("/livez")[1]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers


def test_models_are_listed_and_shown_with_manifest_and_card(server: Running) -> None:
    status, listed = server.json("/v1/models")
    assert (status, listed["default"]) == (200, "tiny")
    assert [m["id"] for m in listed["models"]] == ["late", "synthetic-detector", "tiny", "unloadable"]
    status, shown = server.json("/v1/models/tiny")
    assert (status, shown["card"], shown["manifest"]["labels"][1]) == (200, "# tiny\n", "happy")
    assert "secret" not in json.dumps([listed, shown])


def test_ready_is_false_while_loading_and_alive_is_not() -> None:
    shelf = Shelf()
    shelf.loading.clear()
    with running(shelf, ready=False) as server:
        assert server.json("/livez") == (200, {"status": "alive"})
        for path in ("/readyz", "/startupz"):
            status, headers, body = server.request(path)
            assert (status, headers["Retry-After"], json.loads(body)["code"]) == (503, "1", "loading")
        shelf.doing = "tiny/frame: building a TensorRT plan, 42% (Timing graph nodes)"
        assert json.loads(server.request("/startupz")[2])["detail"] == shelf.doing
        shelf.loading.set()
        server.eventually(lambda: server.json("/readyz") == (200, {"status": "ready"}), "it is ready")
        assert server.json("/startupz")[0] == 200


def test_neither_alive_nor_ready_when_the_rounds_have_failed(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    with running(shelf) as server, server.connect() as client:
        said(client)
        shelf.broken = True
        client.send(picture())
        client.send(picture())
        error = said(client, "error")
        assert (error["code"], REGISTRY["internal"].close) == ("internal", 1011)
        for path in ("/livez", "/readyz"):
            assert server.json(path)[0] == 500
    assert "rounds thread has ended" in caplog.text


def test_metrics_agree_with_the_ledgers() -> None:
    with running() as server:
        _count(server)


def _count(server: Running) -> None:
    with server.connect() as client:
        said(client)
        tell(client, "session.update", policy="all")
        for _ in range(6):
            client.send(picture())
        client.send(b"nothing")
        messages = [said(client) for _ in range(8)]
        # What the clients were told is what is summed: seconds, though the wire says milliseconds.
        ages_s = sum(message["delivery"]["age_ms"] for message in messages if message.get("due")) / 1000
        _check_metrics(server, ages_s)
    server.eventually(lambda: server.service.loop.stats().sessions == 0, "it is closed")
    _check_metrics(server, ages_s)


def _check_metrics(server: Running, ages_s: float) -> None:
    status, headers, body = server.request("/metrics")
    lines = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert float(lines["mien_frames_received_total"]) == 7
    assert float(lines["mien_frames_used_total"]) == 6
    assert float(lines['mien_frames_rejected_total{code="not-an-image"}']) == 1
    assert float(lines["mien_label_age_seconds_count"]) == 3
    assert float(lines["mien_label_age_seconds_sum"]) == pytest.approx(ages_s)
    assert ages_s > 0
    assert float(lines["mien_predictions_total"]) == 2
    assert float(lines["mien_round_seconds_count"]) == 6
    assert lines['mien_model_info{backend="synthetic",id="tiny",sha256="000000000000"}'] == "1.0"


def test_openapi_names_the_codes(server: Running) -> None:
    status, document = server.json("/openapi.json")
    assert status == 200
    problem = document["paths"]["/v1/models"]["get"]["responses"]["4XX"]["content"]["application/problem+json"]["schema"]
    assert "unknown-model" in problem["properties"]["code"]["enum"]


def test_the_registry_is_consistent() -> None:
    for code, kind in REGISTRY.items():
        assert code == kind.code
        assert kind.status is not None or kind.error or kind.frame
        assert kind.close is None or (kind.error and kind.close in CLOSES)
        assert kind.title[0].isupper()
        assert not kind.title.endswith(".")
        assert kind.remedy.endswith(".")
    assert errors.of_status(418).kind.code == "bad-request"
    assert errors.of_status(502).kind.code == "internal"


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "expected"),
    [
        ("http://localhost:8765", "localhost:8765", (), True),
        ("http://LOCALHOST:8765", "localhost:8765", (), True),
        ("http://localhost:8766", "localhost:8765", (), False),
        ("https://localhost", "localhost", (), True),
        ("ftp://localhost", "localhost", (), False),
        ("http://", "", (), False),
        ("https://a.example", "localhost", ("https://a.example",), True),
        ("http://a.example", "localhost", ("https://a.example",), False),
    ],
)
def test_origins(origin: str, host: str, allowed: tuple[str, ...], expected: bool) -> None:
    assert origin_allowed(origin, host, frozenset(allowed)) is expected
