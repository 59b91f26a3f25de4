"""Reports in a real browser: nothing is asked of the network, nothing fails, plots and checkboxes work."""

from __future__ import annotations

import base64
import pathlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from chromium import chromium, console, hovered, looks, opened, plots, requests, until
from html_samples import EVIL, evil_documents, nodes

from ncclprobe.cli import main

pytestmark = pytest.mark.browser

ROOT = pathlib.Path(__file__).parents[2]
SWEEP = ROOT / "data" / "h200x2_202611" / "sweep"
RANGE = "(({x_range}) => [x_range.start, x_range.end])(Bokeh.documents[0].roots()[0])"
TUNE = ROOT / "data" / "demo_2cores_202611"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium() as started:
        yield started


def html(tmp_path: pathlib.Path, *runs: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "report.html"
    with pytest.raises(SystemExit):
        main(["report", "--html", str(file), *map(str, runs)])
    return file


def quiet(driver: Any, file: pathlib.Path) -> None:
    """Open a page and look that it neither complains nor asks for anything but itself."""
    console(driver), requests(driver)
    looks(driver)
    opened(driver, file)
    assert console(driver) == []
    assert requests(driver) == [file.as_uri()]


def press(driver: Any, selector: str, key: str) -> None:
    """Reach an element as a keyboard does, and press a key on it."""
    from selenium.webdriver.common.by import By

    target = driver.find_element(By.CSS_SELECTOR, selector)
    assert target.get_property("tabIndex") == 0
    target.send_keys(key)


def printed_figures(driver: Any) -> list[dict[str, Any]]:
    """Return the widths and colours of what paper would get."""
    return driver.execute_script("""
      dispatchEvent(new Event("beforeprint"));
      const found = [...document.querySelectorAll("svg.printed")].map((figure) => ({
        width: figure.getAttribute("width"),
        colours: [...figure.querySelectorAll("[stroke]")].map((one) => one.getAttribute("stroke")),
        fills: [...figure.querySelectorAll("[fill^=rgb]")].map((one) => one.getAttribute("fill")),
        scale: [...figure.querySelectorAll("image")].map((one) => one.getAttribute("href")).pop(),
      }));
      dispatchEvent(new Event("afterprint"));
      return found;""")


def scale(driver: Any) -> list[str]:
    """Return the shades of no loss and of the largest in the last plot, a heat map."""
    return driver.execute_script("""
      const {palette} = Bokeh.documents.at(-1).roots()[0].renderers[0].glyph.fill_color.transform;
      return [palette.at(0), palette.at(-1)];""")


def test_a_real_sweep(tmp_path: pathlib.Path, driver: Any) -> None:
    quiet(driver, html(tmp_path, SWEEP))
    found = plots(driver)
    keys = ["run-0-0-0-busbw", "run-0-0-0-time", "run-0-0-0-gain"]
    assert set(found) == set(keys)
    lines = ["default", "Tree/LL", "Tree/LL128", "Tree/Simple", "Ring/LL", "Ring/LL128", "Ring/Simple"]
    assert [found[key]["traces"] for key in keys] == [lines, lines, ["chosen", "default stays"]]
    assert [found[key]["drawn"] for key in keys] == [7, 7, 2]
    assert [found[key]["y"] for key in keys] == ["log", "log", "linear"]
    assert "default at 8" in hovered(driver, "run-0-0-0-busbw")
    assert driver.find_element("css selector", ".verdict").text.startswith("Change: 2.8 % faster")


def test_checkboxes_work_from_the_keyboard(tmp_path: pathlib.Path, driver: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    quiet(driver, html(tmp_path, SWEEP))
    press(driver, "input[data-group='line-1']", Keys.SPACE)
    until(lambda: "Tree/LL" not in plots(driver)["run-0-0-0-busbw"]["traces"])
    assert "Tree/LL" not in plots(driver)["run-0-0-0-time"]["traces"]
    press(driver, "input[data-switch='intervals']", Keys.SPACE)
    until(lambda: not plots(driver)["run-0-0-0-busbw"]["bars"])
    press(driver, "input[data-switch='logarithmic']", Keys.SPACE)
    until(lambda: plots(driver)["run-0-0-0-busbw"]["y"] == "linear")
    press(driver, "button[data-many='none']", Keys.ENTER)
    until(lambda: plots(driver)["run-0-0-0-time"]["traces"] == [])
    press(driver, "button[data-many='best']", Keys.ENTER)
    until(lambda: plots(driver)["run-0-0-0-time"]["traces"][0] == "default")
    press(driver, "button[data-many='all']", Keys.ENTER)
    until(lambda: len(plots(driver)["run-0-0-0-time"]["traces"]) == 7)
    assert console(driver) == []


def test_a_mouse_zooms_and_a_double_click_goes_back(tmp_path: pathlib.Path, driver: Any) -> None:
    # A headless browser has no mouse until one says so.
    fine = "const own = matchMedia.bind(window); window.matchMedia = (query) => own(query.replace('fine', 'none'))"
    script = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": fine})
    quiet(driver, html(tmp_path, SWEEP))
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    x, y, *whole = driver.execute_script(f"""
      const place = document.getElementById("run-0-0-0-busbw");
      place.scrollIntoView({{block: "center"}});
      return [place.getBoundingClientRect().x, place.getBoundingClientRect().y, ...{RANGE}];""")

    def mouse(kind: str, right: int, down: int, clicks: int = 1) -> None:
        at = {"x": x + right, "y": y + down, "button": "left", "buttons": 1, "clickCount": clicks}
        driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **at})

    for kind, right, down in (("mousePressed", 200, 100), ("mouseMoved", 300, 180), ("mouseReleased", 300, 180)):
        mouse(kind, right, down)
    until(lambda: driver.execute_script(f"return {RANGE}") != whole)
    low, high = driver.execute_script(f"return {RANGE}")
    assert whole[0] < low < high < whole[1]
    for clicks in (1, 2):
        mouse("mousePressed", 250, 150, clicks)
        mouse("mouseReleased", 250, 150, clicks)
    until(lambda: driver.execute_script(f"return {RANGE}") == whole)
    assert console(driver) == []


