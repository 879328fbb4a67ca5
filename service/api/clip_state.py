"""How a clip stands, as clients are told it; and its refusals as problems.

Owns the form of a clip's state, and which problem a refusal of `service/clips` is. Does not own addresses (`clips.py`,
`clip_events.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from service.api import errors
from service.api.service import Service
from service.clips.files import StorageFull
from service.clips.limits import ClipRefused
from service.clips.queue import Clips, Progress
from service.clips.store import Clip

FULL_RETRY_S = 5


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Say what clips refuse as problems."""
    try:
        yield
    except ClipRefused as refused:
        raise problem_of(refused) from None
    except StorageFull:
        raise errors.Problem("storage-full", "The disk that clips are kept on is full.") from None


def problem_of(refused: ClipRefused) -> errors.Problem:
    """Return the problem for a refusal."""
    headers = {"Retry-After": str(FULL_RETRY_S)} if refused.code == "queue-full" else None
    return errors.Problem(refused.code, refused.detail, refused.limit, refused.actual, headers)


def told_of(clip: Clip, progress: Progress, clips: Clips) -> dict[str, Any]:
    """Return a clip's state as clients see it."""
    outcome = clip.outcome or {}
    frames = outcome.get("frames")
    if frames is None and clip.state == "running":
        frames = {"expected": progress.expected, "decoded": progress.decoded}
    address = f"/v1/clips/{clip.id}"
    body: dict[str, Any] = {
        "id": clip.id,
        "state": clip.state,
        "progress": round(progress.share, 4),
        "frames": frames,
        "partial": outcome.get("partial", False),
        "name": clip.name,
        "bytes": clip.bytes,
        "options": asdict(clip.options),
        "created_utc": _utc(clip.created_s),
        "ended_utc": _utc(clip.ended_s),
        "expires_utc": _utc(clips.expires_s(clip)),
        "result": f"{address}/result" if clip.state == "done" else None,
        "events": f"{address}/events",
        "error": None,
    }
    if clip.state == "failed":
        problem = problem_of(ClipRefused(outcome["code"], outcome["detail"], outcome["limit"], outcome["actual"]))
        said = errors.body(problem, address, "")
        body["error"] = {name: said[name] for name in ("code", "title", "status", "detail", "retryable", "limit", "actual") if name in said}
    return body


def clips_of(service: Service) -> Clips:
    """Return the server's clips.

    Raises:
        Problem: it takes none, or none yet.
    """
    if service.clips is None:
        raise errors.Problem("clips-off", "This server was started without clips.")
    return service.clips


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
