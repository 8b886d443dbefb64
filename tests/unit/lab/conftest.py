from __future__ import annotations

import pytest
import torch

from emerit.lab.arena import Corpus
from tests.unit.lab.builders import PRESET


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return Corpus.load(PRESET, "")


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
