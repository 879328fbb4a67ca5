"""Pixels to rows for networks, and their rows back to faces: finders, crops, quality gates. Pure, without state."""
