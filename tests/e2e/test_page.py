"""The API's page in a real browser: it shows the API's figures, and its console has no errors."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.network import Network, get

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH (Debian: apt-get install chromium)"),
]


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, served: tuple[Network, str]) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        opened = browser.new_page(color_scheme=request.param, viewport={"width": 1100, "height": 900})
        trouble: list[str] = []
        opened.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        opened.on("pageerror", lambda error: trouble.append(str(error)))
        opened.goto(served[1])
        opened.wait_for_selector("#leaderboard tbody tr")
        yield opened
        browser.close()
        assert trouble == []


def test_the_page_shows_the_figures_of_the_api(page: Page, served: tuple[Network, str]) -> None:
    base = served[1]
    people = get(f"{base}/v1/participants")[1]["participants"]
    rows = page.locator("#leaderboard tbody tr")
    assert rows.count() == len(people)
    for place, person in enumerate(people):
        text = rows.nth(place).inner_text()
        assert person["address"][:8] in text
        assert person["role"] in text
        assert f"{person['reputation'] / 1e9:.4f}" in text
    rounds = get(f"{base}/v1/rounds")[1]["rounds"]
    assert f"{rounds[-1]['loss']:.4f}" in page.locator(".facts").inner_text()
    table = page.locator("#rounds tbody tr")
    assert table.count() == len(rounds)
    assert all(
        word in ("final", "stands") for word in page.locator("#rounds tbody tr td:nth-child(6)").all_inner_texts()
    )
    assert page.locator("#disputes").count() == 0
    chart = page.locator(".chart canvas")
    assert chart.count() == 1
    assert chart.bounding_box()["width"] > 300  # type: ignore[index]


def test_addresses_lead_to_the_data_behind_them(page: Page, served: tuple[Network, str]) -> None:
    link = page.locator("#leaderboard tbody a").first.get_attribute("href")
    status, answer = get(f"{served[1]}/{link}")
    assert status == 200
    assert answer["rounds"]
