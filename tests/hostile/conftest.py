"""The fixtures of the integration tests: a checkout with one cell, on the real engine."""

from __future__ import annotations

from tests.integration.conftest import base as base
from tests.integration.conftest import checkout as checkout
from tests.integration.conftest import engine as engine
from tests.integration.conftest import envmatrix as envmatrix
from tests.integration.conftest import template as template
