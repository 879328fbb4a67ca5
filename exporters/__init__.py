"""Checkpoints to model folders, arrays to fitted parts. The only package that may import torch."""
