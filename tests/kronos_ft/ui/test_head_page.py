"""The page of a quantile head in a real browser: its bands, calibrated and raw, the fields that apply."""

import pandas as pd
import pytest

from kronos_ft.ui.words import words_of
from tests.kronos_ft.ui.browser import served, visiting

pytestmark = pytest.mark.ui
EN = words_of("en")


@pytest.fixture(scope="module")
def address(head_run):
    with served(str(head_run)) as (found, _):
        yield found


@pytest.fixture
def visit(address):
    with visiting(address) as found:
        found.open()
        yield found
        assert found.errors == []
        assert found.elsewhere() == []


def shown(visit, name):
    return visit.page.locator(f"#{name}").is_visible()


def test_the_bands_of_the_head(visit):
    visit.forecast()
    assert visit.page.locator("#chart .band-levels").count() == 6
    assert visit.page.locator("#chart .band-90").count() == 0
    assert visit.page.locator("#chart path.paths").count() == 1
    assert visit.page.locator("#chart path.raw").count() == 0
    assert EN["rise_by_head"] in visit.text("#tiles")
    assert EN["table_title_head"] in visit.text("#table")
    assert "1–99, 5–95, 10–90, 20–80, 30–70, 40–60 %" in visit.text("#chart .kf-legend")
    visit.choose("#layers", EN["layer_levels"])
    visit.page.wait_for_selector("#chart .band-levels", state="detached")


def test_calibrated_and_raw_over_each_other(visit, tmp_path):
    visit.choose("#kind", EN["kind_both"])
    visit.forecast()
    visit.page.wait_for_selector("#chart path.raw-median")
    assert visit.page.locator("#chart .raw").count() == 3
    assert EN["legend_raw"] in visit.text("#chart .kf-legend")
    assert visit.page.locator("#tiles .kf-tiles").count() == 2
    assert visit.page.locator("#table table").count() == 2
    assert EN["table_title"].format(paths=50) in visit.text("#table")
    with visit.page.expect_download() as download:
        visit.page.click("#quantile_file")
    download.value.save_as(tmp_path / "table.csv")
    assert pd.read_csv(tmp_path / "table.csv").forecast.tolist() == ["calibrated"] * 4 + ["raw"] * 4
    visit.page.locator("#kind label", has_text=EN["kind_raw"]).first.click()
    visit.page.click("#run")
    visit.page.wait_for_selector("#chart path.raw", state="detached")
    visit.page.wait_for_selector("#tiles .kf-tiles >> nth=1", state="detached")
    assert EN["rise_by_head"] not in visit.text("#tiles")
    assert visit.page.locator("#chart .band-levels").count() == 6  # of the paths, at the same levels


def test_sampling_fields_are_shown_where_they_apply(visit):
    visit.page.click("#sampling button")
    visit.page.locator("#sampling_note", has_text="Temperature and top_p have no effect").wait_for()
    assert not shown(visit, "temperature")
    assert not shown(visit, "top_p")
    assert shown(visit, "seed")
    visit.choose("#head_paths", EN["head_paths_sampled"])
    visit.page.wait_for_selector("#temperature", state="visible")
    assert shown(visit, "top_p")
    visit.forecast()
    assert visit.page.locator("#chart .band-levels").count() == 6
    visit.page.locator("#kind label", has_text=EN["kind_raw"]).first.click()
    visit.page.wait_for_selector("#temperature", state="hidden")
    visit.page.locator("#sampling_note", has_text="Raw paths are sampled with T=1 and top_p=1").wait_for()
    assert not shown(visit, "head_paths")


def test_the_horizon_is_at_most_that_of_the_head(visit):
    assert visit.page.locator("#horizon input[type=range]").get_attribute("max") == "4"
    visit.choose("#head_paths", EN["head_paths_sampled"])
    visit.page.click("#sampling button")
    visit.page.wait_for_selector("#temperature", state="visible")  # also if it was chosen before the fields were opened
    assert visit.page.locator("#lookback input").input_value() == "20"


def test_a_table_for_each_judged_quantity(visit):
    visit.tab(EN["tab_evaluation"])
    visit.page.wait_for_selector("#evaluation .kf-targets")
    tables = visit.page.locator("#evaluation .kf-judged")
    assert tables.count() >= visit.page.locator("#evaluation .kf-verdict p").count() > 1
    assert "head against paths" in visit.text("#evaluation .kf-targets")


def test_a_narrow_screen_does_not_scroll_sideways(address):
    with visiting(address) as visit:
        visit.page.set_viewport_size({"width": 400, "height": 900})
        visit.open()
        visit.choose("#kind", EN["kind_both"])
        visit.forecast()
        for tab in (EN["tab_forecast"], EN["tab_evaluation"]):
            visit.tab(tab)
            assert visit.page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_of_calibrated_sampling(calibrated, run, language):
    words = words_of(language)
    options = ("--data", run.data, "--lang", language)
    with served(calibrated, *options) as (address, _), visiting(address, color_scheme="dark") as visit:
        visit.open()
        visit.choose("#kind", words["kind_both"])
        visit.forecast()
        assert visit.page.locator("#chart .raw").count() == 3
        assert words["rise_by_paths"].format(paths=50) in visit.text("#tiles")
        visit.page.click("#sampling button")
        assert not shown(visit, "temperature")
        visit.choose("#kind", words["kind_own"])
        visit.page.wait_for_selector("#temperature", state="visible")
        assert (visit.errors, visit.elsewhere()) == ([], [])
