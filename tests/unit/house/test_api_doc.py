"""docs/api.md names every route that the application has, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry

from emerit.api.app import create_app

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


def test_every_route_is_documented() -> None:
    app = create_app(cast(Any, None), cast(Any, None), CollectorRegistry())
    routes = {path for path, methods in app.openapi()["paths"].items() if "get" in methods}
    documented = set(re.findall(r"`GET (/[^`?\s]*)", PAGE.read_text()))
    assert documented == routes
