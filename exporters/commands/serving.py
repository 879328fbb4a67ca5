"""`mien-export triton`: model folders for an inference server.

Does not own the repository's layout (`exporters/targets/triton.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exporters.commands.screen import say


def triton(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Model folders.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="REPO", help="The model repository; made if it is not there.", show_default=False)],
    runtime: Annotated[
        str, typer.Option("--runtime", metavar="onnxruntime|python", help="The server's backend. python: for servers without an ONNX one.")
    ] = "onnxruntime",
) -> None:
    """Write model folders as a Triton model repository, one server model per graph."""
    from engines.folder import open_folder
    from exporters.targets import triton as target

    chosen = next((known for known in target.RUNTIMES if known == runtime), None)
    if chosen is None:
        raise typer.BadParameter(f"no runtime {runtime!r}; there are: {', '.join(target.RUNTIMES)}", param_hint="--runtime")
    for directory in directories:
        for place in target.write_repository(open_folder(directory), out, chosen):
            say(f"wrote {place}")
    say(f"serve it: tritonserver --model-repository {out}; use it: mien serve --backend triton, engine.url = HOST:8001")
