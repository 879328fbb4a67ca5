"""`mien record` and `mien replay`.

Owns their flags and order of work. Does not own the recording (`service/recording.py`), its file (`capture/tape.py`) or its replay
(`service/replay.py`).
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.flags import Backend, ConfigFile, DetectorId, Faces, ModelDirs, ModelId, Random, Threads, load, networks
from service.commands.telling import Usage, complain, text_file, told

if TYPE_CHECKING:
    from capture.playback import Playback
    from capture.recorded import Consent
    from service.config import Config
    from service.models import Model, Models
    from service.pipeline import Pipeline
    from service.recording import Recorded
    from service.rig_file import RigFile


def record(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="X.mcap", help="File to write; must not exist.")],
    camera: Annotated[str | None, typer.Argument(metavar="CAMERA", help="Its URI, such as webcam:0.", show_default=False)] = None,
    rig: Annotated[Path | None, typer.Option("--rig", metavar="FILE", help="Record this rig instead: all its sources.")] = None,
    consent: Annotated[str | None, typer.Option("--consent", metavar="WHO", help="Who agreed to be recorded.")] = None,
    purpose: Annotated[str | None, typer.Option("--purpose", metavar="WHY", help="What they agreed to.")] = None,
    no_consent: Annotated[
        str | None, typer.Option("--no-consent", metavar="REASON", help="Why nobody had to be asked: nobody is seen, a public clip.")
    ] = None,
    features_only: Annotated[
        bool, typer.Option("--features-only", help="Keep no pixels: events, the input log, features per sample.")
    ] = False,
    duration: Annotated[float | None, typer.Option("--duration", metavar="S", min=0.1, help="Stop after so many seconds.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What it is called; default: `camera`, or the rig's name.")] = None,
    events: Annotated[bool, typer.Option("--events", help="Write events to standard output, as they come (NDJSON).")] = False,
    hop: Annotated[int | None, typer.Option("--hop", metavar="N", help="Label every N-th sampled frame.")] = None,
    faces: Faces = None,
    model: ModelId = None,
    detector: DetectorId = None,
    models: ModelDirs = None,
    backend: Backend = None,
    threads: Threads = None,
    allow_random_weights: Random = False,
    config: ConfigFile = None,
) -> None:
    """Record a camera's live session: frames, what the session took, what it said. Ctrl+C ends it."""
    with told(), _extra(), text_file(None) as out:
        receipt = _consent(consent, purpose, no_consent)
        from service.rig_file import RigFile, told_rig

        found = _source(camera, rig)
        called = name or (found.name if isinstance(found, RigFile) else "camera")
        looks = model or (found.model if isinstance(found, RigFile) else None)
        chosen = load(config, networks(looks, detector, models, backend, threads, allow_random_weights, faces, hop))
        from service.events import ClipPrediction, Event, Rejected, SourceEvent, line
        from service.messages import Failure, Output

        failures: list[str] = []

        def listen(output: Output) -> None:
            said = output.message
            if events and isinstance(said, Event | ClipPrediction | Rejected | SourceEvent):
                out.write(line(said) + "\n")
                out.flush()
            elif isinstance(said, SourceEvent):
                typer.echo(f"source {said.name}: {said.state}", err=True)
            elif isinstance(said, Failure):
                failures.append(said.code)
                complain(f"{said.code}: {said.detail}")

        from capture.recorded import Epoch, RecordingError
        from capture.tape import Tape
        from service.feed import FeedOptions
        from service.recording import LiveRecording
        from service.running import running_loop
        from service.settings import GIVEN

        given = found.gives if isinstance(found, RigFile) else GIVEN
        with running_loop(chosen, given) as (loop, settled, session):
            if isinstance(found, RigFile):
                found = found.model_copy(update={"model": settled.model.id})
                session["rig"] = told_rig(found)
            feature = _feature(loop.models.load(settled.model.id)) if features_only else None
            tape = Tape(output, Epoch(time.time_ns(), time.monotonic_ns()), receipt, {"session": session}, pixels=not features_only)
            recording = LiveRecording(loop, tape, listen, feature)
            options = FeedOptions(settled.model.id, "latest", settled.session.faces, settled.session.hop)
            try:
                with _terminable():
                    recording.start(called, found, options)
            except BaseException:
                tape.close()
                output.unlink()
                raise
            typer.echo(f"recording {called} to {output} (Ctrl+C ends it)", err=True)
            with _stopped() as stop:
                recording.run(stop, duration)
            try:
                done = recording.stop()
            except RecordingError as error:
                if error.code in failures:  # it was told when it happened
                    raise typer.Exit(1) from None
                raise
        typer.echo(_told(done, output.stat().st_size, features_only), err=True)


