"""Settings of all tests, and which worker runs which: fixtures are in the plugins named here."""

import gc
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# numbers must not depend on the machine that tests run on; tests of speed ask for it themselves
os.environ["KRONOS_FT_SPEED"] = "exact"

import pytest

import tests.examples  # noqa: F401, the profiles of hypothesis
from tests.fault_sample import sample_combinations

pytest_plugins = ["tests.fault_table", "tests.docs.counts"]
FIXTURES = ("market_fixtures", "short_runs", "hub_fixtures", "fault_run_fixtures")
# tests that fork processes from one server (tests.forked) share a worker, so that there is one server
FORKING = (
    "tests/distributed/",
    "tests/faults/test_broken_checkpoints",
    "tests/faults/test_failed_saves",
    "tests/faults/test_killed",
    "tests/faults/test_resume_settings",
    "tests/faults/test_run_lock",
    "tests/faults/test_signals",
    "tests/ft_core/training/test_curves.py::test_trainers_are_imported",
    "tests/kronos_ft/download/test_failures.py::test_killed_and_resumed",
    "tests/kronos_ft/training/test_interrupted_training.py::test_a_signal_to_the_whole_group",
    "tests/mt5_ft/runs/test_run.py::test_a_disk_that_fills_up",
    "tests/mt5_ft/summaries/test_metrics.py::test_two_processes",
    "tests/mt5_ft/summaries/test_predictions.py::test_a_process_killed_twice",
    "tests/mt5_ft/test_examples",
)


def pytest_configure(config):
    """The process that only hands tests to workers is ready at once: fixtures import torch."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        for name in FIXTURES:
            config.pluginmanager.import_plugin(f"tests.{name}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What forks goes first: it takes longest."""
    sample_combinations(items)
    items.sort(key=lambda item: not item.nodeid.startswith(FORKING))


def pytest_collection_finish():
    """What is imported stays: without this each training, which collects garbage, looks through all of it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests go to one worker, which makes the fixtures of the file once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "forking" if nodeid.startswith(FORKING) else nodeid.split("::", 1)[0]

    config.option.loadscopereorder = False  # in the order of the tests
    return ByFile(config, log)
