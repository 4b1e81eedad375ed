"""Random JSON in place of each field of each file of a run: success, or exit code 2 with one line and nothing changed.

`make test-faults` tries 1,500 inputs for each of five and 300 for each of six; `make test` tries 60 and 12.
"""

import contextlib
import io
import json
import shutil
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from ft_core.checkpoints.manifest import _seal, read_manifest, write_manifest
from ft_core.checkpoints.retention import metric_history
from ft_core.checkpoints.trainer_state import load_state
from ft_core.cli.program import one_line_errors
from ft_core.runs.folder import prepare_run_folder
from ft_core.runs.lock import run_lock
from ft_core.runs.owner import this_process
from ft_core.runs.resuming import COMMON_SETTINGS, settle_changes
from ft_core.sweep.plan import parse_sweep
from ft_core.sweep.search import run_sweep
from kronos_ft.cli.main import main
from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import KronosTokenizer
from tests.any_json import TEXTS, VALUES, damaged_texts
from tests.examples import examples
from tests.sweep_stage import toy_stage
from tests.written_runs import tokenizer_run

pytestmark = pytest.mark.fault(18)
tried = {}


@pytest.fixture(scope="module", autouse=True)
def _count():
    yield
    print(f"\ninputs tried: {tried}, {sum(tried.values())} in all")


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def check(name, work, folder, changes=False):
    """Does `work` as a command does; `changes` says whether a success may change the folder."""
    tried[name] = tried.get(name, 0) + 1
    before, errors = files_of(folder), io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = one_line_errors("program", work, "")
    text = errors.getvalue()
    assert "Traceback" not in text
    assert "\x1b" not in text
    assert code in (0, 2), text
    if code == 2:
        assert sum(line.startswith(("program: ", "kronos-ft: ")) for line in text.splitlines()) == 1, text
        assert len(text.splitlines()[-1]) < 3000
    if code == 2 or not changes:
        assert files_of(folder) == before
    return code


