"""The command `mien`: the names of its commands.

Does not own any of them (`commands/`), nor their work: each composes what does it, imported when it runs so that `--help` is quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands import benching, checkup, clips, evaluation, listing, node, recording, rigging, serving

app = typer.Typer(
    name="mien",
    help="Facial expressions from video, on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(clips.analyze)
app.command()(clips.windows)
app.command()(evaluation.evaluate)
app.command("models")(listing.models_)
app.command("config")(listing.config_)
app.command()(serving.serve)
app.command()(recording.record)
app.command()(recording.replay)
app.command()(node.node)
app.command()(checkup.doctor)
app.command()(benching.bench)
app.command()(rigging.faces)
app.command()(rigging.rig)


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


if __name__ == "__main__":
    main()
