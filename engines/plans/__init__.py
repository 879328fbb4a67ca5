"""TensorRT plans: what one is built for, where it is kept, how it is built. `backends/tensorrt.py` runs them."""
