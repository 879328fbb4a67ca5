"""How what went wrong is said: HTTP problems (RFC 9457) and `error` messages.

Owns the form. Does not own the codes (`codes.py`) or when one is raised.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse
from starlette.types import Scope

from service.api.codes import REGISTRY

RETRY_AFTER_S = 1
_BY_STATUS = {400: "bad-request", 404: "not-found", 405: "method-not-allowed", 422: "invalid-parameter"}


class Problem(Exception):
    """A request that cannot be answered. `code` is in the registry; `detail` says what, which, actual and allowed."""

    def __init__(
        self, code: str, detail: str, limit: int | None = None, actual: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = REGISTRY[code]
        self.detail = detail
        self.limit = limit
        self.actual = actual
        self.headers = dict(headers or {})


def of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem for a status that the framework, not our code, has decided on."""
    kind = REGISTRY[_BY_STATUS.get(status, "bad-request" if status < 500 else "internal")]
    return Problem(kind.code, f"{kind.title}.", headers=headers)


def body(problem: Problem, instance: str, request_id: str) -> dict[str, str | int | bool]:
    """Return the members of a problem document."""
    kind = problem.kind
    assert kind.status is not None, f"{kind.code} is no HTTP problem"
    members: dict[str, str | int | bool] = {
        "type": f"urn:mien:problem:{kind.code}", "title": kind.title, "status": kind.status, "detail": problem.detail,
        "instance": instance, "code": kind.code, "request_id": request_id, "retryable": kind.retryable,
    }  # fmt: skip
    for name, value in (("limit", problem.limit), ("actual", problem.actual)):
        if value is not None:
            members[name] = value
    return members


def response(problem: Problem, scope: Scope) -> JSONResponse:
    """Render a problem as the answer to a request, or to a WebSocket that was not accepted yet."""
    members = body(problem, scope["path"], scope.get("state", {}).get("request_id", ""))
    headers = dict(problem.headers)
    if problem.kind.status == 503:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    if problem.kind.status == 426:
        headers.setdefault("Upgrade", "websocket")
    return JSONResponse(members, int(members["status"]), headers, "application/problem+json")


def message(code: str, detail: str) -> dict[str, str | bool]:
    """Return a WebSocket `error` message."""
    kind = REGISTRY[code]
    assert kind.error, f"{code} is no error message"
    return {"type": "error", "code": code, "detail": detail, "retryable": kind.retryable}
