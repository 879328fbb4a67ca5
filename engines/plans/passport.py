"""What a TensorRT plan was built for, and by: the passport beside it.

Owns the fields, a plan's file name, and the comparison with what is wanted now. Pure: no file, no SDK. Does not own the files (`cache.py`).

A plan is compiled code. It is used only if its passport is of exactly the graph, package, device and profile at hand and the file's bytes
have the hash that stands in it; everything else is built anew.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from engines.terms import Count, Sha256, Strict

Short = Annotated[str, Field(min_length=1, max_length=200)]
Precision = Literal["fp32", "fp16", "int8"]


class BadPassport(ValueError):
    """The bytes are no passport. The text says why."""


class Identity(Strict):
    """What a plan is for. Two plans of one identity may stand in for each other; a plan of any other may not.

    `sdk`, `sdk_version`: TensorRT's package. `device`: the card's name and `capability` (`9.0`); `platform`: `linux-x86_64`. `least`,
    `best`, `most`: batch sizes.
    """

    onnx_sha256: Sha256
    sdk: Literal["tensorrt", "tensorrt-rtx"]
    sdk_version: Short
    capability: Annotated[str, Field(pattern=r"^[0-9]{1,2}\.[0-9]$")]
    device: Short
    platform: Short
    precision: Precision
    least: Count
    best: Count
    most: Count

    @property
    def name(self) -> str:
        """Return the plan's file name, without suffix: what a person looks for, and a digest of everything."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
        said = (
            f"{self.onnx_sha256[:12]}-{self.sdk}-{self.sdk_version}-sm{self.capability.replace('.', '')}-{self.platform}-{self.precision}"
        )
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in said)
        return f"{plain[:150]}-b{self.least}-{self.best}-{self.most}-{digest}"


class Passport(Strict):
    """A plan's identity, its bytes' hash and number, and when and how long it was built (which nothing depends on)."""

    format: Literal["mien.plan/1"] = "mien.plan/1"
    identity: Identity
    plan_sha256: Sha256
    plan_size: Count
    built_utc: Short
    build_s: Annotated[float, Field(ge=0)]

    def render(self) -> bytes:
        """Return the JSON text of the file beside the plan."""
        return (self.model_dump_json(indent=2) + "\n").encode()


def parse(data: bytes) -> Passport:
    """Read a passport.

    Raises:
        BadPassport: it is none, or says anything that it must not.
    """
    try:
        return Passport.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BadPassport(f"{key}: {first['msg']}") from None


def difference(found: Passport, wanted: Identity) -> str | None:
    """Return the first field in which a passport is not of what is wanted, with both values; None: it is."""
    for field in Identity.model_fields:
        there, here = getattr(found.identity, field), getattr(wanted, field)
        if there != here:
            return f"{field} is {there}, {here} is wanted"
    return None


def tampering(found: Passport, plan: bytes) -> str | None:
    """Return why a plan's bytes are not those its passport was written for; None: they are."""
    if len(plan) != found.plan_size:
        return f"the plan has {len(plan)} bytes, its passport says {found.plan_size}"
    actual = hashlib.sha256(plan).hexdigest()
    return None if actual == found.plan_sha256 else f"the plan's sha256 is {actual[:12]}…, its passport says {found.plan_sha256[:12]}…"
