"""Writes the reference outputs that `test_references.py` holds our graphs against; run once, the files are committed.

The graphs given here were converted by others of this project before the exporters existed, with other code:
`fer_small_balanced.onnx` (sha256 da8be0ad…, from the training) and `faceapi_expression.onnx` (sha256 313922bb…).
Inputs are drawn faces (`exporters/probes.py`), stored beside the outputs.

    python tests/exporters/references/make.py fer_small_balanced.onnx faceapi_expression.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from exporters.invariance import open_session, run
from exporters.probes import drawn_faces

HERE = Path(__file__).parent
LUMA = np.array([0.299, 0.587, 0.114])


def main(fer_small: Path, faceapi: Path) -> None:
    gray = np.clip(np.rint(drawn_faces(8, 64, 64, seed=7) @ LUMA), 0, 255).astype(np.uint8)
    outputs = run(open_session(fer_small.read_bytes()), {"gray": gray[:, None].astype(np.float32)})
    np.savez_compressed(HERE / "fer_small.npz", gray=gray, **outputs)
    face = np.ascontiguousarray(drawn_faces(3, 112, 112, seed=0).transpose(0, 3, 1, 2))
    outputs = run(open_session(faceapi.read_bytes()), {"input_rgb_0_255": face.astype(np.float32)})
    np.savez_compressed(HERE / "faceapi.npz", face=face, **outputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
