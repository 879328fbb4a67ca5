"""Every model this process may use: found by id, verified, opened, warmed up.

Owns the search (folders given, then the shipped ones), the engines of loaded models and the batch sizes measured for them.
An id is matched against what was found; it never becomes a path. Does not own folders' rules (`engines/folder.py`).
"""

from __future__ import annotations

import logging
import math
import os
import threading
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from pathlib import Path

from engines import wiring
from engines.choice import open_model
from engines.engine import Engine, EngineError, EngineOptions
from engines.folder import MANIFEST, Folder, FolderError, open_folder, read_manifest
from engines.manifest import Detector, Expression, Features, Graph, Manifest
from engines.reopening import ReopeningEngine
from engines.terms import Part
from service.batch_size import measure_batch
from service.events import ModelName
from service.inputs import GraphKey
from service.refusal import Refusal
from service.windows.keyframes import Itq

log = logging.getLogger("mien.models")
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What numpy raises at a file that is no archive of arrays."""


class UnknownModel(Refusal):
    """No model of that id. The text lists what there is."""


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model as sessions see it. `backend`: what really runs it; `itq`: its fitted quantisation, None without;
    `notes`: what a user should know of how it runs; `features`: the model that `keyframes.model` names, loaded too."""

    manifest: Manifest
    name: ModelName
    backend: str
    itq: Itq | None
    notes: tuple[str, ...]
    features: Features | None = None


@dataclass(slots=True)
class _Found:
    """What the search came upon: usable manifests by id; the rule each other folder breaks, by the folder's name."""

    manifests: dict[str, tuple[Path, Manifest]] = field(default_factory=dict)
    broken: dict[str, FolderError] = field(default_factory=dict)


