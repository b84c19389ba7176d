"""Fixtures for a browser, which are those of the integration tests."""

from __future__ import annotations

from tests.integration.conftest import base, engine, envmatrix

__all__ = ["base", "engine", "envmatrix"]
