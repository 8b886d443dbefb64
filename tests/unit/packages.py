"""Small packages as pip installs them: a module and its metadata in a folder on sys.path."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

import pytest

from emerit.model.architecture import architecture_of, checked_tensors

MODEL = '''
"""A model of two tensors: what follows a token depends on that token alone."""
import torch
from torch import nn


class Bigram(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(spec.vocabulary, spec.d_model))
        self.out = nn.Parameter(torch.zeros(spec.vocabulary, spec.d_model))
        self.gain = nn.Parameter(torch.zeros(spec.d_model))

    def forward(self, tokens):
        return (self.table[tokens] * self.gain) @ self.out.T


class Architecture:
    def tensors(self, spec):
        return [("table", (spec.vocabulary, spec.d_model)), ("out", (spec.vocabulary, spec.d_model)),
                ("gain", (spec.d_model,))]

    def initial(self, spec, name, shape):
        return (1 << 24, 0) if name == "gain" else (0, (1 << 20) ** 2)

    def build(self, spec):
        return Bigram(spec)
'''

DATASET = '''
"""Nine short poems that are made, not read."""


def poems():
    for number in range(9):
        line = f"poem {number}: " + "the sea, the sea and the seagulls over it; " * (150 + number)
        yield f"poem-{number}", line
'''


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, module: str, source: str, group: str, entry: str) -> str:
    """Install a package of one module into `folder`, with one entry point; returns the SHA-256 of its source."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source)
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
    if str(folder) not in sys.path:
        monkeypatch.syspath_prepend(folder)
    sys.modules.pop(module, None)
    importlib.invalidate_caches()
    architecture_of.cache_clear()
    checked_tensors.cache_clear()
    return hashlib.sha256(source.encode()).hexdigest()
