"""A headless Chromium that opens a report, and what it has to say of it."""

from __future__ import annotations

import base64
import json
import pathlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE_S = 90.0


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium with all of its logs; it ends with the block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def opened(driver: Any, path: pathlib.Path) -> None:
    """Open a file and wait until its plots are drawn, or could not be."""
    driver.get(path.absolute().as_uri())
    until(lambda: state(driver) in ("drawn", "failed"))
    took = driver.execute_script("return document.documentElement.dataset.milliseconds")
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, plots drawn {took} ms after the start of loading")  # noqa: T201
    assert state(driver) == "drawn"


def state(driver: Any) -> str | None:
    return driver.execute_script("return document.documentElement.dataset.state")


def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.05)


def console(driver: Any) -> list[str]:
    """Return what was logged as an error or a warning since the last call."""
    return [line["message"] for line in driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]


def requests(driver: Any) -> list[str]:
    """Return the addresses that were asked for since the last call; pictures inside the page are no requests."""
    messages = [json.loads(line["message"])["message"] for line in driver.get_log("performance")]
    sent = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    return [address for address in sent if not address.startswith("data:")]


def plots(driver: Any) -> dict[str, dict[str, Any]]:
    """Return each plot's shown traces and axis types, as plotly has them."""
    return driver.execute_script("""
      return Object.fromEntries([...document.querySelectorAll(".plot")].map((place) => [place.id, {
        traces: place.data.filter((trace) => trace.visible !== false).map((trace) => trace.name ?? trace.type),
        bars: place.data.some((trace) => trace.error_y && trace.error_y.visible !== false),
        y: place.layout.yaxis.type,
        drawn: place.querySelectorAll(".trace, .hm").length,
        paper: place.layout.paper_bgcolor,
      }]));""")


def hovered(driver: Any, key: str) -> str:
    """Point at a plot's first value and return what is shown."""
    driver.execute_script("Plotly.Fx.hover(arguments[0], [{curveNumber: 0, pointNumber: 0}])", key)
    return driver.execute_script(
        "return document.getElementById(arguments[0]).querySelector('.hoverlayer').textContent", key
    )


def looks(driver: Any, *, width: int = 1200, dark: bool = False) -> None:
    """Set the window's width and the theme."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})


def picture(driver: Any, path: pathlib.Path, *, height: int, scale: float = 1.0) -> None:
    """Write a picture of the page's top, as wide as the window."""
    width = driver.execute_script("return document.documentElement.clientWidth")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    path.write_bytes(base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))
