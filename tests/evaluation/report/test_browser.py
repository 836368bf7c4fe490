"""The page in a real browser: sorting, filters, slider, hover, keyboard, widths, light and dark."""

import json
import re

import pytest

from tests.evaluation.report.pages import data_of

WIDTHS = (400, 1400)


@pytest.fixture
def by():
    return pytest.importorskip("selenium.webdriver.common.by").By


def column(browser, table, place):
    """Shown cells of a column."""
    script = "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter(r => !r.hidden)"
    return browser.execute_script(f"{script}.map(r => r.cells[arguments[1]].textContent)", f"#{table}", place)


def first(page, *heads):
    """The name and the data of a block."""
    return next(
        (name, block)
        for name, block in data_of(page).items()
        if block["kind"] == "table" and tuple(block["heads"][: len(heads)]) == heads
    )


def test_the_page_opens_without_a_word_and_asks_for_nothing(page, show):
    browser = show(page)
    assert browser.title.startswith("Report: ")
    browser.get_log("performance")
    browser.refresh()
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    addresses = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert addresses
    assert [a for a in addresses if not a.startswith("data:")] == [page.as_uri()]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_at_every_width_and_in_both_schemes(page, show, width, scheme):
    browser = show(page, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground, ink = browser.execute_script(
        "const s = getComputedStyle(document.body);"
        "return [s.backgroundColor, s.color].map(c => c.match(/\\d+/g).map(Number).slice(0, 3))"
    )
    assert (sum(ground) < sum(ink)) == (scheme == "dark")
    assert contrast(ground, ink) > 7
    soft = browser.execute_script(
        "return getComputedStyle(document.querySelector('.lead')).color.match(/\\d+/g).map(Number).slice(0, 3)"
    )
    assert contrast(ground, soft) > 4.5
    small = browser.execute_script(
        "return [...document.querySelectorAll('.drawing svg[role=img]')].filter(s => s.clientWidth)"
        ".map(s => s.getBoundingClientRect().width / s.viewBox.baseVal.width)"
    )
    assert small
    assert min(small) > 0.9  # text of 12 pixels stays so


def contrast(a, b):
    """Of two colours, by WCAG."""

    def light(colour):
        parts = [v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((light(a), light(b)))
    return (high + 0.05) / (low + 0.05)


def test_a_click_on_a_head_sorts_numbers_at_full_precision(page, show, by):
    browser = show(page)
    name, block = first(page, "category_id", "name", "objects")
    heads = browser.find_elements(by.CSS_SELECTOR, f"#{name} thead th")
    place = 3
    known = [row for row in block["rows"] if row[place] is not None]
    unknown = len(block["rows"]) - len(known)
    for order, reverse in (("descending", True), ("ascending", False)):
        heads[place].find_element(by.TAG_NAME, "button").click()
        assert heads[place].get_attribute("aria-sort") == order
        wanted = [str(row[0]) for row in sorted(known, key=lambda row: row[place], reverse=reverse)]
        assert column(browser, name, 0)[: len(known)] == wanted
        assert column(browser, name, place)[len(known) :] == ["-"] * unknown
    heads[1].find_element(by.TAG_NAME, "button").click()  # names, from a to z
    assert [head.get_attribute("aria-sort") for head in heads][1:4] == ["ascending", "none", "none"]
    assert column(browser, name, 1)[-1] == "Überraschung 猫"


def test_heads_are_reached_and_pressed_by_keyboard(page, show, by):
    from selenium.webdriver.common.keys import Keys

    browser = show(page)
    name, _ = first(page, "rank", "table")
    browser.find_element(by.CSS_SELECTOR, "nav li:last-child a").send_keys(Keys.TAB)
    for _ in range(20):
        active = browser.switch_to.active_element
        if active.tag_name == "button":
            break
        active.send_keys(Keys.TAB)
    assert active.find_element(by.XPATH, "ancestor::div[@class='table']").get_attribute("id") == name
    before = column(browser, name, 1)
    active.send_keys(Keys.ENTER)
    assert column(browser, name, 1) == before[::-1]
    active.send_keys(Keys.SPACE)
    assert column(browser, name, 1) == before


def test_filters_by_words_and_by_a_bound(page, show, by):
    browser = show(page)
    name, block = first(page, "category_id", "name", "objects")
    field = browser.find_element(by.CSS_SELECTOR, f"#{name} input[type=search]")
    said = browser.find_element(by.CSS_SELECTOR, f"#{name} [role=status]")
    count = len(block["rows"])
    field.send_keys("überr")
    assert column(browser, name, 1) == ["Überraschung 猫"]
    assert said.text == f"1 of {count} rows"
    field.clear()
    field.send_keys("objects >= 20")
    assert column(browser, name, 0) == [str(row[0]) for row in block["rows"] if row[2] >= 20]
    field.clear()
    field.send_keys(" ")
    assert len(column(browser, name, 0)) == count
    assert said.text == f"{count} rows"


def test_the_slider_moves_the_counts(page, show, by):
    browser = show(page)
    name, block = next((n, b) for n, b in data_of(page).items() if b["kind"] == "thresholds")
    home = browser.find_element(by.ID, name)

    def told():
        cells = home.find_elements(by.CSS_SELECTOR, "[data-of]")
        return {cell.get_attribute("data-of"): cell.text.replace(",", "") for cell in cells}

    def wanted(curve, place):
        right, wrong, objects = curve["right"][place], curve["wrong"][place], curve["objects"]
        shares = {"precision": right / (right + wrong), "recall": right / objects}
        shares["f1"] = 2 * right / (right + wrong + objects)
        counts = {"tp": right, "fp": wrong, "fn": objects - right}
        return {k: f"{v:.4f}" for k, v in shares.items()} | {k: f"{v:.0f}" for k, v in counts.items()}

    curve = block["entries"]["a"][""]
    curves = home.find_elements(by.CSS_SELECTOR, "path.curve")
    assert len(curves) == 3
    # what is kept at a score is kept down to the next score: first to the left, then up or down
    assert all(re.match(r"M[\d.]+ [\d.]+H[\d.]+V[\d.]+H", one.get_attribute("d")) for one in curves)
    assert told() == wanted(curve, curve["best"])
    slider = home.find_element(by.CSS_SELECTOR, "input[type=range]")
    move = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    for place in (0, 7, len(curve["score"]) - 1):
        browser.execute_script(move, slider, len(curve["score"]) - 1 - place)
        assert told() == wanted(curve, place)
        assert float(home.find_element(by.CSS_SELECTOR, "output").text) == pytest.approx(
            curve["score"][place], rel=1e-3
        )
    slider.send_keys("\ue012")  # the left arrow
    assert int(slider.get_attribute("value")) == 0
    entry, category = home.find_elements(by.TAG_NAME, "select")
    browser.execute_script("arguments[0].selectedIndex = 1; arguments[0].dispatchEvent(new Event('change'))", entry)
    curve = block["entries"]["b"][""]
    assert told() == wanted(curve, curve["best"])
    browser.execute_script("arguments[0].selectedIndex = 1; arguments[0].dispatchEvent(new Event('change'))", category)
    own = list(block["entries"]["b"])[1]
    curve = block["entries"]["b"][own]
    assert told() == wanted(curve, curve["best"])


def test_choices_show_one_thing_and_draw_it(page, show, by):
    browser = show(page)
    section = browser.find_element(by.ID, "precision-and-recall")
    parts = section.find_elements(by.CLASS_NAME, "chosen")
    assert [part.is_displayed() for part in parts] == [True, False, False]
    select = section.find_element(by.TAG_NAME, "select")
    browser.execute_script("arguments[0].selectedIndex = 2; arguments[0].dispatchEvent(new Event('change'))", select)
    assert [part.is_displayed() for part in parts] == [False, False, True]
    assert len(parts[2].find_elements(by.CSS_SELECTOR, "path.curve")) == 3


def test_values_stand_at_the_pointer_and_at_the_arrow_keys(page, show, by):
    from selenium.webdriver import ActionChains

    browser = show(page)
    figure = browser.find_element(by.CSS_SELECTOR, "#precision-and-recall .drawing")
    drawing = figure.find_element(by.TAG_NAME, "svg")
    tip = figure.find_element(by.CLASS_NAME, "tip")
    assert not tip.is_displayed()
    ActionChains(browser).scroll_to_element(drawing).move_to_element(drawing).perform()
    assert tip.is_displayed()
    assert tip.text.startswith("recall 0.4")  # the axis begins right of the drawing's edge
    assert len(tip.text.splitlines()) == 4
    before = tip.text
    drawing.send_keys("\ue014")  # the right arrow
    assert tip.text != before


def test_whatever_is_drawn_has_a_text(page, show):
    browser = show(page)
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('svg:not([aria-hidden]), img')]"
        ".map(e => e.getAttribute('alt') || e.getAttribute('aria-label') || '')"
    )
    assert len(drawn) >= 4
    assert all(drawn)
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length"
    )
    assert unnamed == 0


def test_it_prints_without_controls_and_without_cutting_tables(page, show):
    browser = show(page)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    try:
        script = "return [...document.querySelectorAll(arguments[0])].map(e => getComputedStyle(e)[arguments[1]])"
        assert set(browser.execute_script(script, ".filter, nav", "display")) == {"none"}
        assert set(browser.execute_script(script, ".scroll", "maxHeight")) == {"none"}
        assert browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"].startswith("JVBERi0")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
