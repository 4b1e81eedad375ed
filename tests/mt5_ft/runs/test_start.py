"""The model that a run starts from: adapters on adapters are not lost."""

import torch

from mt5_ft.models.loading import load_model


def test_adapters_on_adapters(train, capsys):
    _, first = train("--lora", "true", "--learning_rate", "0.1", output="first")
    again = ["--lora", "true", "--learning_rate", "1e-9", "--model", first / "final"]
    assert train(*again, output="second")[0] == 2
    assert (
        "contains adapters, which are lost if only the new adapters are saved; set lora_merge true too"
        in capsys.readouterr().err
    )
    code, second = train(*again, "--lora_merge", "true", output="second")
    assert code == 0
    one, two = (load_model(str(run / "final")).state_dict() for run in (first, second))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0)
