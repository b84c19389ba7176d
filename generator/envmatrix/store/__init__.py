"""Artifacts on this machine: where each origin lives, and files kept by their sha256."""
