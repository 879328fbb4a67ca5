"""`mien models` and `mien config`: what there is and what is in force.

Owns their flags. Does not own the tables (`service/tables.py`) or the keys (`service/config_text.py`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.flags import ConfigFile, ModelDirs, load
from service.commands.telling import text_file, told

if TYPE_CHECKING:
    from engines.folder import Folder


def models_(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="Show this model's card.", show_default=False)] = None,
    models: ModelDirs = None,
    config: ConfigFile = None,
) -> None:
    """List the models there are, or show one's card."""
    with told(), text_file(None) as out:
        from engines.engine import EngineOptions
        from service.models import Models
        from service.tables import print_models

        chosen = load(config, {"model": {"dirs": models or None}})
        with contextlib.closing(Models(chosen.model.dirs, EngineOptions(), allow_random_weights=True)) as there:
            if id is not None:
                folder = there.folder(id)
                out.write((folder.path / folder.manifest.card).read_text(encoding="utf-8").rstrip() + "\n")
                return
            whole = [there.folder(name) for name in there.ids() if name not in there.broken]
            print_models(out, [(folder.manifest, _accuracy(folder)) for folder in whole])
            for why in there.broken.values():
                typer.echo(f"mien: broken: {why}", err=True)


def config_(
    config: ConfigFile = None,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print camera URIs with their passwords.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference page instead.")] = False,
) -> None:
    """Print the effective configuration as TOML."""
    with told(), text_file(None) as out:
        from service import config_text

        out.write(config_text.markdown() if markdown else config_text.toml(load(config, {}), show_secrets))


def _accuracy(folder: Folder) -> str:
    """Return what the model's card says after `Accuracy:`, its first such line, or `-`."""
    for line in (folder.path / folder.manifest.card).read_text(encoding="utf-8").splitlines():
        name, colon, said = line.strip(" -*|#").replace("**", "").partition(":")
        if colon and name.strip().lower() == "accuracy":
            return said.strip()
    return "-"
