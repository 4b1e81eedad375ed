"""The page in a real browser: it forecasts, toggles the truth, tells errors in one line, asks no other host."""

import os
import socketserver
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pandas as pd
import pytest

from kronos_ft.data.sources import simulate_candles
from kronos_ft.ui.words import words_of
from tests.kronos_ft.ui.browser import ROOT, served, visiting

pytestmark = pytest.mark.ui
EN = words_of("en")
PLANTED = "<!doctype html><title>r</title><h1>Planted</h1>"  # a report.html that is not the run's


class Listener(socketserver.ThreadingTCPServer):
    """Another host: counts who connects, and answers nothing."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.callers = []

    def verify_request(self, request, client_address):
        self.callers.append(client_address)
        return True


@pytest.fixture(scope="module")
def listener():
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def address(run, listener):
    picture = f"<img src=http://127.0.0.1:{listener.server_address[1]}/x>"
    (run.folder / "report.html").write_text(PLANTED + "<script>document.title='ran'</script>" + picture)
    with served(str(run.folder)) as (found, _):
        yield found
    (run.folder / "report.html").unlink()


@pytest.fixture
def visit(address, listener):
    with visiting(address) as found:
        found.open()
        yield found
        assert found.elsewhere() == []
        assert listener.callers == []


def test_a_forecast_of_the_runs_own_data(visit):
    assert "600 bars of 1 h" in visit.text("#facts")
    assert visit.page.locator("#chart path.median").count() == 0
    visit.forecast()
    assert visit.page.locator("#chart .band").count() == 2
    assert visit.page.locator("#table tbody tr").count() == 4  # the run's own horizon
    assert EN["last_close"] in visit.text("#tiles")
    assert visit.page.locator("#chart svg").bounding_box()["width"] > 600
    assert visit.errors == []


def test_the_truth_of_an_earlier_origin_is_shown_and_hidden(visit):
    visit.choose("#start", EN["origin_past"])
    field = visit.page.locator("#origin input, #origin textarea")
    assert field.input_value() == "2020-01-25 20:00"
    visit.page.click("#earlier")
    visit.page.wait_for_function(
        "document.querySelector('#origin input, #origin textarea').value == '2020-01-25 16:00'"
    )
    visit.forecast()
    assert visit.page.locator("#chart path.truth").count() > 0
    assert EN["happened"] in visit.text("#tiles")
    assert EN["happened"] in visit.text("#table")
    visit.choose("#layers", EN["layer_truth"])
    visit.page.wait_for_selector("#chart path.truth", state="detached")
    assert EN["happened"] not in visit.text("#tiles")
    assert EN["happened"] not in visit.text("#table")
    visit.choose("#layers", EN["layer_paths"])
    visit.page.wait_for_selector("#chart path.paths", state="detached")
    visit.choose("#layers", EN["layer_truth"])
    visit.page.wait_for_selector("#chart path.truth", state="attached")
    assert visit.errors == []


def test_a_bad_origin_and_a_context_too_long_are_one_line(visit):
    visit.choose("#start", EN["origin_past"])
    visit.page.locator("#origin input, #origin textarea").fill("soon")
    visit.page.click("#run")
    visit.page.wait_for_selector("#said .kf-error")
    assert visit.text("#said").strip() == "origin='soon' is not a time; write it as 2024-01-31T12:00"
    visit.page.locator("#origin input, #origin textarea").fill("2020-01-01 03:00")
    visit.page.click("#run")
    visit.page.locator("#said", has_text="market has 3 bars before the forecast, fewer than lookback=20").wait_for()
    visit.choose("#start", EN["origin_end"])
    visit.forecast()
    visit.page.wait_for_selector("#said .kf-error", state="detached")


def test_uploads_good_and_bad_leave_nothing_behind(visit, tmp_path):
    frame = simulate_candles(120, seed=9)
    frame.to_parquet(tmp_path / "good.parquet")
    frame.loc[5, "low"] = 1e9
    frame.to_csv(tmp_path / "bad.csv", index=False)
    visit.choose("#data", EN["data_upload"])
    visit.page.locator("#upload input[type=file]").set_input_files(tmp_path / "bad.csv")
    visit.page.wait_for_selector("#said .kf-error")
    line = visit.text("#said").strip()
    assert line.startswith("bad.csv: low or high contradicts open and close in 1 row (line 7)")
    assert "\n" not in line
    assert str(tmp_path) not in line
    visit.page.click("#run")
    visit.page.locator("#said", has_text="no candles loaded; choose data first").wait_for()
    visit.choose("#data", EN["data_sample"])
    visit.page.locator("#facts", has_text="35,019 bars of 30 min").wait_for()
    visit.choose("#data", EN["data_upload"])
    visit.page.locator("#upload input[type=file]").set_input_files(tmp_path / "good.parquet")
    visit.page.locator("#facts", has_text="120 bars of 1 h").wait_for()
    visit.forecast()
    assert visit.errors == []


def test_several_symbols(run, tmp_path):
    frames = [
        simulate_candles(80 + 20 * seed, seed=seed).assign(symbol=name) for seed, name in enumerate(("AAA", "B<b>"))
    ]
    pd.concat(frames).to_csv(tmp_path / "two.csv", index=False)
    with served(str(run.folder), "--data", str(tmp_path / "two.csv")) as (address, _), visiting(address) as visit:
        visit.open()
        assert "80 bars" in visit.text("#facts")
        visit.page.click("#symbol input")
        visit.page.get_by_role("option", name="B<b>").click()
        visit.page.locator("#facts", has_text="100 bars").wait_for()
        visit.forecast()
        assert (visit.errors, visit.elsewhere()) == ([], [])


def test_downloads(visit, tmp_path):
    visit.forecast()
    for button, rows in (("#quantile_file", 4), ("#path_file", 4 * 50)):
        with visit.page.expect_download() as download:
            visit.page.click(button)
        download.value.save_as(tmp_path / "table.csv")
        assert len(pd.read_csv(tmp_path / "table.csv")) == rows
    assert visit.errors == []


def test_evaluation_and_report(visit):
    visit.tab(EN["tab_evaluation"])
    visit.page.wait_for_selector("#evaluation .kf-verdict")
    assert "persistence" in visit.text("#evaluation table >> nth=0")
    visit.tab(EN["tab_report"])
    frames = visit.page.locator("#report iframe")
    frames.first.content_frame.locator("h1").wait_for()
    assert [frame.get_attribute("title") for frame in frames.all()] == ["tokenizer", "predictor"]
    assert {frame.get_attribute("sandbox") for frame in frames.all()} == {""}
    assert "Planted" not in frames.first.get_attribute("srcdoc")
    assert visit.errors == []


def test_the_page_in_chinese(run):
    words, folder = words_of("zh"), str(run.folder / "predictor")
    with served(folder, "--lang", "zh") as (found, _), visiting(found, color_scheme="dark") as visit:
        visit.open()
        visit.forecast()
        assert words["last_close"] in visit.text("#tiles")
        visit.tab(words["tab_report"])
        report = visit.page.locator("#report iframe").first.content_frame
        report.locator("h1", has_text="训练报告").wait_for()
        visit.tab(words["tab_evaluation"])
        assert "kronos-ft evaluate" in visit.text("#evaluation")
        assert (visit.errors, visit.elsewhere()) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(address, scheme):
    with visiting(address, color_scheme=scheme) as visit:
        visit.open()
        visit.forecast()
        for selector in (
            "#tiles .kf-value",
            "#tiles .kf-what",
            "#table td",
            "#table thead th",
            ".kf-title h1",
            ".kf-legend li",
        ):
            assert contrast(visit.page, selector) >= 4.5, selector


def contrast(page, selector):
    """WCAG contrast of a text with the first opaque ground behind it."""
    script = """one => {
        const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
        let ground = one;
        const clear = element => (numbers(getComputedStyle(element).backgroundColor)[3] ?? 1) === 0;
        while (ground && clear(ground)) ground = ground.parentElement;
        return [getComputedStyle(one).color, getComputedStyle(ground ?? document.body).backgroundColor].map(numbers);
    }"""
    luminances = []
    for colour in page.locator(selector).first.evaluate(script):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour[:3])]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    dark, light = sorted(luminances)
    return (light + 0.05) / (dark + 0.05)


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_nothing_of_the_disk_can_be_read(run, address):
    for path in ("/etc/passwd", run.data, run.folder / "predictor" / "run.json", ROOT / "setup.cfg", "setup.cfg"):
        assert status(f"{address}/gradio_api/file={path}") == 403
    with urllib.request.urlopen(f"{address}/gradio_api/info", timeout=30) as answer:
        assert b'"named_endpoints":{}' in answer.read().replace(b" ", b"")


def test_it_listens_on_this_machine_alone_and_leaves_nothing(run, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with served(str(run.folder)) as (address, process):
            assert address.startswith("http://127.0.0.1:")
            assert len(list(tmp_path.glob("kronos-ft-ui-*"))) == 1
    assert process.returncode == 0
    assert list(tmp_path.glob("kronos-ft-ui-*")) == []


def test_what_is_asked_of_gradio_by_environment_is_not_done(run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ALLOWED_PATHS", "/etc")
        patch.setenv("GRADIO_SHARE", "True")
        patch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
        with served(str(run.folder)) as (address, _):
            assert address.startswith("http://127.0.0.1:")
            assert status(f"{address}/gradio_api/file=/etc/passwd") == 403


def test_the_command_line_loads_gradio_for_the_page_alone():
    code = (
        "import sys; from kronos_ft.cli.main import main; main(['ui', 'nowhere']); assert 'gradio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
