"""A page of simulated members, with names that HTML could stumble over, and a browser to look at it."""

import json
import shutil

import pytest

import quorum
from zoo.synthetic.simulated import Scenario, Skill, simulate

ODD = ['<script>document.title = "broken"</script>', 'a "quoted" & <b>bold</b> name', "Überraschung 猫", "it's"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Ground truth with odd names, and tables of three members."""
    folder = tmp_path_factory.mktemp("data")
    skills = [Skill(name="a"), Skill(name="b", separation=1.5, low=0.0, high=50.0), Skill(name="c", recall=0.6)]
    truth, *results = simulate(Scenario(images=40, categories=16), skills, 1).write(folder)
    dataset = json.loads(truth.read_text())
    for category, name in zip(dataset["categories"], ODD, strict=False):
        category["name"] = name
    truth.write_text(json.dumps(dataset))
    for path, name in zip(results, ("a", "b", "c <i>&'\"é"), strict=True):
        quorum.main(["import", str(path), "-g", str(truth), "-o", str(folder / "tables" / f"{name}.parquet")])
    return folder


@pytest.fixture(scope="session")
def tables(folder):
    return sorted((folder / "tables").glob("*.parquet"))


@pytest.fixture(scope="session")
def page(folder, tables):
    """The page that `quorum report` writes of them."""
    path = folder / "report.html"
    words = ["report", *tables, "-g", folder / "ground_truth.json", "-o", path, "--replicates", 50]
    quorum.main([str(word) for word in words])
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium without a window."""
    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if program is None or driver is None:
        pytest.skip("needs chromium and chromedriver on the path (Debian: apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the extra `test`")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for switch in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-dev-shm-usage"):
        options.add_argument(f"--{switch}")
    for switch in ("disable-background-networking", "disable-component-update", "disable-sync"):
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def show(browser):
    """Open a page at some width, in light or dark; whatever the console said is an error afterwards."""

    def call(path, width=1400, scheme="light"):
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        features.append({"name": "prefers-reduced-motion", "value": "reduce"})  # clicks do not wait for scrolling
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(path.as_uri())
        return browser

    yield call
    assert browser.get_log("browser") == []
