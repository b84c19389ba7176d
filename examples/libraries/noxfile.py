"""One session for each library in each cell: `nox -l` lists them."""

from __future__ import annotations

from pathlib import Path

from envmatrix.sessions.registration import add_sessions

add_sessions(Path(__file__).parent)
