"""Cameras, one module each, named as in a camera URI: `Options` and `create(address, options, name)`. Imported when first asked for."""
