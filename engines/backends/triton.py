"""A KServe v2 server over gRPC (NVIDIA Triton, MLServer): the graphs of an exported repository, run somewhere else.

Owns the talk with the server: what it serves is held against the manifest, tensors go through shared memory on one host and in the
request otherwise, and every call has a deadline. Does not own coming back after the server was gone (`engines/reopening.py`) or
the repository (`mien-export triton`).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
from time import monotonic
from typing import Any

import numpy as np
import tritonclient.grpc as client
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from engines.engine import Arrays, BackendLost, EngineError, EngineInfo, EngineOptions
from engines.manifest import Graph, Tensor
from engines.served import SHA256
from engines.shapes import Shapes
from engines.shared_block import SharedBlock

log = logging.getLogger("mien.engines")
ASK_S = 2.0
"""Deadline of a question about the server or a model."""
WARM_S = 60.0
"""Deadline of the first run: a server may build its engine then."""
SLOWER = 4.0
"""A run may take so many times what the first one showed for its rows, above `timeout_s`."""
_LOOPBACK = ("localhost", "127.", "[::1]", "unix:")
_GONE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
_FORGOTTEN = "shared memory region"
"""In the words of a server that was started anew between two runs."""


class TritonEngine:
    """One model of a server. Outputs are ordinary arrays of the caller's own."""

    def __init__(self, data: bytes, name: str, graph: Graph, options: EngineOptions) -> None:
        if options.precision != "fp32" or options.providers is not None:
            wish = f"precision {options.precision}" if options.providers is None else f"providers {', '.join(options.providers)}"
            raise EngineError(f"{name}: what a graph runs on is the server's choice; leave out {wish} and say it in its config.pbtxt")
        self._name = name
        self._shapes = Shapes.of(name, graph)
        self._model = name.replace("/", "-")
        self._options = options
        self._per_row_s = 0.0
        self._lost: str | None = None
        self._block: SharedBlock | None = None
        self._share = options.url.startswith(_LOOPBACK)
        # Its own pool of connections: one that was broken must not make a new engine wait for the old one's turn to try again.
        # No proxy: faces go to the address that was given, and nowhere else.
        arguments = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]
        self._client: client.InferenceServerClient | None = client.InferenceServerClient(options.url, channel_args=arguments)
        try:
            platform, served = self._check(data)
            self._infer(self._shapes.zeros(1), 1, WARM_S)
            began = monotonic()
            self._infer(self._shapes.zeros(1), 1, WARM_S)
            self._per_row_s = monotonic() - began
        except BaseException:
            self.close()
            raise
        way = "shared memory" if self._share else "bytes in the request"
        log.info("%s runs on %s at %s, over %s", name, served, options.url, way)
        self.info = EngineInfo(f"triton:{platform}", f"{served}, {way}", 0)

    def run(self, inputs: Arrays) -> Arrays:
        """Run one batch.

        Raises:
            EngineError: the engine is closed, the inputs do not fit, or the server refuses the run.
            BackendLost: the server has gone, or did not answer in time.
        """
        if self._client is None:
            raise EngineError(f"{self._name}: the engine is closed; open the graph again")
        rows = self._shapes.rows(inputs)
        if self._lost is not None:
            raise BackendLost(self._lost)
        try:
            return self._infer(inputs, rows, self._options.timeout_s + SLOWER * rows * self._per_row_s)
        except BackendLost as error:
            # For good: what a late server still writes must not be taken for a later run's answer.
            self._lost = str(error)
            raise

    def close(self) -> None:
        """Let go of server and memory. May be called again."""
        server, self._client = self._client, None
        if server is not None:
            self._forget(server)
            server.close()

    # What is served.

    def _check(self, data: bytes) -> tuple[str, str]:
        """Hold what the server says of the model against the manifest; return what runs it there, and the server's name."""
        server = self._ask("get_server_metadata")
        found = self._ask("get_model_metadata", self._model)
        wanted = {"input": self._shapes.inputs, "output": self._shapes.outputs}
        for role, given in (("input", found.inputs), ("output", found.outputs)):
            served = {tensor.name: (tensor.datatype, tuple(tensor.shape)) for tensor in given}
            missing = [name for name in wanted[role] if name not in served]
            if missing or (role == "input" and len(served) != len(wanted[role])):
                raise self._other(f"has {role}s {', '.join(served)}, manifest.json says {', '.join(wanted[role])}")
            for name, tensor in wanted[role].items():
                if not _fits(tensor, *served[name]):
                    shape = ", ".join(map(str, ("batch", *tensor.shape)))
                    raise self._other(
                        f"has {role} {name} as {served[name][0]} {served[name][1]}, manifest.json says {tensor.dtype} ({shape})"
                    )
        return self._configured(data) or found.platform or "unknown", f"{server.name} {server.version}"

    def _configured(self, data: bytes) -> str | None:
        """Check the graph's hash where the server tells one; return its backend's name. Servers other than Triton tell neither."""
        try:
            config = self._ask("get_model_config", self._model).config
        except EngineError as error:
            if isinstance(error, BackendLost):
                raise
            return None
        there, ours = config.parameters[SHA256].string_value if SHA256 in config.parameters else "", hashlib.sha256(data).hexdigest()
        if there not in ("", ours):
            raise self._other(f"was made of another graph: its sha256 is {there[:12]}…, this folder's {ours[:12]}…")
        return config.backend or config.platform or None

    def _other(self, what: str) -> EngineError:
        return EngineError(
            f"{self._name}: model {self._model} of the server at {self._options.url} {what}; write its repository again with "
            "mien-export triton and have the server load it"
        )

    def _ask(self, question: str, *arguments: str) -> Any:
        try:
            return getattr(self._client, question)(*arguments, client_timeout=ASK_S)
        except InferenceServerException as error:
            raise self._failed(error) from error

    def _failed(self, error: InferenceServerException) -> EngineError:
        status = str(error.status() or "").rpartition(".")[2]
        said = (error.message() or type(error).__name__).splitlines()[0]
        where = f"{self._name}: the server at {self._options.url}"
        if status == "NOT_FOUND":
            return BackendLost(f"{where} does not serve {self._model}; have it load what mien-export triton writes: {said}")
        if status in _GONE or _FORGOTTEN in said:
            return BackendLost(f"{where} does not answer; start it, or set engine.url: {said}")
        return EngineError(f"{where} refuses: {said}")

    # A run.

    def _infer(self, inputs: Arrays, rows: int, deadline_s: float) -> Arrays:
        assert self._client is not None
        block = self._shared(rows)
        given, wanted = [], []
        for name, array in inputs.items():
            tensor = client.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            if block is None:
                tensor.set_data_from_numpy(np.ascontiguousarray(array))
            else:
                tensor.set_shared_memory(block.name, block.size(name, rows), block.offsets[name])
            given.append(tensor)
        for name in self._shapes.outputs:
            output = client.InferRequestedOutput(name)
            if block is not None:
                output.set_shared_memory(block.name, block.size(name, rows), block.offsets[name])
            wanted.append(output)
        if block is not None:
            block.write(inputs)
        try:
            answer = self._client.infer(self._model, given, outputs=wanted, client_timeout=deadline_s)
        except InferenceServerException as error:
            raise self._failed(error) from error
        for name, tensor in self._shapes.outputs.items():
            self._check_answer(answer.get_output(name), tensor, rows)
        if block is not None:
            return block.read(self._shapes.outputs, rows)
        # Copied: what the client gives is a read-only view of the message.
        return {name: answer.as_numpy(name).reshape(rows, *tensor.shape).copy() for name, tensor in self._shapes.outputs.items()}

    def _check_answer(self, said: Any, tensor: Tensor, rows: int) -> None:
        wanted = np_to_triton_dtype(np.dtype(tensor.dtype))
        if said is None or said.datatype != wanted or math.prod(said.shape) != rows * math.prod(tensor.shape):
            got = "nothing" if said is None else f"{said.datatype} {tuple(said.shape)}"
            raise EngineError(
                f"{self._name}: output {tensor.name} of {rows} rows must be {wanted} {(rows, *tensor.shape)}; the server at "
                f"{self._options.url} answers with {got}"
            )

    def _shared(self, rows: int) -> SharedBlock | None:
        """Return the block both sides see, made larger where it must be; None: tensors go in the request."""
        assert self._client is not None
        if not self._share or (self._block is not None and self._block.rows >= rows):
            return self._block
        if self._block is not None:
            self._ask("get_system_shared_memory_status", self._block.name)  # one that was started anew has not heard of it: lost
        self._forget(self._client)
        block = SharedBlock((*self._shapes.inputs.values(), *self._shapes.outputs.values()), rows)
        try:
            self._client.register_system_shared_memory(block.name, block.key, block.bytes, client_timeout=ASK_S)
        except InferenceServerException as error:
            block.close()
            refusal = self._failed(error)
            if isinstance(refusal, BackendLost) and _FORGOTTEN not in str(refusal):
                raise refusal from error
            # A server in a container of its own, or one that knows no shared memory.
            log.warning("%s: no shared memory with the server at %s: tensors go in the request", self._name, self._options.url)
            self._share = False
            return None
        self._block = block
        return block

    def _forget(self, server: client.InferenceServerClient) -> None:
        block, self._block = self._block, None
        if block is None:
            return
        with contextlib.suppress(InferenceServerException):  # it has gone, and with it what it knew
            server.unregister_system_shared_memory(block.name, client_timeout=ASK_S)
        block.close()


def open_graph(data: bytes, name: str, graph: Graph, options: EngineOptions) -> TritonEngine:
    """Find a graph on the server and run it once; `name` is for errors and, with `-` for `/`, the server's name of it.

    Raises:
        BackendLost: the server is not there.
        EngineError: it serves no such model, or another one of that name.
    """
    return TritonEngine(data, name, graph, options)


def _fits(tensor: Tensor, datatype: str, shape: tuple[int, ...]) -> bool:
    """Tell whether a served tensor can be the manifest's: batch first, and one value per row said as [1] where the server needs it."""
    if datatype != np_to_triton_dtype(np.dtype(tensor.dtype)) or shape[:1] != (-1,):
        return False
    inner = shape[1:]
    return inner == (tensor.shape or (1,)) or (
        len(inner) == len(tensor.shape) and all(a in (-1, b) for a, b in zip(inner, tensor.shape, strict=True))
    )
