"""Models of GPUs, and the names that they have."""

from __future__ import annotations

from collections import Counter

import pytest

from envmatrix.facts.gpus import model_of
from envmatrix.facts.model import load_facts

FACTS = load_facts()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA-H100-80GB-HBM3", "h100"),  # as nodes of Kubernetes are labelled
        ("H100", "h100"),
        ("Tesla T4", "t4"),
        ("T4", "t4"),
        ("RTX A6000", "rtxa6000"),
        ("rtx-4090", "rtx4090"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtxpro6000"),
        ("Quadro RTX 6000", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA", None),
        ("", None),
    ],
)
def test_a_model_has_the_names_of_drivers_and_of_people(name: str, model: str | None) -> None:
    row = model_of(name, FACTS.gpus)
    assert (row and row.name) == model


def test_no_two_models_share_a_name() -> None:
    names = [name for row in FACTS.gpus.values() for name in (row.name, *row.aliases, *row.names)]
    assert all(model_of(name, FACTS.gpus) is not None for name in names)
    owners = [
        owner.name
        for row in FACTS.gpus.values()
        for name in (row.name, *row.aliases, *row.names)
        if (owner := model_of(name, FACTS.gpus))
    ]
    sizes = {row.name: 1 + len(row.aliases) + len(row.names) for row in FACTS.gpus.values()}
    assert Counter(owners) == sizes


def test_some_cuda_release_compiles_for_every_model() -> None:
    compiled = {sm for release in FACTS.cuda.values() for sm in release.sm}
    assert {model.sm for model in FACTS.gpus.values()} <= compiled
    assert all(model.ref for model in FACTS.gpus.values())
