"""The files of a repository that have its locks."""

from __future__ import annotations

LOCK = "matrix.lock.json"
IMAGES_LOCK = "images.lock.json"
