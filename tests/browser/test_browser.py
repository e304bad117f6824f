"""What people do with the portal works in a real browser, without a complaint in its console."""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import house as houses
import pyotp
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver import Chrome

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
IS_WANTED = os.environ.get("AUTARCO_BROWSER") == "1"
"""Set by `make browser`: a missing browser is then a failure."""
SHOTS = os.environ.get("AUTARCO_SHOTS")
"""A directory for pictures of the pages, for people to look at."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
WAIT_S = 20.0
DESKTOP, PHONE = (1280, 900), (390, 844)

pytestmark = pytest.mark.skipif(
    (CHROMIUM is None or DRIVER is None) and not IS_WANTED,
    reason="no chromium and chromedriver here: `make browser` installs them and runs these tests",
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[houses.House]:
    data = tmp_path_factory.mktemp("browser") / "data"
    now = datetime.now(UTC).replace(microsecond=0)
    totp = houses.furnish(data, now)
    yesterday = now.astimezone(houses.ZONE).date() - timedelta(days=1)
    for url in houses.serve(data):
        yield houses.House(url=url, totp=totp, yesterday=yesterday)


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_page_load_timeout(WAIT_S)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def signed_in(chrome: Chrome, house: houses.House) -> Chrome:
    """The installer, by password and code."""
    chrome.get(house.url)
    assert chrome.current_url == f"{house.url}/sign-in?next=/"
    type_into(chrome, "email", houses.EMAIL)
    type_into(chrome, "password", houses.PASSWORD)
    shoot(chrome, "sign-in")
    submit(chrome, "main form")
    assert "/sign-in/code" in chrome.current_url
    type_into(chrome, "code", pyotp.TOTP(house.totp).now())
    shoot(chrome, "code")
    submit(chrome, "main form")
    assert chrome.current_url == f"{house.url}/"
    return chrome


@pytest.fixture(autouse=True)
def nothing_to_complain(request: pytest.FixtureRequest) -> Iterator[None]:
    """Errors of scripts, refused loads and breaches of the policy are all in the console."""
    yield
    if "chrome" in request.fixturenames:
        chrome: Chrome = request.getfixturevalue("chrome")
        log: Any = chrome.get_log("browser")  # type: ignore[no-untyped-call]
        assert [entry["message"] for entry in log] == []


def element(chrome: Chrome, css: str) -> Any:
    return chrome.find_element("css selector", css)


def type_into(chrome: Chrome, name: str, text: str) -> None:
    element(chrome, f"main #{name}").send_keys(text)


def until(chrome: Chrome, true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := true()):
        assert time.monotonic() < deadline, element(chrome, "body").text
        time.sleep(0.05)
    return found


def submit(chrome: Chrome, form: str) -> None:
    """Presses a form's button and waits for the next page."""
    chrome.execute_script("window.isOld = true")
    element(chrome, f"{form} button[type=submit]").click()
    loaded = "return !window.isOld && document.readyState === 'complete'"
    until(chrome, lambda: chrome.execute_script(loaded))


