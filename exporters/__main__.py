"""`mien-export`: the command line of the exporters.

Owns the names of the commands and the exit codes. Every fault that a user can cause ends in one line and exit code 1. Does not own
what the commands do (`commands/`). torch is imported only by those that need it.
"""

from __future__ import annotations

import sys

import typer
from pydantic import ValidationError

from engines.engine import EngineError
from exporters.commands import adoption, folders, networks, plans, precisions, serving

app = typer.Typer(
    name="mien-export", help="Makes model folders from checkpoints, and fits parts on arrays.", no_args_is_help=True, add_completion=False
)
app.command("list")(networks.list_)
app.command()(networks.describe)
app.command()(networks.onnx)
app.command()(precisions.precision)
app.command()(plans.tensorrt)
app.command("frame-cnn")(adoption.frame_cnn)
app.command("import-onnx")(adoption.import_onnx)
app.command()(folders.verify)
app.command()(folders.itq)
app.command("fit-temperature")(folders.fit_temperature)
app.command("post-processing")(folders.post_processing)
app.command()(folders.shipped)
app.command()(serving.triton)


def main() -> None:
    """Run the command line; a known fault is one line on standard error and exit code 1."""
    try:
        app()
    except (EngineError, ValueError, OSError) as error:
        _refuse(error)
    except ModuleNotFoundError as error:
        _refuse(f"mien-export needs {error.name}: pip install 'mien[export]'")
    except Exception as error:
        if not _interrupted(error):
            raise
        print("Aborted.", file=sys.stderr)
        raise SystemExit(130) from None


def _interrupted(error: BaseException) -> bool:
    """Tell whether Ctrl-C is behind an error: torch's exporter reports one of its own in its place."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _refuse(error: Exception | str) -> None:
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        text = f"the manifest would not be valid: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    print(f"mien-export: {text}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
