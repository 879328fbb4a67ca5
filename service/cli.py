"""The command `mien`: analyze, windows, models, config, serve.

Owns flags, exit codes and the one place where an error becomes a line: 0 done, 1 an input could not be used, 2 the command or
configuration is wrong. Does not own any work: each command composes what does it, imported when it runs so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

if TYPE_CHECKING:
    from engines.folder import Folder
    from service.analyze import Analyser, Tally
    from service.config import Config
    from service.intake import Source
    from service.reports import Report, Style

app = typer.Typer(
    name="mien",
    help="Facial expressions from video, on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML file; `mien config` prints one.")]
ModelId = Annotated[str | None, typer.Option("--model", "-m", metavar="ID|DIR", help="Expression model: an id, or ./ITS/FOLDER.")]
ModelDirs = Annotated[list[Path] | None, typer.Option("--models", metavar="DIR", help="Directory of more model folders; repeatable.")]
DetectorId = Annotated[str | None, typer.Option("--detector", metavar="ID|DIR", help="Face finder: an id, or ./ITS/FOLDER.")]
Faces = Annotated[int | None, typer.Option("--faces", metavar="N", help="Faces reported per frame, at most.")]
Backend = Annotated[str | None, typer.Option("--backend", metavar="NAME", help="Runtime of the networks.")]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", help="Threads within a network; 0: the runtime chooses.")]
Random = Annotated[bool, typer.Option("--allow-random-weights", help="Load models whose weights are random.")]
Inputs = Annotated[list[Path], typer.Argument(metavar="CLIP|IMAGE|DIR...", help="What to analyse.", show_default=False)]


class Format(str, Enum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"mien {version('mien')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Expressions in faces on video: live, from clips, on this machine."""


@app.command()
def analyze(
    inputs: Inputs,
    form: Annotated[
        Format | None, typer.Option("--format", help="How results are written; left out, as FILE's suffix says, else a table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Instead of standard output; whole or not at all.")
    ] = None,
    timing: Annotated[bool, typer.Option("--timing", help="Add `delivery` (UTC, ms spent) to events; json and ndjson.")] = False,
    allow_partial: Annotated[bool, typer.Option("--allow-partial", help="Take what a truncated clip has.")] = False,
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
    """Label the expressions in clips and images; folders are searched for both."""
    with told():
        form = form or _format_of(output)
        if timing and form not in {Format.JSON, Format.NDJSON}:
            raise Usage(f"--timing goes with --format json or ndjson, not {form.value}")
        from service.analyze import Analyser
        from service.intake import find
        from service.reports import Style

        chosen = _load(config, _networks(model, detector, models, backend, threads, allow_random_weights, faces, hop))
        sources = find(inputs)
        with Analyser.create(chosen) as analyser, _text(output) as out:
            style = Style(analyser.model, several=len(sources) > 1 or any(path.is_dir() for path in inputs), timing=timing)
            # Lines that come one by one would run through a bar on the same terminal; a table comes when its bar has gone.
            bar = form is not Format.NDJSON or not out.isatty()
            failed = _analyse(analyser, sources, _report(form, out, style), allow_partial, bar)
            if failed == len(sources):
                raise typer.Exit(1)
        if failed:
            _complain(f"{failed} of {len(sources)} inputs could not be analysed")
            raise typer.Exit(1)


@app.command()
def windows(
    clips: Inputs,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="W.npz", help="File to write; whole or not at all.")],
    inputs: Annotated[bool, typer.Option("--inputs", help="Add the crops themselves.")] = False,
    faces: Faces = None,
    model: ModelId = None,
    detector: DetectorId = None,
    models: ModelDirs = None,
    backend: Backend = None,
    threads: Threads = None,
    allow_random_weights: Random = False,
    config: ConfigFile = None,
) -> None:
    """Write every sample's features as arrays, for `mien-export itq` and its kin."""
    with told():
        from service.analyze import Analyser
        from service.collect import collect, write
        from service.intake import find
        from service.replacing import replacing
        from service.tables import progress

        chosen = _load(config, _networks(model, detector, models, backend, threads, allow_random_weights, faces, None))
        sources = find(clips)
        with Analyser.create(chosen) as analyser:
            arrays = collect(analyser, sources, inputs, progress)
        with replacing(output) as file:
            write(file, arrays)


@app.command("models")
def list_models(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="Show this model's card.", show_default=False)] = None,
    models: ModelDirs = None,
    config: ConfigFile = None,
) -> None:
    """List the models there are, or show one's card."""
    with told(), _text(None) as out:
        from engines.engine import EngineOptions
        from service.models import Models
        from service.tables import print_models

        chosen = _load(config, {"model": {"dirs": models or None}})
        with contextlib.closing(Models(chosen.model.dirs, EngineOptions(), allow_random_weights=True)) as there:
            if id is not None:
                folder = there.folder(id)
                out.write((folder.path / folder.manifest.card).read_text(encoding="utf-8").rstrip() + "\n")
                return
            whole = [there.folder(name) for name in there.ids() if name not in there.broken]
            print_models(out, [(folder.manifest, _accuracy(folder)) for folder in whole])
            for why in there.broken.values():
                typer.echo(f"mien: broken: {why}", err=True)