class Models:
    """Finds models in `dirs`, each a model folder or a folder of such, and among the shipped ones; loads them once.

    A model in `dirs` takes the place of a shipped one of the same id. `finder`: how face finders are opened, if otherwise than the rest.
    An engine whose runtime goes is opened again when it can be (`engines/reopening.py`). `doing`: what takes long right now, in words;
    empty: nothing does.

    A folder whose manifest cannot be read is listed by its name in `ids()` and `broken`; asking for it says which rule it
    breaks. `engines` and `max_batch` may be read by another thread while a model loads: entries appear when they work.

    Raises:
        FolderError: a given folder is not there, or two of the given ones claim one id.
    """

    def __init__(
        self, dirs: Sequence[Path], engine: EngineOptions, allow_random_weights: bool = False, finder: EngineOptions | None = None
    ) -> None:
        self.engines: dict[GraphKey, Engine] = {}
        self.max_batch: dict[GraphKey, int] = {}
        self.doing = ""
        self._closing = False
        self._options = replace(engine, told=self._told)
        self._finder = replace(finder or engine, told=self._told)
        self._allow_random = allow_random_weights
        # Loading takes seconds; looking a folder up must not wait for it.
        self._loading = threading.Lock()
        self._opening = threading.Lock()
        self._folders: dict[str, Folder] = {}
        self._loaded: dict[str, Model] = {}
        self._found = _find(dirs, Path(str(files("engines") / "models")))

    @property
    def broken(self) -> Mapping[str, str]:
        """Folder name → the rule its manifest breaks."""
        return {name: str(error) for name, error in self._found.broken.items()}

    def ids(self, kind: str | None = None) -> tuple[str, ...]:
        """Return the ids of all models, those of broken folders among them, or the usable ones of one kind; sorted."""
        usable = {id for id, (_, manifest) in self._found.manifests.items() if kind in (None, manifest.kind)}
        return tuple(sorted(usable | (set(self._found.broken) if kind is None else set())))

    def manifest(self, id: str) -> Manifest:
        """Return a model's manifest without verifying the rest of its folder.

        Raises:
            UnknownModel: there is no such model, or its manifest cannot be read.
        """
        return self._path_and_manifest(id)[1]

    def folder(self, id: str) -> Folder:
        """Return a model's verified folder, its graphs' bytes left out.

        Raises:
            UnknownModel: there is no such model.
            FolderError: the folder breaks a rule.
        """
        if (held := self._folders.get(id)) is not None:
            return held
        with self._opening:
            if id not in self._folders:
                self._folders[id] = self._open(id).without_graphs()
            return self._folders[id]

    def load(self, id: str) -> Model:
        """Return a model with its engines open and warm. May take seconds; other threads may go on using loaded ones.

        Raises:
            UnknownModel: there is no such model.
            EngineError: its folder or runtime cannot be used, or its weights are random and that is not allowed.
        """
        if (loaded := self._loaded.get(id)) is not None:
            return loaded
        with self._loading:
            return self._load_once(id)

    def adopt(self, manifest: Detector, engine: Engine) -> None:
        """Take in a face finder that needs no folder, open already; `load` finds it by its id."""
        with self._loading:
            self.engines[manifest.id, "full"], self.max_batch[manifest.id, "full"] = engine, manifest.batch.max
            name = ModelName(manifest.id, (manifest.weights.sha256 or "")[:12])
            self._loaded[manifest.id] = Model(manifest, name, engine.info.backend, None, ())

    def close(self) -> None:
        """Release every engine; a plan that is being built is given up."""
        self._closing = True
        with self._loading:
            self._loaded.clear()
            self.max_batch.clear()
            while self.engines:
                self.engines.popitem()[1].close()

    def _told(self, text: str) -> None:
        """Keep what goes on for whoever waits, and log what begins; a build tells every per cent of itself, and
        ends here when it is wanted no more."""
        if self._closing:
            raise EngineError("the models are being closed")
        new = text.partition(",")[0]
        if new != self.doing.partition(",")[0]:
            log.warning("%s", text)
        self.doing = text

    def _path_and_manifest(self, id: str) -> tuple[Path, Manifest]:
        if id in self._found.broken or id not in self._found.manifests:
            why = "the folder of model {} breaks a rule ('mien models' says which)" if id in self._found.broken else "no model {}"
            usable = sorted(set(self._found.manifests) - set(self._found.broken))
            raise UnknownModel(f"{why.format(repr(id[:80]))}; there are: {', '.join(usable) or 'none'}")
        return self._found.manifests[id]

    def _open(self, id: str) -> Folder:
        if id in self._found.broken:
            raise FolderError(str(self._found.broken[id]))
        path, manifest = self._path_and_manifest(id)
        folder = open_folder(path)
        if folder.manifest.id != id:
            raise FolderError(f"{path / MANIFEST}: its id was {manifest.id!r} and is {folder.manifest.id!r} now; start again to use it")
        return folder

    def _load_once(self, id: str) -> Model:
        if id not in self._loaded:
            folder = self._open(id)
            try:
                self._loaded[id] = self._load(folder)
            finally:
                self.doing = ""
            self._folders[id] = folder.without_graphs()
        return self._loaded[id]

    def _load(self, folder: Folder) -> Model:
        manifest = folder.manifest
        if manifest.weights.kind == "random" and not self._allow_random:
            raise FolderError(
                f"{folder.path / MANIFEST}: weights.kind is 'random', so its labels mean nothing; give it trained weights, or run it "
                "all the same with --allow-random-weights"
            )
        self._check_requirements(folder)
        features = self._features(folder)
        itq, notes = _itq(folder, features)
        options, exact = how_opened(manifest, self._options, self._finder)
        opened = open_model(folder, wiring.run_parts(manifest.graphs), options, exact=exact)
        sizes: dict[Part, int] = {}
        try:
            for part, engine in opened.engines.items():
                # Other rows in a batch must not change a row's bytes; where they would, rows run alone.
                free = manifest.batch.invariant or not engine.info.backend.endswith("CPUExecutionProvider")
                sizes[part] = measure_batch(engine, manifest.graphs[part], manifest.batch.max if free else 1)
        except BaseException:
            for engine in opened.engines.values():
                engine.close()
            raise
        for part, engine in opened.engines.items():
            self.max_batch[manifest.id, part] = sizes[part]
            again = partial(_open_again, folder.without_graphs(), part, options, exact)
            self.engines[manifest.id, part] = ReopeningEngine(engine, again)
        name = ModelName(manifest.id, folder.sha256[:12])
        kept = [f"{manifest.id}/{part} runs in fp32, not {options.precision}: its features choose keyframes" for part in exact]
        said = (*notes, *([opened.why] if opened.why else []), *(kept if options.precision != "fp32" else []))
        runs = " + ".join(dict.fromkeys(engine.info.backend for engine in opened.engines.values()))
        return Model(manifest, name, runs, itq, said, features)

    def _features(self, folder: Folder) -> Features | None:
        """Return the model that a folder's keyframes lean on, loaded."""
        manifest = folder.manifest
        if not isinstance(manifest, Expression) or manifest.keyframes.model is None:
            return None
        where, keyframes = f"{folder.path / MANIFEST}: keyframes.model {manifest.keyframes.model!r}", manifest.keyframes
        other = self.manifest(manifest.keyframes.model)
        if not isinstance(other, Features):
            raise FolderError(f"{where} is of kind {other.kind}; it must be one of kind features")
        if other.output != keyframes.features:
            raise FolderError(f"{where} gives features as {other.output!r}, keyframes.features is {keyframes.features!r}; they must agree")
        if (broken := wiring.crop_fault(other.crops, other.graphs["full"])) is not None:
            raise FolderError(f"{where}: {broken}; export it again")
        if other_than_color := sorted({crop.modality for crop in other.crops.values()} - {"color"}):
            raise FolderError(
                f"{where} looks at {', '.join(other_than_color)}; keyframes are chosen by color pictures: take a model of these"
            )
        self._load_once(other.id)
        return other

    def _check_requirements(self, folder: Folder) -> None:
        for need in folder.manifest.requires:
            where = f"{folder.path / MANIFEST}: requires model {need.id}"
            try:
                other = self.folder(need.id)
            except UnknownModel as error:
                raise FolderError(f"{where}, but {error}; add its folder with --models") from None
            if need.sha256 != other.sha256:
                raise FolderError(f"{where} of sha256 {need.sha256[:12]}…, there is {other.sha256[:12]}…; export one of them again")
            outputs = sorted({tensor.name for graph in other.manifest.graphs.values() for tensor in graph.outputs})
            if need.output not in outputs:
                raise FolderError(f"{where} for its output {need.output!r}, it has {', '.join(outputs)}; export one of them again")


