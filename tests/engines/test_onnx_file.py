"""The ONNX reader agrees with the `onnx` package, finds external data wherever it hides, and survives any bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper

from engines.onnx_file import DEEPEST, MOST_FIELDS, NotOnnx, OnnxTensor, read_facts
from tests.engines.graphs import expressive, model, scaled, tensor

DTYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float16": TensorProto.FLOAT16}
NAMES = st.text(min_size=1, max_size=12)


def by_the_package(data: bytes) -> tuple[int, list[OnnxTensor], list[OnnxTensor], set[str]]:
    proto = onnx.load_from_string(data)
    initial = {t.name for t in proto.graph.initializer}

    def said(value: onnx.ValueInfoProto) -> OnnxTensor:
        kind = value.type.tensor_type
        dims = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim)
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        return OnnxTensor(value.name, dtype, dims if kind.HasField("shape") else None)

    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    inputs = [said(v) for v in proto.graph.input if v.name not in initial]
    return opset, inputs, [said(v) for v in proto.graph.output], {node.op_type for node in proto.graph.node}


def messages(message: Any) -> Iterator[Any]:
    """Every message inside a message, itself included, as protobuf's reflection finds them."""
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for child in [value] if hasattr(value, "ListFields") else value:
                yield from messages(child)


def keeps_data_elsewhere(proto: onnx.ModelProto) -> bool:
    return any(
        isinstance(part, TensorProto) and (len(part.external_data) > 0 or part.data_location == TensorProto.EXTERNAL)
        for part in messages(proto)
    )


def test_shipped_graphs_read_as_the_onnx_package_reads_them(checkout: Path) -> None:
    files = sorted((checkout / "engines" / "models").glob("*/*.onnx"))
    assert files
    for file in files:
        data = file.read_bytes()
        facts = read_facts(data)
        assert (facts.opset, list(facts.inputs), list(facts.outputs), set(facts.operators)) == by_the_package(data), file
        assert facts.external == ()


@st.composite
def values(draw: st.DrawFn) -> onnx.ValueInfoProto:
    dims = st.one_of(st.integers(-1, 2**31), st.none(), st.text("abc", min_size=1, max_size=4))
    shape = draw(st.one_of(st.none(), st.lists(dims, max_size=5)))
    return helper.make_tensor_value_info(draw(NAMES), DTYPES[draw(st.sampled_from(sorted(DTYPES)))], shape)


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    unique = {"unique_by": lambda value: value.name}
    operators = draw(st.lists(st.sampled_from(["Add", "Conv", "Relu"]), max_size=6))
    graph = helper.make_graph(
        [helper.make_node(op, ["a"], ["b"], value=draw(st.one_of(st.none(), st.floats(width=32), st.binary()))) for op in operators],
        draw(NAMES),
        draw(st.lists(values(), max_size=4, **unique)),
        draw(st.lists(values(), max_size=4, **unique)),
        [tensor(name) for name in draw(st.lists(NAMES, max_size=3, unique=True))],
        doc_string=draw(st.text(max_size=20)),
    )
    opset = [helper.make_opsetid("", draw(st.integers(1, 30))), helper.make_opsetid("com.microsoft", 99)]
    return helper.make_model(graph, opset_imports=draw(st.permutations(opset)), ir_version=draw(st.integers(3, 12)))


@given(models())
def test_generated_graphs_read_as_the_onnx_package_reads_them(proto: onnx.ModelProto) -> None:
    data = proto.SerializeToString()
    facts = read_facts(data)
    assert (facts.opset, list(facts.inputs), list(facts.outputs), set(facts.operators)) == by_the_package(data)
    assert facts.external == ()


def test_an_initialiser_among_the_inputs_is_no_input() -> None:
    proto = scaled()
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    assert [t.name for t in read_facts(proto.SerializeToString()).inputs] == ["x"]


def test_operators_of_other_domains_bear_their_domain() -> None:
    proto = scaled()
    proto.graph.node.append(helper.make_node("Gelu", ["x"], ["z"], domain="com.microsoft"))
    proto.graph.node.append(helper.make_node("Relu", ["x"], ["u"], domain="ai.onnx"))
    assert read_facts(proto.SerializeToString()).operators == {"Mul", "com.microsoft.Gelu", "Relu"}


def elsewhere(name: str = "far") -> onnx.TensorProto:
    proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    proto.external_data.add(key="location", value="../../etc/passwd")
    return proto


def branch(name: str) -> onnx.GraphProto:
    return helper.make_graph([], name, [], [], [elsewhere()])


def attribute(**fields: Any) -> onnx.NodeProto:
    node = helper.make_node("Thing", ["x"], ["z"])
    node.attribute.append(AttributeProto(name="a", **fields))
    return node


def sparse(values: onnx.TensorProto, indices: onnx.TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[3])


def nested(levels: int) -> onnx.GraphProto:
    graph = branch("innermost")
    for level in range(levels):
        graph = helper.make_graph([attribute(g=graph, type=AttributeProto.GRAPH)], f"level {level}", [], [])
    return graph


def in_function(proto: onnx.ModelProto) -> None:
    proto.functions.append(onnx.FunctionProto(name="f", domain="d", node=[attribute(t=elsewhere())]))


