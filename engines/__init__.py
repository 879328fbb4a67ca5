"""Tensors to tensors: model folders, their manifests, and the runtimes that execute their graphs."""
