"""Pages for people, served as they lie here: no build step, no template. `serve.py` serves them."""
