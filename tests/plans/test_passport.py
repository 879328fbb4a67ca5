"""Passports: what a plan was built for, its name, and every way in which it may not be the one that is wanted."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.plans.making import identity, precision_of
from engines.plans.passport import BadPassport, Identity, Passport, difference, parse, tampering
from tests.engines.graphs import expressive
from tests.plans.plans_of_tests import IDENTITIES, IDENTITY, OTHER, other

PLAN = b"a plan"


def passport(of: Identity = IDENTITY, plan: bytes = PLAN) -> Passport:
    return Passport(
        identity=of, plan_sha256=hashlib.sha256(plan).hexdigest(), plan_size=len(plan), built_utc="2026-11-21T12:00:00+00:00", build_s=61.5
    )


def test_every_field_has_another_value_here() -> None:
    assert set(OTHER) == set(Identity.model_fields)


@pytest.mark.parametrize("field", sorted(OTHER))
def test_a_difference_in_any_field_is_one(field: str) -> None:
    said = difference(passport(other(field)), IDENTITY)
    assert said is not None
    assert said.startswith(f"{field} is ")


@pytest.mark.parametrize("field", sorted(OTHER))
def test_another_value_in_any_field_is_another_file(field: str) -> None:
    assert other(field).name != IDENTITY.name


@given(IDENTITIES)
def test_a_passport_is_read_as_it_was_written(of: Identity) -> None:
    assert parse(passport(of).render()) == passport(of)
    assert difference(passport(of), of) is None


@given(IDENTITIES, IDENTITIES)
def test_one_name_one_identity(one: Identity, two: Identity) -> None:
    assert (one.name == two.name) == (one == two) == (difference(passport(one), two) is None)


@given(IDENTITIES)
def test_a_name_is_a_file_name_whatever_a_device_is_called(of: Identity) -> None:
    assert re.fullmatch(r"[0-9a-f][A-Za-z0-9._-]{1,220}", of.name)
    assert len(f".{of.name}.json.9999999") < 255


def test_a_name_says_what_the_plan_is_of() -> None:
    assert IDENTITY.name.startswith("aaaaaaaaaaaa-tensorrt-10.9.0.34-sm87-linux-aarch64-fp16-b1-1-16-")


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_other_bytes_are_tampering(one: bytes, two: bytes) -> None:
    if one:
        assert (tampering(passport(plan=one), two) is None) == (one == two)


@given(st.binary(max_size=200))
def test_no_bytes_but_a_passports_are_one(data: bytes) -> None:
    with pytest.raises(BadPassport):
        parse(data)


@given(st.integers(0, 500), st.integers(0, 255))
def test_a_passport_with_a_byte_changed_is_another_or_none(place: int, value: int) -> None:
    """Whatever is changed, what is read is either refused or differs from what was written."""
    written = passport().render()
    spoilt = bytearray(written)
    spoilt[place % len(written)] = value
    try:
        read = parse(bytes(spoilt))
    except BadPassport:
        return
    # White space may change; nothing else may without being seen.
    assert (read == passport()) == (b"".join(bytes(spoilt).split()) == b"".join(written.split()))


@pytest.mark.parametrize("change", [{"format": "mien.plan/2"}, {"more": 1}, {"plan_size": 0}, {"plan_sha256": "x"}, {"identity": None}])
def test_an_odd_passport_is_refused(change: dict[str, object]) -> None:
    import json

    with pytest.raises(BadPassport, match=next(iter(change))):
        parse(json.dumps({**json.loads(passport().render()), **change}).encode())


def test_an_identity_follows_from_the_bytes_and_the_machine() -> None:
    data = expressive().SerializeToString()
    facts = {"sdk": "tensorrt", "version": "11.0", "capability": "9.0", "device": "H200", "platform": "linux-x86_64", "largest": 4}
    made = identity(data, **facts)  # type: ignore[arg-type]
    assert (made.onnx_sha256, made.most, made.precision) == (hashlib.sha256(data).hexdigest(), 4, "fp32")
    assert precision_of(data) == "fp32"