def shoot(chrome: Chrome, name: str) -> None:
    """Takes pictures of the whole page as a desk and as a phone shows it, in light and dark."""
    if SHOTS is None:
        return
    for device, (width, height) in (("desktop", DESKTOP), ("phone", PHONE)):
        for scheme in ("light", "dark"):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            resize(chrome, width, height)
            time.sleep(0.6)
            tall = chrome.execute_script("return document.documentElement.scrollHeight")
            resize(chrome, width, min(max(tall, height), 4_000))
            time.sleep(0.6)
            chrome.save_screenshot(str(Path(SHOTS) / f"{name}-{device}-{scheme}.png"))
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def resize(chrome: Chrome, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def open_site(chrome: Chrome, house: houses.House) -> None:
    """Yesterday of the house; all charts are drawn."""
    chrome.get(f"{house.url}/sites/{houses.SITE}?day={house.yesterday}")
    drawn = "return [...document.querySelectorAll('figure.chart')].every(f => f.dataset.ready)"
    until(chrome, lambda: chrome.execute_script(drawn))


def shown_range(chrome: Chrome) -> list[str]:
    found: list[str] = chrome.execute_script(
        "return document.querySelector('#power .plot').layout.xaxis.range"
    )
    return found


def test_the_fleet_is_there_after_signing_in(signed_in: Chrome, house: houses.House) -> None:
    signed_in.get(house.url)
    text = element(signed_in, "main").text
    assert "Familie Smit" in text
    assert "Lage opbrengst" in text
    assert "Niet bewaakt" in text
    shoot(signed_in, "fleet")


def test_search_finds_by_place(signed_in: Chrome, house: houses.House) -> None:
    signed_in.get(house.url)
    type_into(signed_in, "q", "deurne")
    submit(signed_in, "form.search")
    text = element(signed_in, "main").text
    assert "Bakkerij De Vries" in text
    assert "Familie Smit" not in text


def test_a_site_draws_its_day_and_tells_under_the_pointer(
    signed_in: Chrome, house: houses.House
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    open_site(signed_in, house)
    lines = signed_in.find_elements("css selector", "#power .scatterlayer .trace")
    assert len(lines) == len(houses.INVERTERS)
    assert len(signed_in.find_elements("css selector", "figure[id^=mppt-] .plot svg.main-svg")) > 1
    assert signed_in.find_elements("css selector", "#month .barlayer .trace")
    plot = element(signed_in, "#power .plot")
    signed_in.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    # In the afternoon: at noon, the middle, nothing was received.
    ActionChains(signed_in).move_to_element_with_offset(plot, 120, 0).perform()
    hover = until(
        signed_in, lambda: signed_in.find_elements("css selector", "#power .hoverlayer .legendtext")
    )
    assert any("W" in one.text for one in hover)
    # Last: the sizes that a picture is taken in leave the pointer beside the line.
    shoot(signed_in, "site")


def test_a_mouse_zooms_and_buttons_zoom_and_show_all(
    signed_in: Chrome, house: houses.House
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    open_site(signed_in, house)
    whole = shown_range(signed_in)
    plot = element(signed_in, "#power .nsewdrag")
    signed_in.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    drag = ActionChains(signed_in).move_to_element_with_offset(plot, -100, 0).click_and_hold()
    drag.move_by_offset(80, 0).move_by_offset(80, 0).release().perform()
    until(signed_in, lambda: shown_range(signed_in) != whole)
    zoomed = shown_range(signed_in)
    assert whole[0] < zoomed[0] < zoomed[1] < whole[1]
    press(signed_in, "all")
    until(signed_in, lambda: shown_range(signed_in) == whole)
    press(signed_in, "in")
    until(signed_in, lambda: shown_range(signed_in) != whole)
    closer = shown_range(signed_in)
    press(signed_in, "later")
    until(signed_in, lambda: shown_range(signed_in)[0] > closer[0])


def press(chrome: Chrome, what: str) -> None:
    """By keyboard: a button has the focus and Enter is pressed."""
    button = element(chrome, f"#power .zoom [data-act={what}]")
    chrome.execute_script("arguments[0].focus()", button)
    button.send_keys("\ue007")


def test_an_alarm_is_acknowledged(signed_in: Chrome, house: houses.House) -> None:
    signed_in.get(f"{house.url}/alarms")
    shoot(signed_in, "alarms")
    element(signed_in, "main tbody th a").click()
    until(signed_in, lambda: signed_in.find_elements("css selector", "#comment"))
    shoot(signed_in, "alarm")
    type_into(signed_in, "comment", "Morgen ga ik kijken")
    submit(signed_in, "main form")
    text = element(signed_in, "main").text
    assert "Morgen ga ik kijken" in text
    assert "Piet Bos" in text
    assert "In behandeling" in text
    assert not signed_in.find_elements("css selector", "#comment")


def test_the_language_changes_and_comes_back(signed_in: Chrome, house: houses.House) -> None:
    signed_in.get(f"{house.url}/guarantees")
    for code, heading in (("en", "Guarantees"), ("nl", "Garanties")):
        signed_in.execute_script("window.isOld = true")
        element(signed_in, f"footer button[value={code}]").click()
        until(signed_in, lambda: signed_in.execute_script("return !window.isOld"))
        assert element(signed_in, "html").get_attribute("lang") == code
        assert element(signed_in, "h1").text == heading
        assert signed_in.current_url == f"{house.url}/guarantees"


def test_a_copy_of_ones_data_is_prepared_and_erasure_previewed(
    signed_in: Chrome, house: houses.House
) -> None:
    signed_in.get(f"{house.url}/my-data")
    submit(signed_in, "form[action='/my-data/bundles/access']")
    ready = "a[href='/my-data/bundles/access/file']"
    until(signed_in, lambda: signed_in.find_elements("css selector", ready))
    shoot(signed_in, "my-data-ready")
    signed_in.find_element("partial link text", "Wissing").click()
    until(signed_in, lambda: "/my-data/requests/" in signed_in.current_url)
    submit(signed_in, "form[action$='/preview']")
    assert "Erase me" not in element(signed_in, "main").text
    assert "Wis mij" in element(signed_in, "main").text
    shoot(signed_in, "erasure")


def test_an_officer_looks_at_a_request(signed_in: Chrome, house: houses.House) -> None:
    signed_in.get(f"{house.url}/privacy-desk")
    signed_in.find_element("partial link text", "Inzage").click()
    until(signed_in, lambda: "/privacy-desk/requests/" in signed_in.current_url)
    assert "Anna Smit" in element(signed_in, "main").text
    shoot(signed_in, "desk-request")


def test_a_keyboard_skips_to_the_content(signed_in: Chrome, house: houses.House) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    signed_in.get(f"{house.url}/alarms")
    ActionChains(signed_in).send_keys("\ue004").perform()
    skip = signed_in.switch_to.active_element
    assert skip.get_attribute("class") == "skip"
    assert skip.is_displayed()
    skip.send_keys("\ue007")
    assert signed_in.switch_to.active_element.get_attribute("id") == "main"


@pytest.mark.parametrize(
    "path",
    ["/", f"/sites/{houses.SITE}", "/alarms", "/guarantees", "/guarantees/g-0007", "/profile",
     "/organisations", "/my-data", "/my-data/looks", "/privacy", "/privacy-desk",
     "/privacy-desk/incidents", "/privacy-desk/disclosures", "/privacy-desk/retention",
     f"/sites/{houses.SITE}/people", f"/sites/{houses.SITE}/looks"],
)  # fmt: skip
def test_a_phone_needs_no_scrolling_sideways(
    path: str, signed_in: Chrome, house: houses.House
) -> None:
    resize(signed_in, *PHONE)
    try:
        signed_in.get(house.url + path)
        wide = "return document.documentElement.scrollWidth"
        time.sleep(0.3)
        assert signed_in.execute_script(wide) <= PHONE[0]
    finally:
        signed_in.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    shoot(signed_in, path.strip("/").replace("/", "-") or "start")
