"""Clips that are uploaded, wait in a durable queue, are decoded in a disposable child and analysed beside the live sessions."""
