"""Locked, reproducible CUDA build environments from one matrix file."""

__version__ = "0.1.0"
