"""Use cases without a command line: what commands, sessions and CI call."""
