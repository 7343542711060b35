"""The page for people, in a real browser: what it shows, and that nothing of a store becomes part of it but as text."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

import zarrv3
from zarrv3_serve import served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

HOSTILE = '"><img src=x onerror=document.title="broken">'
"""A node name that breaks out of an attribute and of a tag, where it is not escaped."""

PIXELS = """
const image = document.querySelector("#image"), canvas = document.createElement("canvas");
canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
const context = canvas.getContext("2d");
context.drawImage(image, 0, 0);
return [canvas.height, canvas.width, ...context.getImageData(0, 0, canvas.width, canvas.height).data.filter((_, n) => n % 4 == 0)];
"""
"""What the picture shows, as brightness."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser without a window."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("the page is looked at in Chromium, which is not here")
    options = Options()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1100,1500",
    ):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def run(browser: Any) -> Callable[..., Any]:
    """Wait until a script returns something true; that is returned."""
    return lambda script: WebDriverWait(browser, 60, 0.05).until(lambda _: browser.execute_script(script))


DRAWN = "return document.querySelector('#image').dataset.drawn"


def test_a_slice_of_the_mri_is_drawn(browser: Any, run: Callable[..., Any], tmp_path: Path) -> None:
    """The middle of the scan is drawn pixel by pixel, another slice when the slider moves, light and dark; the pointer shows a value."""
    file = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    scan = np.asarray(nibabel.load(file).dataobj)  # type: ignore[attr-defined]
    store = zarrv3.open_store()
    zarrv3.create_array(
        store, name="mri", data=scan, chunks=(64, 48, 12, 1), dimension_names=("x", "y", "z", "t")
    )

    def check(z: int) -> None:
        height, width, *pixels = browser.execute_script(PIXELS)
        plane = scan[:, :, z, 1].astype(float)
        expected = np.rint((plane - plane.min()) / (plane.max() - plane.min()) * 254) / 254 * 255
        assert (height, width) == plane.shape
        assert np.abs(np.array(pixels).reshape(plane.shape) - expected).max() <= 1

    with served(store) as url:
        grounds = set()
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            browser.get(f"{url}/mri/")
            assert run(DRAWN) == "64,48,12,1"
            check(12)
            grounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
            shot = browser.find_element("id", "image").screenshot_as_png
            assert len(shot) > 5000  # a plain area has some hundred bytes
        assert len(grounds) == 2
        run(
            "const s = document.querySelector('[data-axis=\"2\"]'); s.value = 7; s.dispatchEvent(new Event('input')); return true"
        )
        run(f"{DRAWN} === '64,48,7,1'")
        check(7)
        webdriver.ActionChains(browser).move_to_element(browser.find_element("id", "image")).perform()
        shown = run("const text = document.querySelector('#under').textContent.trim(); return text")
        index, _, value = shown.partition(" = ")
        assert int(value) == scan[tuple(json.loads(index))]


def test_names_and_attributes_stay_texts(browser: Any, run: Callable[..., Any]) -> None:
    """Node names, attributes and values with HTML in them are shown as they are; no script runs and no other host is asked."""
    store = zarrv3.open_store()
    store[f"{HOSTILE}/zarr.json"] = (
        b'{"zarr_format": 3, "node_type": "group", "attributes": {"x": "</pre><script>document.title=1</script>"}}'
    )
    root = zarrv3.open_group(store)
    texts = root.create_array(
        f"{HOSTILE}/%2e%2e", data=np.array([[HOSTILE, "b"], ["c", "d"]]), attributes={HOSTILE: HOSTILE}
    )
    browser.get_log("performance")
    browser.get_log("browser")
    with served(store) as url:
        browser.get(f"{url}/")
        run("return document.querySelectorAll('#tree details').length")
        run("document.querySelector('#tree details').open = true; return true")
        run("return document.querySelectorAll('#tree details li').length")
        assert (
            browser.execute_script("return document.querySelector('#tree summary a').textContent") == HOSTILE
        )
        run("document.querySelector('#tree details li a').click(); return true")
        assert run("return document.querySelector('#table td')?.textContent") == HOSTILE
        assert json.loads(
            browser.execute_script("return document.querySelector('#attributes').textContent")
        ) == {HOSTILE: HOSTILE}
        assert browser.execute_script("return document.title") == f"{texts.path} – zarrv3"
        path = browser.execute_script("return location.pathname")
        browser.get(f"{url}{path}")  # and by its URL
        assert run("return document.querySelector('#table td')?.textContent") == HOSTILE
        assert browser.execute_script("return document.querySelectorAll('main img').length") == 1
        assert browser.get_log("browser") == []
        messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert {address for address in asked if not address.startswith((f"{url}/", "data:"))} == set()
