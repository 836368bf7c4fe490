"""What all tests share: the same random examples in every run, the commands in process, a browser, and devices.

`--hypothesis-profile=explore` draws new examples.
"""

import os
import shutil
import sys
import threading

import numpy as np
import pytest
from hypothesis import settings
from numba import config

import quorum
from fusion.errors import InputError
from fusion.run import settle
from tests import one_thread

if one_thread.INSTALLED:
    one_thread.install()

os.environ["QUORUM_NOTES"] = "always"  # for commands in processes of their own, too

settings.register_profile("explore", derandomize=False)
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def threads_of_its_own():
    """`--threads` holds for the process of a command: here it ends with the test, else later trainings differ."""
    before = os.environ.get("QUORUM_THREADS")
    yield
    if before is None:
        os.environ.pop("QUORUM_THREADS", None)
    else:
        os.environ["QUORUM_THREADS"] = before


@pytest.fixture
def run(capsys):
    """Run a command: its exit code, and what it printed on standard output and standard error."""

    def call(*arguments):
        try:
            quorum.main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call


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


BACKENDS = ["simulator"] if config.ENABLE_CUDASIM else ["gpu"] if one_thread.INSTALLED else ["cpu", "gpu"]


@pytest.fixture(params=BACKENDS, scope="module")
def backend(request):
    """The device that a test gives to what it calls: the CPU, or a GPU.

    The GPU is a real one, simulated (NUMBA_ENABLE_CUDASIM=1), or of one thread (QUORUM_ONE_THREAD=1).
    """
    if request.param == "cpu":
        yield "cpu"
        return
    try:
        settle("cuda")
    except InputError as error:
        pytest.skip(f"NUMBA_ENABLE_CUDASIM=1 simulates a GPU; here {error.problem}")
    with pytest.MonkeyPatch.context() as patch:
        if config.ENABLE_CUDASIM:
            share_once(patch)
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)  # the simulator polls its threads: ten times faster than with Python's own 5 ms
        yield "cuda"
        sys.setswitchinterval(before)


def share_once(patch):
    """Give all threads of a simulated block the same shared array.

    Numba 0.68's simulator looks for the array and makes it in two steps without a lock: two threads that come at the
    same time get one each. On two busy cores 2 of 600 prefix sums came out wrong for that.
    """
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    lock = threading.Lock()

    def array(self, shape, dtype):
        frame = sys._getframe(1)
        place = frame.f_code.co_filename, frame.f_lineno
        with lock:
            if place not in self._allocations:
                self._allocations[place] = np.empty(shape, dtype)
            return self._allocations[place]

    patch.setattr(FakeCUDAShared, "array", array)