def write(path, text):
    path.write_text(text, encoding="utf-8", errors="surrogatepass")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the tokenizer with one checkpoint and a model that loads."""
    written = tokenizer_run()
    written.checkpoints, written.record["id"] = [], "mine"
    written.has_model = False
    folder = written.write(tmp_path_factory.mktemp("hostile") / "run")
    KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).save_pretrained(folder / "best_model")
    checkpoint = folder / "checkpoint-150"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_text(json.dumps(state_of(written)))
    facts = {name: written.arguments.get(name) for name in COMMON_SETTINGS}
    write_manifest(checkpoint, {"run": "mine", "settings": facts, "world_size": 1, "training_data": "d" * 64})
    return folder


def state_of(written):
    entries = [entry for entry in written.entries if entry["step"] <= 150]
    return {"global_step": 150, "max_steps": 200, "epoch": 1.5, "log_history": entries[:6], "best_metric": 0.5} | {
        "best_global_step": 150, "best_model_checkpoint": "checkpoint-150", "stateful_callbacks": {}, "total_flos": 1.0,
        "is_world_process_zero": True, "num_train_epochs": 2, "logging_steps": 10, "train_batch_size": None,
    }  # fmt: skip


def resume(folder):
    """What a resume does before it loads weights."""
    with run_lock(folder):
        checkpoint = prepare_run_folder(folder, resume=True, overwrite=False)
        if checkpoint is None:
            return 0
        manifest = read_manifest(checkpoint) | {"now": "d" * 64}
        arguments = json.loads((folder.parent / "arguments.json").read_text())
        args = SimpleNamespace(**arguments, resume_force=False, world_size=1)
        settle_changes(folder, manifest, {}, args, COMMON_SETTINGS)
        metric_history(load_state(checkpoint), "eval_recon_all")
    return 0


@contextlib.contextmanager
def changed(path, text):
    """A file with another text, for as long as the context lasts."""
    before = path.read_bytes() if path.exists() else None
    write(path, text)
    try:
        yield
    finally:
        path.unlink(missing_ok=True) if before is None else path.write_bytes(before)


@pytest.fixture(scope="module")
def contents(run):
    """The parsed files of the run by name."""
    found = {name: json.loads((run / name).read_text()) for name in ("run.json", "checkpoint-150/manifest.json")}
    found["checkpoint-150/trainer_state.json"] = json.loads((run / "checkpoint-150" / "trainer_state.json").read_text())
    arguments = {name: found["run.json"]["arguments"].get(name) for name in COMMON_SETTINGS}
    (run.parent / "arguments.json").write_text(json.dumps(arguments))
    return found


HOSTILE = settings(examples(1500), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@HOSTILE
@given(data=st.data())
def test_resume_with_another_record(run, contents, data):
    with changed(run / "run.json", data.draw(damaged_texts(contents["run.json"]))):
        check("run.json, resume", lambda: resume(run), run)


@HOSTILE
@given(data=st.data(), sealed=st.booleans())
def test_resume_with_another_manifest(run, contents, data, sealed):
    text = data.draw(damaged_texts(contents["checkpoint-150/manifest.json"]))
    if sealed:  # as someone writes it who knows how
        with contextlib.suppress(ValueError, RecursionError, AttributeError, TypeError):
            values = json.loads(text)
            values.pop("seal", None)
            text = json.dumps({**values, "seal": _seal(values)})
    with changed(run / "checkpoint-150" / "manifest.json", text):
        check("manifest.json, resume", lambda: resume(run), run)


@HOSTILE
@given(data=st.data())
def test_resume_with_another_state(run, contents, data):
    """The manifest agrees with the file, as that of a checkpoint of another program may."""
    path = run / "checkpoint-150" / "trainer_state.json"
    text = data.draw(damaged_texts(contents["checkpoint-150/trainer_state.json"]))
    manifest = (run / "checkpoint-150" / "manifest.json").read_text()
    facts = {name: value for name, value in json.loads(manifest).items() if name not in ("files", "seal", "format")}
    with changed(path, text), changed(run / "checkpoint-150" / "manifest.json", manifest):
        write_manifest(run / "checkpoint-150", facts)
        check("trainer_state.json, resume", lambda: resume(run), run)


@HOSTILE
@given(data=st.data())
def test_another_lock(run, contents, data):
    owner = {**this_process(), "locked": "2026-01-01T00:00:00+00:00", "os_lock": data.draw(st.booleans())}
    with changed(run / ".lock", data.draw(damaged_texts(owner))):
        check(".lock, resume", lambda: resume(run), run, changes=True)


def report(folder):
    return main(["report", str(folder), "--output_dir", str(folder.parent / "report"), "--lang", "en"])


SAMPLE = examples(300).max_examples < 300
REPORTS = settings(
    max_examples=12 if SAMPLE else 300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@REPORTS
@given(data=st.data())
def test_report_of_another_record(run, contents, data):
    with changed(run / "run.json", data.draw(damaged_texts(contents["run.json"]))):
        check("run.json, report", lambda: report(run), run)
    assert "\x1b" not in (run.parent / "report" / "report.md").read_text(encoding="utf-8")


@REPORTS
@given(data=st.data())
def test_report_of_another_log(run, contents, data):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    lines[number] = data.draw(damaged_texts(json.loads(lines[number])))
    with changed(run / "metrics.jsonl", "\n".join(lines) + "\n"):
        check("metrics.jsonl, report", lambda: report(run), run)


@REPORTS
@given(data=st.data())
def test_report_of_another_state_of_a_plain_trainer(tmp_path_factory, contents, data):
    folder = tmp_path_factory.getbasetemp() / "plain"
    folder.mkdir(exist_ok=True)
    write(folder / "trainer_state.json", data.draw(damaged_texts(contents["checkpoint-150/trainer_state.json"])))
    check("trainer_state.json, report", lambda: report(folder), folder)


@REPORTS
@given(data=st.data())
def test_push_of_another_record(run, contents, data):
    """Offline: everything up to the log-in is done."""
    pulled = {"repository": "a/b", "revision": "c" * 40, "revision_asked": "main", "sha256": {"config.json": "d" * 64}}
    name = data.draw(st.sampled_from(["run.json", "best_model/pulled.json"]))
    content = contents["run.json"] if name == "run.json" else pulled
    with changed(run / name, data.draw(damaged_texts(content))):
        assert check(f"{name.split('/')[-1]}, push", lambda: main(["push", str(run), "me/model"]), run) == 2


@REPORTS
@given(data=st.data())
def test_pull_over_another_record(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "pulled"
    folder.mkdir(exist_ok=True)
    pulled = {"repository": "a/b", "revision": "c" * 40, "revision_asked": "main", "sha256": {"config.json": "d" * 64}}
    write(folder / "pulled.json", data.draw(damaged_texts(pulled)))
    assert check("pulled.json, pull", lambda: main(["pull", "a/b", str(folder)]), folder) == 2


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished search of two trials."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "space.yaml").write_text("weight_decay: [0.1, 0.2]\n")
    argv = ["--space", str(folder / "space.yaml"), "--output_dir", str(folder / "sweep"), "--trials", "2"]
    with contextlib.redirect_stdout(io.StringIO()):
        run_sweep(toy_stage, argv, "toy sweep")
    return folder, argv


@REPORTS
@given(data=st.data())
def test_sweep_with_another_record(swept, data):
    folder, argv = swept
    path = folder / "sweep" / "sweep.json"
    content = json.loads(path.read_text())
    text = data.draw(damaged_texts({name: value for name, value in content.items() if name != "versions"}))

    def work():
        run_sweep(toy_stage, [*argv, "--resume"], "toy sweep")
        return 0

    with changed(path, text):
        check("sweep.json, resume", work, folder / "sweep", changes=True)


SPACE = {
    "learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
    "layers": [1, 2],
    "noise": [True, False],
    "kind": ["a"],
}
YAMLS = st.sampled_from(
    ["&a [*a]", "{<<: [1]}", "!!python/name:os.system", "2021-13-45", "9" * 5000, "- - - x", "\t", "!!set {a}", "? [a]"]
)


@HOSTILE
@given(data=st.data())
def test_another_space(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "spaces"
    folder.mkdir(exist_ok=True)
    raw = TEXTS | YAMLS | VALUES.map(lambda value: yaml.safe_dump(value, width=10**6))
    text = data.draw(damaged_texts(SPACE, raw))
    write(folder / "space.yaml", text)

    def work():
        parse_sweep(toy_stage(), ["--space", str(folder / "space.yaml"), "--output_dir", str(folder / "out")], "toy")
        return 0

    check("space of a sweep", work, folder)


def test_the_run_itself_is_accepted(run, contents):
    """Or the others would show nothing."""
    assert check("as it is", lambda: resume(run), run) == 0
    assert check("as it is", lambda: report(run), run) == 0
    shutil.rmtree(run.parent / "report")
