"""An evaluation from beginning to end: every clip heard, the chain fitted on the development part, the rest scored.

Owns the order of work and what an evaluation holds. Does not own any step of it, nor how it is shown (`document.py`, `shown.py`,
`report.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from capture.driver import SourceError
from engines.finishing import PostProcessing
from engines.manifest import Expression
from service.analyze import Analyser
from service.evaluation import chain, judging
from service.evaluation.dataset import DIMENSIONS, Dataset, DatasetError
from service.evaluation.hearing import Heard, listen, sampled, within
from service.evaluation.judging import Scores
from service.models import Model
from service.tables import Advance


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A clip that could not be used: as the CSV names it, the error's code and its words."""

    clip: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """`heard`: the clips outside the development part, in the CSV's order; `development`: those inside; `chains`: post-processing per
    dimension; `pooled`: scores of all of `heard` together; `folds`: of each fold; `notes`: what a reader should know."""

    dataset: Dataset
    model: Model
    heard: tuple[Heard, ...]
    development: tuple[Heard, ...]
    unreadable: tuple[Unreadable, ...]
    chains: Mapping[str, PostProcessing]
    pooled: Scores
    folds: Mapping[str, Scores]
    notes: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels, in its own order."""
        manifest = self.model.manifest
        return manifest.labels if isinstance(manifest, Expression) else ()


def evaluate(
    analyser: Analyser,
    dataset: Dataset,
    wanted_folds: int | None,
    steps: Collection[str],
    watch: Callable[[str], AbstractContextManager[Advance]],
    complain: Callable[[Unreadable], None],
) -> Evaluation:
    """Hear all clips and score them; `steps` of the chain are fitted where there is a development part; `complain` is told of each clip
    that cannot be read, as it is found.

    Raises:
        DatasetError: the folds asked for cannot be had, or nothing is left to score.
        EngineError: a graph failed.
    """
    manifest = analyser.model.manifest
    assert isinstance(manifest, Expression)
    held_out = [clip for clip in dataset.clips if not clip.development]
    if not held_out:
        raise DatasetError(f"all clips of {dataset.name} are of the development part; leave some to be scored")
    given = _given(manifest)
    if not dataset.labelled and not set(given) & set(dataset.dimensions):
        raise DatasetError(
            f"{dataset.name} has traces of {' and '.join(dataset.dimensions)}, and model {analyser.model.name.id!r} gives "
            f"{' and '.join(given) or 'neither valence nor arousal'}; take a model that gives them, or label the clips"
        )
    # Before the hours of work: a division that cannot be had is told now.
    divided = judging.folds(held_out, wanted_folds)
    heard, unreadable = [], []
    for number, clip in enumerate(dataset.clips, start=1):
        try:
            with watch(f"{number}/{len(dataset.clips)} {clip.source.name}") as advance:
                heard.append(listen(analyser, clip, advance))
        except SourceError as error:
            unreadable.append(Unreadable(clip.source.name, error.code, str(error)))
            complain(unreadable[-1])
    development = tuple(one for one in heard if one.clip.development)
    rest = tuple(one for one in heard if not one.clip.development)
    chains = _chains(development, dataset, manifest, steps)
    by_frame = judging.speaks_by_frame(rest)
    of_fold = {name: [one for one in rest if one.clip in clips] for name, clips in divided.items()}
    return Evaluation(
        dataset, analyser.model, rest, development, tuple(unreadable), chains, judging.judge(rest, manifest.labels, chains, by_frame),
        {name: judging.judge(some, manifest.labels, chains, by_frame) for name, some in of_fold.items() if some},
        tuple(_notes(analyser.model, dataset, rest, development, divided)),
    )  # fmt: skip


def _chains(development: tuple[Heard, ...], dataset: Dataset, manifest: Expression, steps: Collection[str]) -> dict[str, PostProcessing]:
    """Fit a chain per dimension on the development part; without one take the manifest's, if it has one."""
    if not development:
        there = manifest.post_processing or {}
        return {dimension: there[dimension] for dimension in dataset.dimensions if dimension in there}  # type: ignore[index]
    found = {}
    for dimension in dataset.dimensions:
        pairs = [one.pair for one in (sampled(one, dimension) for one in development) if one is not None]
        if pairs and steps:
            clips = "1 clip" if len(pairs) == 1 else f"{len(pairs)} clips"
            found[dimension] = chain.fit(pairs, steps, f"{clips}, {sum(len(pair.truth) for pair in pairs)} values of {dimension}")
    return found


def _given(manifest: Expression) -> tuple[str, ...]:
    """Return the dimensions that a model gives, predicted or derived from its labels."""
    return DIMENSIONS if manifest.affect is not None else tuple(d for d in DIMENSIONS if d in manifest.outputs)


def _notes(
    model: Model, dataset: Dataset, heard: tuple[Heard, ...], development: tuple[Heard, ...], divided: Mapping[str, object]
) -> list[str]:
    notes = list(model.notes)
    if model.manifest.weights.kind == "random":
        notes.append("the model's weights are random: its scores mean nothing")
    silent = [one.clip.source.name for one in heard if one.label is None and not one.values]
    if silent:
        notes.append(f"no prediction (wrong as a label, missing as a trace) of {len(silent)} of {len(heard)} clips: {_some(silent)}")
    several = [one.clip.source.name for one in heard if one.tracks > 1]
    if several:
        notes.append(
            f"several tracks, of which the one seen longest speaks for the clip, in {len(several)} of {len(heard)}: {_some(several)}"
        )
    short = [one.clip.source.name for one in heard if one.trace is None and (one.label is not None or one.values)]
    if short:
        notes.append(
            f"a clip prediction but nothing by frame (no window was full on the way), in {len(short)} of {len(heard)}: {_some(short)}"
        )
    both = sorted({one.clip.subject for one in heard} & {one.clip.subject for one in development} - {""})
    if both:
        notes.append(f"subjects in the development part and outside it, so that the post-processing knows them: {_some(both)}")
    late = [one.clip.source.name for one in heard if one.clip.annotation is not None and not within(one).all()]
    if late:
        notes.append(
            f"the annotator's values after the end of the clip are left out (time_s is in seconds), in {len(late)} of {len(heard)}: "
            f"{_some(late)}"
        )
    manifest = model.manifest
    lacking = [d for d in dataset.dimensions if isinstance(manifest, Expression) and d not in _given(manifest)]
    if lacking:
        notes.append(f"model {model.name.id!r} does not give {' or '.join(lacking)}: traces of it are not scored")
    if dataset.dimensions and isinstance(manifest, Expression) and manifest.affect and not {"valence", "arousal"} & set(manifest.outputs):
        notes.append(f"valence and arousal of {model.name.id!r} are derived from its label probabilities, not predicted")
    if not divided:
        notes.append("no folds: the CSV has no column subject or fold, or one of it alone is scored")
    return notes


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
