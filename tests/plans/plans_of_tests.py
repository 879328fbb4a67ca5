"""Identities and plans for tests of what keeps them."""

from __future__ import annotations

from hypothesis import strategies as st

from engines.plans.passport import Identity

IDENTITY = Identity(
    onnx_sha256="a" * 64, sdk="tensorrt", sdk_version="10.9.0.34", capability="8.7", device="Orin (nvgpu)", platform="linux-aarch64",
    precision="fp16", least=1, best=1, most=16,
)  # fmt: skip
OTHER: dict[str, object] = {
    "onnx_sha256": "b" * 64, "sdk": "tensorrt-rtx", "sdk_version": "10.9.0.35", "capability": "8.9", "device": "Orin", "precision": "int8",
    "platform": "linux-x86_64", "least": 2, "best": 2, "most": 8,
}  # fmt: skip
"""For each field another value."""
TEXT = st.text(min_size=1, max_size=40)
IDENTITIES = st.builds(
    Identity,
    onnx_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    sdk=st.sampled_from(["tensorrt", "tensorrt-rtx"]),
    sdk_version=TEXT,
    capability=st.builds("{}.{}".format, st.integers(0, 99), st.integers(0, 9)),
    device=TEXT,
    platform=TEXT,
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    least=st.integers(1, 9),
    best=st.integers(1, 99),
    most=st.integers(1, 999),
)


def other(field: str) -> Identity:
    """`IDENTITY` with another value in one field."""
    return IDENTITY.model_copy(update={field: OTHER[field]})
