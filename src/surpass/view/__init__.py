"""Runs as pages that a browser on this machine can read: surpass view."""

from surpass.view.server import Viewer, serve

__all__ = ["Viewer", "serve"]