def how_opened(manifest: Manifest, options: EngineOptions, finder: EngineOptions) -> tuple[EngineOptions, tuple[Part, ...]]:
    """Return how a model is opened, and which of its graphs run in fp32 all the same: what is chosen by their numbers would jump.

    `finder`: the options of face finders.
    """
    if isinstance(manifest, Detector):
        return replace(finder, precision="fp32"), ()
    if not isinstance(manifest, Expression):
        return replace(options, precision="fp32"), ()
    return options, wiring.exact_parts(manifest)


def _open_again(before: Folder, part: Part, options: EngineOptions, exact: Sequence[Part]) -> Engine:
    """Open a graph once more, from a folder that has not changed since."""
    folder = open_folder(before.path)
    if folder.sha256 != before.sha256:
        raise FolderError(f"{before.path / MANIFEST}: was changed since it was loaded; start again to use it")
    return open_model(folder, (part,), options, exact=exact).engines[part]


def _itq(folder: Folder, features: Features | None) -> tuple[Itq | None, tuple[str, ...]]:
    manifest = folder.manifest
    if not isinstance(manifest, Expression) or manifest.keyframes.selector != "itq":
        return None, ()
    file, (graph, sha256) = manifest.keyframes.file, feature_graph(manifest, features)
    (width,) = (math.prod(tensor.shape) for tensor in graph.outputs if tensor.name == manifest.keyframes.features)
    if manifest.keyframes.fit is not None:
        return None, ()
    if file is None:
        return None, (f"{manifest.id} wants itq keyframes but no quantisation was fitted: keyframes are uniform; mien-export itq fits one",)
    try:
        itq = Itq.load(folder.read(file))
    except _UNREADABLE as error:
        raise FolderError(f"{folder.path / file}: is no fitted quantisation: {error}; fit it again with mien-export itq") from None
    if itq.feature_model != sha256 or itq.mean.shape != (width,):
        other = graph.file if features is None else f"{graph.file} of {features.id}"
        raise FolderError(f"{folder.path / file}: was fitted on the features of another {other}; fit it again with mien-export itq")
    return itq, ()


def feature_graph(manifest: Expression, features: Features | None) -> tuple[Graph, str]:
    """Return the graph that gives a model's per-sample features, and its file's sha256; `features`: the model of `keyframes.model`.

    Raises:
        KeyError: there is no such model, and no frame graph.
    """
    of, graph = (manifest, manifest.graphs["frame"]) if features is None else (features, features.graphs["full"])
    return graph, of.files[graph.file]


def _find(dirs: Sequence[Path], shipped: Path) -> _Found:
    found = _Found()
    for directory in (*dirs, shipped):
        for path in _folders(directory):
            try:
                manifest = read_manifest(path)
            except FolderError as error:
                # In an answer a name must be text that JSON can hold.
                found.broken.setdefault(path.resolve().name.encode("ascii", "replace").decode("ascii"), error)
                continue
            before = found.manifests.setdefault(manifest.id, (path, manifest))[0]
            # A given model may stand in for a shipped one: its sha256 in every event says which it was.
            if directory != shipped and before.resolve() != path.resolve():
                raise FolderError(f"{before} and {path} both hold model {manifest.id!r}; give one of them another id")
    return found


def _folders(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise FolderError(f"{directory}: is no folder of models; give a folder that holds model folders, or one of them")
    # A link counts as being there, so that it is refused and not overlooked.
    if os.path.lexists(directory / MANIFEST):
        return [directory]
    return sorted(path for path in directory.iterdir() if path.is_dir() and (os.path.lexists(path / MANIFEST) or any(path.glob("*.onnx"))))
