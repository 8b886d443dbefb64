"""Run a script with the environment that `make setup` makes, whatever Python its user called it with."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

VENV = Path(__file__).resolve().parent.parent / ".venv"


def use_venv() -> None:
    """Start this script again with the Python of .venv, unless that runs it already.

    Without .venv, a Python that has Emerit installed will do; exit 2 if this one has not.
    """
    python = VENV / "bin" / "python"
    if Path(sys.prefix) == VENV or (not python.exists() and importlib.util.find_spec("emerit")):
        return
    if not python.exists():
        print("There is no environment yet: run `make setup` first.", file=sys.stderr)
        raise SystemExit(2)
    os.execv(python, [str(python), *sys.argv])
