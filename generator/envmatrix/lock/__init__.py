"""The lock: every package, wheel and base of every cell, by sha256; requests and resolvers."""
