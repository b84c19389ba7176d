"""Sessions of a library in a cell: compile, test, measure, analyse.

`context` has the inputs of a build, from which `tasks` computes what runs in containers; `runner`
runs tasks, keeps their logs and explains failures. `compilation`, `testing`, `benchmark` and
`analysis` are what sessions do with it. Systems that libraries are built and tested with are
modules of `buildsystems` and `frameworks`; what parses their output has no effects.
"""
