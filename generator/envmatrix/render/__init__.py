"""Plans as text: one module per kind of generated file."""