def replay(
    recording: Annotated[Path, typer.Argument(metavar="X.mcap", help="What `mien record` made.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Instead of standard output.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 unless the events equal the recorded ones.")] = False,
    resync: Annotated[
        bool, typer.Option("--resync", help="Take the frames alone and put them together anew; promises only that it is repeatable.")
    ] = False,
    clip: Annotated[bool, typer.Option("--clip", help="Take the recording for a clip: adds a clip_prediction per track.")] = False,
    model: ModelId = None,
    detector: DetectorId = None,
    models: ModelDirs = None,
    backend: Backend = None,
    threads: Threads = None,
    allow_random_weights: Random = False,
    config: ConfigFile = None,
) -> None:
    """Run a recorded session again and write its events (NDJSON): the same bytes as when it was live."""
    if check and (resync or clip):
        raise typer.BadParameter("--check compares with the live run; --resync and --clip make something else of it")
    with told(), _extra(), text_file(output) as out:
        from capture.playback import open_recording
        from service.chosen import detector_of, open_models, settled
        from service.events import line
        from service.replay import Replay, recipe_of
        from service.resync import resynced
        from service.settings import GIVEN

        playback = open_recording(recording)
        recipe = recipe_of(playback)
        names = networks(model or recipe.model, detector or recipe.detector, models, backend, threads, allow_random_weights, None, None)
        chosen = settled(load(config, names))
        with contextlib.closing(open_models(chosen)) as there:
            given = GIVEN if recipe.rig is None else recipe.rig.gives
            detector_of(there, chosen, given)
            _note_changes(there, chosen, recipe.model_sha256, recipe.detector_sha256)
            loaded: dict[str, Model] = {}
            pipeline = _pipeline(there, chosen, loaded, recipe.faces, recipe.hop, clip, given)
            if resync:
                from service.events import Rejected

                for taken in resynced(playback, recipe.rig):
                    said = (taken,) if isinstance(taken, Rejected) else pipeline.push(taken)
                    out.writelines(line(event) + "\n" for event in said)
                out.writelines(line(event) + "\n" for event in pipeline.finish())
                _note_cut(playback)
                return
            run = Replay(playback, pipeline, lambda id: loaded.setdefault(id, there.load(id)))
            for event in run.events():
                out.write(line(event) + "\n")
            _note_cut(playback)
        verdict = run.verdict
        where = "" if verdict.differs_at is None else f", first at event {verdict.differs_at}"
        equal = "equal to those recorded" if verdict.equal else f"NOT equal to the {verdict.recorded} recorded{where}"
        typer.echo(f"replayed {verdict.replayed} events, {equal}", err=True)
        if check and not verdict.equal:
            raise typer.Exit(1)


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    """Say which extra is missing, if its packages are."""
    for package in ("foxglove_schemas_protobuf", "mcap", "zstandard"):
        if importlib.util.find_spec(package) is None:
            raise Usage(f"recordings need the package {package}: pip install 'mien[record]'")
    yield


def _source(camera: str | None, rig: Path | None) -> str | RigFile:
    """Return the camera's URI or the rig: one of the two was given."""
    from service.rig_file import load_rig, rig_path

    if (camera is None) == (rig is None):
        raise Usage("give a CAMERA, such as webcam:0, or --rig FILE; one of them")
    path = rig or rig_path(camera or "")
    return camera or "" if path is None else load_rig(path)


def _consent(by: str | None, purpose: str | None, reason: str | None) -> Consent:
    from capture.recorded import Consent

    if (by is None) == (reason is None) or (by is None) != (purpose is None):
        raise Usage("a recording of people needs --consent WHO and --purpose WHY; or, if nobody had to be asked, --no-consent REASON")
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    try:
        return Consent(by, now, purpose if by is not None and purpose is not None else reason or "")
    except ValueError as error:
        raise Usage(str(error)) from None


def _told(done: Recorded, size: int, features_only: bool) -> str:
    counts = done.counts
    frames = f"{done.frames} frames" + (f" ({done.features} feature vectors, no pixels)" if features_only else "")
    dropped = "".join(f", {count} {reason}" for reason, count in sorted(counts.dropped.items()))
    ends = f"{counts.used} used{dropped}, {sum(counts.rejected.values())} rejected"
    return f"recorded {frames} and {done.events} events, {size / 1e6:.1f} MB; of {counts.received} numbered frames {ends}"


def _feature(model: Model) -> str | None:
    """Return the output whose vectors are kept without pixels; None, said, if the model gives none."""
    from service.collect import NoFeatures, features_of

    try:
        return features_of(model.manifest)
    except NoFeatures:
        typer.echo(f"note: model {model.name.id!r} gives no features per frame: none are recorded", err=True)
        return None


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Have SIGTERM interrupt as SIGINT does: what has been begun is taken back."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _stopped() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pipeline(
    there: Models, config: Config, loaded: dict[str, Model], faces: int, hop: int | None, ends: bool, given: frozenset[str]
) -> Pipeline:  # fmt: skip
    from engines.manifest import Detector
    from service.perception import pixels
    from service.pipeline import Pipeline
    from service.rounds import Batcher
    from service.session import Session
    from service.settings import SessionOptions

    finder = there.manifest(config.model.detector)
    assert isinstance(finder, Detector)
    there.load(finder.id)
    model = loaded[config.model.id] = there.load(config.model.id)
    session = Session(model, pixels.create(finder), SessionOptions(faces=faces, hop=hop, ends=ends, models=loaded, given=given))
    return Pipeline(session, Batcher(there.engines, there.max_batch))


def _note_changes(there: Models, config: Config, model_sha256: str, detector_sha256: str) -> None:
    for id, before in ((config.model.id, model_sha256), (config.model.detector, detector_sha256)):
        if (now := there.folder(id).sha256[:12]) != before:
            typer.echo(f"note: {id} is {now}, the recording was made with {before}: its events will differ", err=True)


def _note_cut(playback: Playback) -> None:
    if not playback.whole:
        code = playback.metadata.get("mien.end", {}).get("error")
        why = "was cut off" if code is None else f"was ended by {code}"
        typer.echo(f"note: {playback.path} {why}; this is all that was recorded until then", err=True)
