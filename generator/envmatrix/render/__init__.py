"""Rendering of plans as text: one module per kind of generated file."""