@app.command("config")
def print_config(
    config: ConfigFile = None,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print camera URIs with their passwords.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference page instead.")] = False,
) -> None:
    """Print the effective configuration as TOML."""
    with told(), _text(None) as out:
        from service import config_text

        out.write(config_text.markdown() if markdown else config_text.toml(_load(config, {}), show_secrets))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Address to bind; loopback only.")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="N", help="TCP port; 0 takes any free one.")] = None,
    camera: Annotated[list[str] | None, typer.Option("--camera", metavar="NAME=URI", help="Serve this camera; repeatable.")] = None,
    model: ModelId = None,
    detector: DetectorId = None,
    models: ModelDirs = None,
    backend: Backend = None,
    threads: Threads = None,
    allow_random_weights: Random = False,
    config: ConfigFile = None,
) -> None:
    """Serve live labels over WebSocket and REST."""
    with told():
        flags = _networks(model, detector, models, backend, threads, allow_random_weights, None, None)
        flags |= {"server": {"host": host, "port": port}, "cameras": _cameras(camera or [])}
        chosen = _load(config, flags)
        from service.api.serve import run

        run(chosen)


class Usage(ValueError):
    """Flags that do not go together, or one that cannot be read."""


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn every error a user can cause into one line on stderr and an exit code; others are bugs and keep their trace."""
    from capture.driver import SourceError
    from engines.engine import EngineError
    from service.collect import NoFeatures
    from service.config import ConfigError
    from service.models import UnknownModel
    from service.perception.pixels import FinderError

    try:
        yield
    except BrokenPipeError:
        # The reader has gone, as `head` does. What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except SourceError as error:
        _complain(f"{error.code}: {error}")
        raise typer.Exit(1) from None
    except (Usage, ConfigError, UnknownModel, FinderError, NoFeatures, EngineError) as error:
        _complain(str(error))
        raise typer.Exit(2) from None
    except OSError as error:
        # A file is written under another name first; its folder is what the user can do something about.
        where = Path(error.filename).parent if error.filename else "the output"
        _complain(f"cannot-write: {where}: {error.strerror or error}")
        raise typer.Exit(1) from None


def _format_of(output: Path | None) -> Format:
    """Return the format that a file's suffix names; a table where it names none."""
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    return Format(suffix) if suffix in {form.value for form in Format} else Format.TABLE


def _complain(text: str) -> None:
    printable = "".join(sign if sign.isprintable() else " " for sign in " ".join(text.split()))
    sys.stderr.write(f"mien: error: {printable}\n")
    sys.stderr.flush()


def _load(file: Path | None, flags: dict[str, dict[str, Any]]) -> Config:
    from service.config import load

    return load(file, {section: {key: value for key, value in keys.items() if value is not None} for section, keys in flags.items()})


def _networks(
    model: str | None, detector: str | None, dirs: list[Path] | None, backend: str | None, threads: int | None,
    random: bool, faces: int | None, hop: int | None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    return {
        "model": {"id": model, "detector": detector, "dirs": dirs or None, "allow_random_weights": random or None},
        "engine": {"backend": backend, "threads": threads},
        "session": {"faces": faces, "hop": hop},
    }


def _cameras(given: Sequence[str]) -> dict[str, str]:
    cameras: dict[str, str] = {}
    for text in given:
        name, separator, uri = text.partition("=")
        if not separator or not name or not uri:
            raise Usage("--camera needs NAME=URI, such as door=webcam:0")
        if name in cameras:
            raise Usage(f"--camera {name} is given twice")
        cameras[name] = uri
    return cameras


@contextlib.contextmanager
def _text(path: Path | None) -> Iterator[TextIO]:
    """Give a UTF-8 text file: `path`, replaced when the block ends well, or standard output."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A file's name may hold bytes that are no text; in JSON a backslash escape is its true form.
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
        yield sys.stdout
        sys.stdout.flush()
        return
    from service.replacing import replacing

    with replacing(path) as file:
        out = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="\n")
        yield out
        out.flush()
        out.detach()


def _report(form: Format, out: TextIO, style: Style) -> Report:
    from service.reports import Csv, JsonDocument, Ndjson
    from service.tables import TableReport

    kinds: dict[Format, type[TableReport] | type[JsonDocument] | type[Ndjson] | type[Csv]] = {
        Format.TABLE: TableReport, Format.JSON: JsonDocument, Format.NDJSON: Ndjson, Format.CSV: Csv,
    }  # fmt: skip
    return kinds[form](out, style)


def _analyse(analyser: Analyser, sources: Sequence[Source], report: Report, allow_partial: bool, bar: bool) -> int:
    """Analyse every input and return how many could not be; each of those is complained of as it fails."""
    from capture.driver import SourceError
    from service.messages import Failure
    from service.tables import progress

    failed = 0
    for number, source in enumerate(sources, start=1):
        label = f"{number}/{len(sources)} {source.name}" if len(sources) > 1 else source.name
        outcome: Tally | Failure
        try:
            with progress(label, bar) as advance:
                analysis = analyser.open(source, allow_partial=allow_partial)
                for event, timing in analysis:
                    report.say(source, event, timing)
                    advance(analysis.tally.decoded, analysis.info.frames)
                outcome = analysis.tally
        except SourceError as error:
            failed += 1
            _complain(f"{error.code}: {error}")
            outcome = Failure(error.code, str(error), retryable=False)
        report.end(source, outcome)
    report.close()
    return failed


def _accuracy(folder: Folder) -> str:
    """Return what the model's card says after `Accuracy:`, its first such line, or `-`."""
    for line in (folder.path / folder.manifest.card).read_text(encoding="utf-8").splitlines():
        name, colon, said = line.strip(" -*|#").replace("**", "").partition(":")
        if colon and name.strip().lower() == "accuracy":
            return said.strip()
    return "-"


if __name__ == "__main__":
    main()
