"""What each runtime and model would do here: a runtime is present when it opens a graph, a model runs when it has been opened.

Owns the questions that need the configuration and the engines; they are asked in a child process. Does not own the order of `auto`
(`engines/choice.py`) or any device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from engines import wiring
from engines.choice import open_model
from engines.engine import Engine, EngineError, EngineOptions
from engines.folder import Folder, open_folder
from engines.open import names, offers
from engines.terms import Part
from service.chosen import engine_options, finder_options, open_models, settled
from service.config import Config, load
from service.diagnostics.apart import Question, Unanswerable, answer
from service.diagnostics.finding import Finding, State
from service.models import Models, UnknownModel, how_opened
from service.perception.pixels import open_alone
from service.refusal import Refusal

SERVER = "triton"


def main() -> None:
    """Answer in the child; the job has `config` (a file's name or null) and `flags` (section → key → value)."""
    answer(_questions)


def _questions(job: Mapping[str, Any]) -> Iterator[Question]:
    try:
        config = load(None if job["config"] is None else Path(job["config"]), job["flags"])
        for name in config.cameras:
            yield Question("cameras", name, "ok", partial(Finding, "cameras", name, "ok", "configured; `mien serve` opens it"))
        chosen = settled(config)
        with closing(open_models(chosen)) as models:
            yield from runtimes(models, chosen)
            yield from networks(models, chosen)
    except (Refusal, EngineError) as error:
        raise Unanswerable(str(error)) from error


def runtimes(models: Models, config: Config) -> Iterator[Question]:
    """Open the shipped face finder on every backend there is a file for; on a server, which need not serve it, the network chosen."""
    known = models.ids()
    id = config.model.detector if config.model.detector in known else Config().model.detector
    for name in names():
        there = config.model.id if name == SERVER and config.model.id in known else id
        wanted = name == config.engine.backend
        yield Question("runtimes", name, "fault" if wanted else "absent", partial(_runtime, models, config, name, there, wanted))


def networks(models: Models, config: Config) -> Iterator[Question]:
    """Open every model as the configuration would and say what it runs on; random weights do not matter here."""
    used = {config.model.id, config.model.detector}
    for id in (*models.ids(), *sorted(used - set(models.ids()))):
        name = f"{id} (chosen)" if id in used else id
        yield Question("models", name, "fault" if id in used else "absent", partial(_network, models, config, id, name, id in used))


def _runtime(models: Models, config: Config, name: str, id: str, wanted: bool) -> Finding | None:
    try:
        folder = open_folder(models.folder(id).path)
    except EngineError:
        return None  # which rule it breaks is said of it among the models
    asked = engine_options(config)
    options = replace(asked, backend=name, providers=asked.providers if wanted else None, precision="fp32")
    state, detail = _opened(folder, options)
    detail = "; ".join(part for part in (detail, offers(name)) if part)
    return Finding("runtimes", name, "fault" if wanted and state == "fault" else "ok" if state == "ok" else "absent", detail)


def _network(models: Models, config: Config, id: str, name: str, used: bool) -> Finding:
    try:
        alone = open_alone(id, config.model.detector_file) if id == config.model.detector and id not in models.ids() else None
        state, detail = _folder(open_folder(models.folder(id).path), config) if alone is None else _alone(alone[1])
    except (EngineError, UnknownModel) as error:
        state, detail = "fault", str(error)
    return Finding("models", name, state if state == "ok" or used else "absent", detail)


def _folder(folder: Folder, config: Config) -> tuple[State, str]:
    options, exact = how_opened(folder.manifest, engine_options(config), finder_options(config))
    return _opened(folder, options, exact)


def _alone(engine: Engine) -> tuple[State, str]:
    info = engine.info
    engine.close()
    return "ok", f"{info.backend} {info.version}"


def _opened(folder: Folder, options: EngineOptions, exact: Sequence[Part] = ()) -> tuple[State, str]:
    try:
        opened = open_model(folder, wiring.run_parts(folder.manifest.graphs), options, exact=exact)
    except EngineError as error:
        return "fault", str(error)
    infos = {part: engine.info for part, engine in opened.engines.items()}
    for engine in opened.engines.values():
        engine.close()
    first = next(iter(infos.values()))
    detail = f"{first.backend} {first.version}, graphs {', '.join(infos)}"
    if exact and options.precision != "fp32":
        detail += f"; {', '.join(exact)} in fp32, not {options.precision}: its features choose keyframes"
    return "ok", detail if opened.why is None else f"{detail}; {opened.why}"
