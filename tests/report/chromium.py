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
    """Return each plot's shown traces and axis types, as Bokeh has them, and how many of them left their colour."""
    return driver.execute_script("""
      const colour = (glyph) => glyph.line_color?.value ?? glyph.line_color;
      const painted = (plot) => {
        const {canvas} = Bokeh.index[plot.id].export("png");
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const found = new Set();
        for (let at = 0; at < data.length; at += 4)
          if (data[at + 3] === 255)
            found.add(`#${[0, 1, 2].map((i) => data[at + i].toString(16).padStart(2, "0")).join("")}`);
        return found;
      };
      return Object.fromEntries(Bokeh.documents.map((one) => one.roots()[0]).map((plot) => {
        const shown = plot.renderers.filter((one) => ["Scatter", "Rect"].includes(one.glyph.type) && one.visible);
        const found = painted(plot);
        return [plot.name, {
          traces: shown.map((one) => one.name),
          points: shown.map((one) => one.data_source.get_length()),
          bars: plot.center.some((one) => one.type === "Whisker" && one.visible),
          y: plot.y_scale.type === "LogScale" ? "log" : "linear",
          drawn: shown.filter((one) => found.has(colour(one.glyph))).length,
          colours: found.size,
          frame: ["width", "height"].map((side) => Bokeh.index[plot.id].frame.bbox[side]),
          ink: plot.left[0].axis_label_text_color,
        }];
      }));""")


def hovered(driver: Any, key: str) -> str:
    """Point at a plot's first value with the mouse and return what is shown."""
    x, y = driver.execute_script(
        """
      const plot = Bokeh.documents.map((one) => one.roots()[0]).find((one) => one.name === arguments[0]);
      const view = Bokeh.index[plot.id], source = plot.renderers.find((one) => one.glyph.type !== "Line").data_source;
      document.getElementById(arguments[0]).scrollIntoView({block: "center"});
      const box = view.el.getBoundingClientRect();
      const at = (axis) => view.frame[`${axis}_scale`].compute(source.data.get(axis)[0]);
      return [box.x + at("x"), box.y + at("y")];""",
        key,
    )
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})
    until(lambda: driver.execute_script("return !document.querySelector('.tip').hidden"))
    return driver.find_element("css selector", ".tip").text


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
