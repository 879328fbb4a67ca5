"""What an ONNX file says of itself, read without running it and without the `onnx` package.

Owns a small, bounded reader of the protobuf wire format: opset, inputs, outputs, operators, and whether any tensor anywhere
keeps its data in another file. Does not own what is allowed (`folder.py`). Where protobuf libraries read odd bytes in
different ways (fields set twice, tags that overflow), the file is refused: what is checked here must be what a runtime sees.

Source: onnx.proto of ONNX 1.x for field numbers; the protobuf encoding specification for the wire format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

DEEPEST = 64
MOST_FIELDS = 2_000_000
"""A network of ten thousand nodes has a few hundred thousand; reading this many takes seconds, not minutes."""
_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip
# Message type → {field number: message type of that field}; only the fields that lead to something we read.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_DATA_TYPE, _NAME, _EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 2, 8, 13, 14, 1
_DEFAULT_DOMAIN = ("", "ai.onnx")
_UNSET = 2**63
"""From here on a varint is a negative int64: exporters write −1 for a dimension they do not know."""


class NotOnnx(ValueError):
    """The bytes are no ONNX model."""


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """A graph's input or output; None for a dimension that is not fixed, None for all of `shape` when it has none."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """`opset` of the default domain (0: none named); `operators` used anywhere, others than ONNX's own with their domain
    (`com.microsoft.Gelu`); `external`: names of tensors whose data is elsewhere; `types`: of the tensors it holds."""

    opset: int
    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]
    operators: frozenset[str]
    external: tuple[str, ...]
    types: frozenset[str] = frozenset()


def read_facts(data: bytes) -> OnnxFacts:
    """Read an ONNX model's facts.

    Raises:
        NotOnnx: the bytes are no protobuf message, have no graph, say something twice, or are larger or deeper than any network.
    """
    if data[4:8] == b"ORTM":
        raise NotOnnx("it is a file in ONNX Runtime's own format, not ONNX")
    reader, whole = _Reader(), memoryview(data)
    graphs = [body for number, body in reader.messages(whole) if number == 7]
    if len(graphs) != 1:
        raise NotOnnx(f"{len(data)} bytes hold {len(graphs)} graphs; an ONNX model has one")
    graph = list(reader.messages(graphs[0]))
    initial = {reader.text(body, _NAME) for number, body in graph if number == 5}
    inputs = tuple(reader.value(body) for number, body in graph if number == 11)
    outputs = tuple(reader.value(body) for number, body in graph if number == 12)
    imports = [body for number, body in reader.messages(whole) if number == 8]
    opsets = [reader.number(body, 2) or 0 for body in imports if reader.text(body, 1) in _DEFAULT_DOMAIN]
    operators, external, types = reader.walk(whole)
    # Until IR version 4 every initialiser was listed among the inputs too: those are no inputs of a caller's.
    asked = tuple(tensor for tensor in inputs if tensor.name not in initial)
    return OnnxFacts(max(opsets, default=0), asked, outputs, frozenset(operators), tuple(sorted(external)), frozenset(types))


class _Reader:
    """Reads messages within one allowance of fields, so that no file can keep it busy."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def walk(self, whole: memoryview) -> tuple[set[str], list[str], set[str]]:
        """Return the operators, the names of tensors with external data and all tensors' types, in all graphs, functions and attributes."""
        operators: set[str] = set()
        types: set[str] = set()
        external: list[str] = []
        waiting = [("model", whole, 0)]
        while waiting:
            kind, body, depth = waiting.pop()
            if depth > DEEPEST:
                raise NotOnnx(f"messages are nested deeper than {DEEPEST}")
            if kind == "node":
                domain, name = self.text(body, 7), self.text(body, 4)
                operators.add(name if domain in _DEFAULT_DOMAIN else f"{domain}.{name}")
            inner = _INSIDE[kind]
            outside = False
            for number, value in self.fields(body):
                if kind == "tensor":
                    # Enums are 32 bits wide: libraries drop what lies above.
                    outside |= number == _EXTERNAL_DATA
                    if number == _DATA_TYPE and isinstance(value, int):
                        types.add(_DTYPES.get(value, f"onnx type {value}"))
                    outside |= number == _DATA_LOCATION and isinstance(value, int) and value & 0xFFFFFFFF == _EXTERNAL
                elif number in inner and isinstance(value, memoryview):
                    waiting.append((inner[number], value, depth + 1))
            if outside:
                external.append(self.text(body, _NAME) or "unnamed")
        return operators, external, types

    def fields(self, body: memoryview) -> Iterator[tuple[int, int | memoryview | None]]:
        """Yield (field number, value): an int for a varint, the bytes of a length-delimited field, None for a fixed width."""
        at, end = 0, len(body)
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise NotOnnx(f"it has more than {MOST_FIELDS} fields")
            start = at
            key, at = _varint(body, at)
            number, wire = key >> 3, key & 7
            if number == 0 or key >= 2**32 or at - start > 5:
                raise NotOnnx("a field's number is none that protobuf allows")
            if wire == 0:
                value, at = _varint(body, at)
                yield number, value
                continue
            if wire == 2:
                size, at = _varint(body, at)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:
                raise NotOnnx(f"a field has wire type {wire}, which ONNX does not use")
            if at + size > end:
                raise NotOnnx(f"a field of {size} bytes ends beyond its message")
            yield number, body[at : at + size] if wire == 2 else None
            at += size

    def messages(self, body: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield the length-delimited fields alone."""
        for number, value in self.fields(body):
            if isinstance(value, memoryview):
                yield number, value

    def one(self, body: memoryview, wanted: int) -> int | memoryview | None:
        """Return a field that may stand once, None when it is not there."""
        found = [value for number, value in self.fields(body) if number == wanted and value is not None]
        if len(found) > 1:
            raise NotOnnx(f"field {wanted} stands {len(found)} times where it may stand once")
        return found[0] if found else None

    def text(self, body: memoryview, wanted: int) -> str:
        value = self.one(body, wanted)
        return bytes(value).decode("utf-8", "replace") if isinstance(value, memoryview) else ""

    def number(self, body: memoryview, wanted: int) -> int | None:
        value = self.one(body, wanted)
        return value if isinstance(value, int) else None

    def value(self, body: memoryview) -> OnnxTensor:
        """Read a ValueInfoProto."""
        name, kind = self.text(body, 1), self.one(body, 2)
        tensor = self.one(kind, 1) if isinstance(kind, memoryview) else None
        if not isinstance(tensor, memoryview):
            raise NotOnnx(f"{name!r} is not a tensor")
        code = self.number(tensor, 1) or 0
        shape = self.one(tensor, 2)
        dims = None
        if isinstance(shape, memoryview):
            sizes = [self.number(dim, 1) for number, dim in self.messages(shape) if number == 1]
            dims = tuple(size if size is not None and 0 < size < _UNSET else None for size in sizes)
        return OnnxTensor(name, _DTYPES.get(code, f"onnx type {code}"), dims)


def _varint(body: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(body):
            raise NotOnnx("a number ends beyond its message")
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise NotOnnx("a number has more than ten bytes")
