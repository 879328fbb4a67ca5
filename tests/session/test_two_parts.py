"""A network as one graph and as frame + window says the same, and each part of its work is done once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.events import ClipPrediction, Event, SessionEvent, wire
from service.inputs import Change, Input
from service.models import Models
from service.perception.synthetic import SyntheticFace
from service.pipeline import Pipeline
from service.session import Session
from service.settings import SessionOptions, Taken
from tests.session.two_parts import Counted, Painted, load, write
from tests.session.world import MS, bundle

SELECTORS = ("none", "uniform", "stride", "itq")
CLIP = ("uniform", "itq", "kmeans", "per-clip", "random")


@dataclass(frozen=True)
class Run:
    """What a session said, did, and put into buffers."""

    said: list[SessionEvent]
    taken: list[Taken]
    graphs: Counted


@pytest.fixture(scope="module")
def shelves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str, bool], Models]]:
    """By scope, selector and whether the network is in two parts."""
    with ExitStack() as stack:
        loaded = {}
        for scope, selectors in (("rolling", SELECTORS), ("clip", CLIP)):
            for selector in selectors:
                for split in (False, True):
                    folder = write(tmp_path_factory.mktemp("models"), selector, split, scope=scope)
                    loaded[scope, selector, split] = stack.enter_context(closing(load(folder)))
        yield loaded


def run(models: Models, inputs: Sequence[Input], ends: bool, faces: int) -> Run:
    graphs, taken = Counted(models.engines), []
    there = {id: models.load(id) for id in ("main", "other")}
    options = SessionOptions(faces=faces, ends=ends, models=there, on_sample=taken.append)
    pipe = Pipeline(Session(there["main"], Painted(), options), graphs.batcher)
    said = [event for given in inputs for event in pipe.push(given)]
    return Run([*said, *pipe.finish()], taken, graphs)


def nameless(said: Sequence[SessionEvent]) -> list[dict[str, Any]]:
    bodies = [wire(event) for event in said]
    for body in bodies:
        assert body.get("model", {"id": "main"})["id"] in ("main", "other")
        if body.get("model", {}).get("id") == "main":
            del body["model"]["sha256"]
    return bodies


@st.composite
def streams(draw: st.DrawFn) -> list[Input]:
    """Frames of up to three people, some lost, some refused, some after a gap; changes of model and hop on the way."""
    inputs: list[Input] = []
    t_ns = 0
    mood = st.integers(0, 40)
    for number in range(1, draw(st.integers(5, 40)) + 1):
        t_ns += draw(st.sampled_from([33, 33, 33, 33, 33, 33, 120, 450, 900])) * MS
        faces = []
        for who in range(3):
            there = draw(st.sampled_from(["seen"] * 8 + ["lost", "blurred"])) if who < 2 else draw(st.sampled_from(["seen", "lost"]))
            if there != "lost":
                identity = tuple(map(float, (draw(mood), draw(mood), draw(mood), draw(mood), who, 1)))
                box = (400.0 * who, 0.0, 400.0 * who + 100 + who, 100.0)
                faces.append(SyntheticFace(box, identity, 1.0, "blurred" if there == "blurred" else None))
        inputs.append(bundle(number, faces, t_ns))
        changed = draw(st.sampled_from([None] * 12 + ["main", "other", "hop"]))
        if changed == "hop":
            inputs.append(Change(hop=draw(st.integers(1, 4))))
        elif changed is not None:
            inputs.append(Change(model=changed))
    return inputs


@pytest.mark.parametrize(("scope", "selector"), [*(("rolling", name) for name in SELECTORS), *(("clip", name) for name in CLIP)])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(inputs=streams(), ends=st.booleans(), faces=st.integers(1, 3))
def test_one_graph_or_two_say_the_same(
    scope: str, selector: str, inputs: list[Input], ends: bool, faces: int, shelves: dict[tuple[str, str, bool], Models]
) -> None:
    # Selectors that need the whole clip have no rolling form.
    ends = ends or selector in ("kmeans", "per-clip", "random")
    one, two = (run(shelves[scope, selector, split], inputs, ends, faces) for split in (False, True))
    assert nameless(one.said) == nameless(two.said)
    assert [(t.track, t.frame) for t in one.taken] == [(t.track, t.frame) for t in two.taken]
    for it in (one, two):
        its = [event for event in it.said if isinstance(event, Event | ClipPrediction) and event.model.id == "main"]
        predicted = sum(face.prediction is not None for event in its if isinstance(event, Event) for face in event.faces)
        at_end = sum(isinstance(event, ClipPrediction) and event.window is not None for event in its)
        assert it.graphs.rows("main", "full") + it.graphs.rows("main", "window") == predicted + at_end
    assert two.graphs.rows("main", "full") == 0
    assert two.graphs.rows("main", "frame") + two.graphs.rows("other", "frame") == len(two.taken)
    if selector in ("itq", "kmeans", "per-clip"):
        # In one graph there are no features per frame: the other model's are asked for once, in the same round.
        assert one.graphs.rows("eye", "full") == two.graphs.rows("main", "frame")
    else:
        assert one.graphs.rows("eye", "full") == 0


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_plain_stream_has_predictions_of_both(selector: str, shelves: dict[tuple[str, str, bool], Models]) -> None:
    inputs = [bundle(n, [SyntheticFace((0, 0, 100, 100), (n * 7 % 40, n * 11 % 37, n * n % 31, 5, 0, 1))]) for n in range(1, 31)]
    one, two = (run(shelves["rolling", selector, split], inputs, True, 1) for split in (False, True))
    values = [event.faces[0].prediction.scores for event in two.said if isinstance(event, Event) and event.faces[0].prediction is not None]
    assert len(values) == (30 - 2) // 2
    assert len(set(values)) > 10  # the network listens to what it sees
    assert nameless(one.said) == nameless(two.said)
    assert two.graphs.rows("main", "frame") == 30
    assert two.graphs.rows("main", "window") == len(values)
