"""The names of the commands of `mien`, and typer's.

Does not own any of them (`commands/`), nor their work: each composes what does it, imported when it runs so that `--help` is quick.
What a user starts is `__main__.py`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands import benching, clips, evaluation, listing, node, recording, rigging, serving

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
app.command()(benching.bench)
app.command()(rigging.faces)
app.command()(rigging.rig)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def doctor(context: typer.Context) -> None:
    """Say what this machine has, and what each model would run on; exit code 1 if what is configured cannot run."""
    # Its flags are argparse's: it runs where typer does not (`__main__.py`).
    from service.commands.telling import told
    from service.diagnostics.doctor import run

    with told():
        raise typer.Exit(run(context.args))


def main() -> None:
    """Run the command line as a user does."""
    from service.__main__ import main as start

    start()


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