def test_dark_and_print_keep_what_was_chosen(tmp_path: pathlib.Path, driver: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    quiet(driver, html(tmp_path, SWEEP))
    light = plots(driver)["run-0-0-0-busbw"]["ink"]
    press(driver, "input[data-group='line-2']", Keys.SPACE)
    press(driver, "input[data-switch='logarithmic']", Keys.SPACE)
    looks(driver, dark=True)
    until(lambda: plots(driver)["run-0-0-0-busbw"]["ink"] != light)
    found = plots(driver)["run-0-0-0-busbw"]
    assert (found["y"], "Tree/LL128" in found["traces"], len(found["traces"])) == ("linear", False, 6)
    paper = printed_figures(driver)
    assert [figure["width"] for figure in paper] == ["680"] * 3
    assert all({"#16191d", "#0072b2"} <= set(figure["colours"]) for figure in paper[:2])
    assert not {"#e9ecef", "#5ab4f0", "rgb(90,180,240)"} & {shade for figure in paper for shade in figure["colours"]}
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
    assert base64.b64decode(printed).startswith(b"%PDF")
    assert driver.execute_script("return document.querySelectorAll('.printed').length") == 0
    assert console(driver) == []


def test_a_heat_map_on_paper_is_the_same_whatever_the_screen_shows(tmp_path: pathlib.Path, driver: Any) -> None:
    document = tmp_path / "nodes.json"
    document.write_bytes(msgspec.json.encode(nodes("dgx1", "dgx2", "dgx3")))
    quiet(driver, html(tmp_path, document))
    light = printed_figures(driver)[-1]
    assert (scale(driver), "rgb(251,232,207)" in light["fills"]) == (["#fbe8cf", "#3f0a2b"], True)
    looks(driver, dark=True)
    until(lambda: scale(driver) == ["#54475f", "#ffe9c2"])
    assert printed_figures(driver)[-1] == light
    assert scale(driver) == ["#54475f", "#ffe9c2"]
    assert console(driver) == []


@pytest.mark.parametrize("width", [1200, 390])
def test_nothing_is_wider_than_the_screen(tmp_path: pathlib.Path, driver: Any, width: int) -> None:
    document = tmp_path / "nodes.json"
    document.write_bytes(msgspec.json.encode(nodes("dgx1", "dgx2", slow="dgx2")))
    file = html(tmp_path, SWEEP, TUNE, document, document)
    quiet(driver, file)
    looks(driver, width=width)
    until(lambda: driver.execute_script("return document.documentElement.scrollWidth") == width)
    ends = "return [...document.querySelectorAll('caption')].map((one) => one.getBoundingClientRect().right)"
    assert max(driver.execute_script(ends)) <= width


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize(
    ("beginning", "end"),
    [("ncclprobe-nodes-worker-", ".ncclprobe-nodes.ml-training.svc.cluster.local"), ("节" * 30, ""), ("n" * 300, "")],
)
def test_long_names_leave_the_plots_their_room(
    tmp_path: pathlib.Path, driver: Any, width: int, beginning: str, end: str
) -> None:
    names = [f"{beginning}{number}{end}" for number in range(1, 9)]
    document = tmp_path / "nodes.json"
    document.write_bytes(msgspec.json.encode(nodes(*names, slow=names[2])))
    looks(driver, width=width)
    opened(driver, html(tmp_path, document))
    frames = {key: found["frame"] for key, found in plots(driver).items() if not key.endswith("rails")}
    assert all(across >= 100 and down >= 150 for across, down in frames.values()), frames
    assert len(frames) == 2
    assert driver.execute_script("return document.documentElement.scrollWidth") == width
    assert f"{names[2]}: slow" in hovered(driver, "run-0-0-nodes")


def test_a_simulated_run_of_500_nodes(tmp_path: pathlib.Path, driver: Any) -> None:
    fabric = tmp_path / "fabric.toml"
    fabric.write_text(
        'name = "large"\nnodes = 500\ngpus_per_node = 8\n[noise]\ncv = 0.03\n[slow_nodes]\nnode017 = 0.8\n'
    )
    with pytest.raises(SystemExit):
        main(["nodes", "--fabric", str(fabric), "--seed", "1", "--out", str(tmp_path / "run")])
    quiet(driver, html(tmp_path, tmp_path / "run"))
    found = plots(driver)
    assert found["run-0-0-nodes"]["traces"] == ["slow", "ok"]
    assert "node017: slow" in hovered(driver, "run-0-0-nodes")
    assert (sum(found["run-0-0-nodes"]["points"]), found["run-0-0-nodes"]["drawn"]) == (500, 2)
    (pairs,) = found["run-0-0-pairs"]["points"]
    assert (pairs > 2000, found["run-0-0-pairs"]["colours"] > 50) == (True, True)
    assert driver.execute_script("return document.querySelectorAll('details tbody tr').length") >= 500


def test_all_stages_of_a_real_run(tmp_path: pathlib.Path, driver: Any) -> None:
    quiet(driver, html(tmp_path, TUNE))
    found = plots(driver)
    assert found["run-0-4-trials"]["traces"] == ["baseline", "candidate"]
    assert found["run-0-4-ratio"]["bars"]


def test_names_in_documents_stay_text(tmp_path: pathlib.Path, driver: Any) -> None:
    paths = []
    for number, document in enumerate(evil_documents()):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_bytes(msgspec.json.encode(document))
    quiet(driver, html(tmp_path, *paths, *paths[:1]))
    assert driver.execute_script("return window.evil") is None
    assert driver.execute_script("return document.querySelectorAll('main img, main script, svg a').length") == 0
    assert EVIL in driver.find_element("css selector", "body").text
    assert EVIL in hovered(driver, "run-1-0-nodes")
