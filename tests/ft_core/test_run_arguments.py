"""Settings that every run has."""

import pytest

from kronos_ft.training.arguments import KronosTokenizerArguments
from mt5_ft.training.arguments import MT5Arguments


@pytest.mark.parametrize("kind", [KronosTokenizerArguments, MT5Arguments])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"on_save_error": "ignore"}, "on_save_error='ignore' is not known; use one of stop, continue"),
        ({"max_bad_steps": 0}, "max_bad_steps=0 is below 1; use 1 to stop at the first bad step"),
        ({"push_to_hub": True}, "push_to_hub=True needs a repository; set hub_model_id to OWNER/NAME"),
        ({"push_to_hub": True, "hub_model_id": "name"}, "repository 'name' is no Hub name"),
        ({"hub_strategy": "checkpoint"}, "hub_strategy=checkpoint is not supported: .* use one of end, every_save"),
        ({"hub_strategy": "all_checkpoints"}, "hub_strategy=all_checkpoints is not supported"),
        ({"push_to_hub": True, "hub_model_id": "me/x", "hub_always_push": True}, "hub_always_push=True is not supp"),
        ({"push_to_hub": True, "hub_model_id": "me/x"}, "HF_HUB_OFFLINE is set, so nothing is pushed to me/x"),
        ({"resume_force": True, "overwrite": True}, "--resume and --overwrite exclude each other"),
    ],
)
def test_what_cannot_be_meant_is_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(output_dir="none", **settings)


def test_forcing_a_resume_is_a_resume(tmp_path):
    assert KronosTokenizerArguments(output_dir=str(tmp_path), resume_force=True).resume
