"""Dataclasses as the schema of files: decoding with positions, constraints, and JSON Schema."""