def in_function_default(proto: onnx.ModelProto) -> None:
    proto.functions.append(onnx.FunctionProto(name="f", domain="d", attribute_proto=[AttributeProto(name="a", t=elsewhere())]))


PLACES: dict[str, Callable[[onnx.ModelProto], object]] = {
    "initialiser": lambda m: m.graph.initializer.append(elsewhere()),
    "sparse initialiser's values": lambda m: m.graph.sparse_initializer.append(sparse(elsewhere(), tensor())),
    "sparse initialiser's indices": lambda m: m.graph.sparse_initializer.append(sparse(tensor(), elsewhere())),
    "attribute": lambda m: m.graph.node.append(attribute(t=elsewhere())),
    "attribute's list": lambda m: m.graph.node.append(attribute(tensors=[tensor(), elsewhere()])),
    "attribute's sparse tensor": lambda m: m.graph.node.append(attribute(sparse_tensor=sparse(elsewhere(), tensor()))),
    "attribute's sparse tensors": lambda m: m.graph.node.append(attribute(sparse_tensors=[sparse(tensor(), elsewhere())])),
    "subgraph": lambda m: m.graph.node.append(attribute(g=branch("then"))),
    "list of subgraphs": lambda m: m.graph.node.append(attribute(graphs=[branch("one")])),
    "subgraph of a subgraph": lambda m: m.graph.node.append(attribute(g=nested(5))),
    "training initialisation": lambda m: m.training_info.append(onnx.TrainingInfoProto(initialization=branch("start"))),
    "training algorithm": lambda m: m.training_info.append(onnx.TrainingInfoProto(algorithm=branch("step"))),
    "function": in_function,
    "function's default attribute": in_function_default,
}


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_found_wherever_it_hides(place: str) -> None:
    proto = scaled()
    PLACES[place](proto)
    assert keeps_data_elsewhere(proto)
    assert read_facts(proto.SerializeToString()).external == ("far",)


@pytest.mark.parametrize("kept", ["data_location", "external_data"])
def test_either_sign_of_external_data_suffices(kept: str) -> None:
    proto = scaled()
    far = elsewhere("")
    far.ClearField("external_data" if kept == "data_location" else "data_location")  # type: ignore[arg-type]
    proto.graph.initializer.append(far)
    assert read_facts(proto.SerializeToString()).external == ("unnamed",)


def field(number: int, body: bytes) -> bytes:
    """A length-delimited field, for bytes that no library would write."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def around(initialiser: bytes) -> bytes:
    graph = scaled().graph.SerializeToString() + field(5, initialiser)
    return field(7, graph) + field(8, b"\x10\x14")


def test_a_location_beyond_32_bits_counts_as_libraries_cut_it() -> None:
    odd = field(8, b"far") + varint(14 << 3) + varint(2**32 + 1)
    assert read_facts(around(odd)).external == ("far",)


def test_a_field_number_that_libraries_would_cut_to_external_data_is_refused() -> None:
    odd = field(8, b"far") + varint((13 << 3 | 2) + 2**32) + varint(0)
    with pytest.raises(NotOnnx, match="number"):
        read_facts(around(odd))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "hold 0 graphs"),
        (field(7, b"") * 2, "hold 2 graphs"),
        (b"\x08\x01zzORTM" + scaled().SerializeToString(), "own format"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x00", "number"),
        (b"\x08", "ends beyond"),
        (b"\x3a\x05\x00", "ends beyond"),
        (b"\x08" + b"\xff" * 11, "ten bytes"),
        (b"\x08\x01" * (MOST_FIELDS + 1), "fields"),
        (field(7, field(11, field(1, b"x") * 2)), "2 times"),
        (field(7, field(11, field(1, b"x") + field(2, field(4, b"")))), "not a tensor"),
    ],
    ids=["empty", "two graphs", "ort format", "group", "field 0", "cut", "cut field", "long number", "many fields", "twice", "sequence"],
)
def test_what_is_no_onnx_model_is_refused(data: bytes, rule: str) -> None:
    with pytest.raises(NotOnnx, match=rule):
        read_facts(data)


def test_nesting_has_an_end() -> None:
    body = field(1, field(5, field(6, b"")))
    for _ in range(DEEPEST):
        body = field(1, field(5, field(6, body)))
    with pytest.raises(NotOnnx, match="deeper"):
        read_facts(field(7, body))


@given(st.binary(max_size=400))
def test_any_bytes_give_a_result_or_the_one_error(data: bytes) -> None:
    with_graph = field(7, data)
    for given_bytes in (data, with_graph):
        try:
            read_facts(given_bytes)
        except NotOnnx:
            continue


WHOLE = [m.SerializeToString() for m in (scaled(), expressive(), model(nested(2)), model(branch("far")))]


@settings(max_examples=300)
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_no_damage_hides_external_data_from_us_that_the_package_sees(data: bytes, damage: list[tuple[int, bytes]]) -> None:
    spoilt = bytearray(data)
    for at, piece in damage:
        at %= len(spoilt)
        spoilt[at : at + len(piece)] = piece
    try:
        facts = read_facts(bytes(spoilt))
    except NotOnnx:
        return
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(bytes(spoilt))
    except DecodeError:
        return
    assert facts.external or not keeps_data_elsewhere(proto)
