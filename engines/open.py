"""Opening a graph on a named runtime.

Owns the lazy lookup of `backends/<name>.py`, each of which has `open_graph(data, name, graph, options) -> Engine`. Does not
own any runtime.
"""

from __future__ import annotations

import pkgutil
from dataclasses import replace
from importlib import import_module

from engines import backends
from engines.engine import BackendMissing, Engine, EngineOptions
from engines.folder import Folder
from engines.terms import Part

EXTRAS = {"onnx": "cpu", "openvino": "openvino", "tensorrt": "tensorrt", "triton": "triton"}


def names() -> tuple[str, ...]:
    """Return every backend there is a file for, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(backends.__path__)))


def offers(name: str) -> str:
    """Say what a backend has to choose from here (providers, devices, its SDK); empty: it is not here, or has nothing to tell."""
    try:
        said: str = import_module(f"engines.backends.{name}").offers()
    except (ImportError, OSError, AttributeError, BackendMissing):
        return ""
    return said


def open_engine(folder: Folder, part: Part, options: EngineOptions) -> Engine:
    """Open one graph of a verified folder.

    Raises:
        BackendMissing: there is no such backend, or its package is not installed or does not load.
        EngineError: the model has no such part, or the runtime refuses the graph or would run it elsewhere than asked.
    """
    # Looked up among files that exist: a name from a configuration is never imported unchecked.
    if options.backend not in names():
        raise BackendMissing(f"no engine backend {options.backend!r}; there are: {', '.join(names())}")
    extra = EXTRAS.get(options.backend, options.backend)
    try:
        backend = import_module(f"engines.backends.{options.backend}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("", "engines"):
            raise  # a fault of ours, not a package that is not there
        raise BackendMissing(f"engine backend {options.backend!r} needs {error.name}: pip install 'mien[{extra}]'") from error
    except (ImportError, OSError) as error:
        # The package is there, a library it is linked with is not: a GPU build on a machine without its driver.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackendMissing(f"engine backend {options.backend!r} does not load: {first}; install what it needs, or mien[cpu]") from error
    data = folder.graph_bytes(part)
    chosen = replace(options, largest=folder.manifest.batch.max)
    engine: Engine = backend.open_graph(data, f"{folder.manifest.id}/{part}", folder.manifest.graphs[part], chosen)
    return engine
