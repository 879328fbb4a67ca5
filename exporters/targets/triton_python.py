"""Runs inside tritonserver's python backend, copied to NAME/1/model.py: the `model.onnx` beside it, through onnxruntime.

Owns nothing of ours: it is data for a repository, and is never imported here.
"""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as server


class TritonPythonModel:
    """The server's word for a model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph."""
        settings = ort.SessionOptions()
        settings.use_deterministic_compute = True
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = ort.InferenceSession(str(file), settings)
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.outputs = [entry.name for entry in self.session.get_outputs()]

    def execute(self, requests: list[object]) -> list[object]:
        """Run the requests that the server has put together as one batch."""
        given = [{name: server.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs} for request in requests]
        found = self.session.run(self.outputs, {name: np.concatenate([rows[name] for rows in given]) for name in self.inputs})
        answers, start = [], 0
        for rows in given:
            end = start + len(rows[self.inputs[0]])
            answers.append(
                server.InferenceResponse([server.Tensor(name, array[start:end]) for name, array in zip(self.outputs, found, strict=True)])
            )
            start = end
        return answers
