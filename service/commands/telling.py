"""How a command speaks: one line for an error and its exit code, a whole file or standard output for the rest.

Owns the exit codes: 0 done, 1 an input could not be used, 2 the command or configuration is wrong. Does not own any error's text.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import typer

from service.diagnostics.failed_import import of_others
from service.refusal import Refusal


class Usage(Refusal):
    """Flags that do not go together, or one that cannot be read."""


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn every error a user can cause into one line on stderr and an exit code; others are bugs and keep their trace."""
    from capture.driver import SourceError
    from capture.recorded import RecordingError
    from engines.engine import BackendMissing, EngineError

    try:
        yield
    except BrokenPipeError:
        # The reader has gone, as `head` does. What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except (SourceError, RecordingError) as error:
        complain(f"{error.code}: {error}")
        raise typer.Exit(1) from None
    except BackendMissing as error:
        complain(f"{error}; `mien doctor` says what there is, and how to get the rest")
        raise typer.Exit(2) from None
    except (Refusal, EngineError) as error:
        complain(str(error))
        raise typer.Exit(2) from None
    except OSError as error:
        if of_others(error) is not None:
            raise  # a shared library that a package loads while it is imported
        # A file is written under another name first; its folder is what the user can do something about.
        where = Path(error.filename).parent if error.filename else "the output"
        complain(f"cannot-write: {where}: {error.strerror or error}")
        raise typer.Exit(1) from None


def complain(text: str) -> None:
    """Write one line on standard error."""
    printable = "".join(sign if sign.isprintable() else " " for sign in " ".join(text.split()))
    sys.stderr.write(f"mien: error: {printable}\n")
    sys.stderr.flush()


def announce(text: str) -> None:
    """Write one line on standard error that is no error: what is being done, and takes its time."""
    sys.stderr.write(f"mien: {text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def text_file(path: Path | None) -> Iterator[TextIO]:
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
