"""Moves full sub-buffers from the rings to a sink."""
