"""`AutoConfig` and `AutoModel` of transformers find the models, in processes of their own: what is imported counts."""

import subprocess
import sys

import pytest

from kronos_ft import (
    Kronos,
    KronosConfig,
    KronosForQuantiles,
    KronosQuantilesConfig,
    KronosTokenizer,
    KronosTokenizerConfig,
)

LOADED = """
for folder, name in (("tokenizer", "KronosTokenizer"), ("predictor", "Kronos"), ("quantiles", "KronosForQuantiles")):
    config, model = AutoConfig.from_pretrained(folder), AutoModel.from_pretrained(folder)
    print(type(config).__name__, type(model).__name__)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("auto")
    predictor = Kronos(KronosConfig.from_size("tiny"))
    KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).save_pretrained(place / "tokenizer")
    predictor.save_pretrained(place / "predictor")
    config = KronosQuantilesConfig.on_body(predictor.config, horizon=3)
    KronosForQuantiles.on_body(predictor, config).save_pretrained(place / "quantiles")
    return place


@pytest.mark.parametrize(
    "imports",
    [
        "from transformers import AutoConfig, AutoModel\nimport kronos_ft",
        "from kronos_ft import Kronos\nfrom transformers import AutoConfig, AutoModel",
        "import kronos_ft\nfrom transformers import AutoConfig, AutoModel",
        "import kronos_ft, importlib.util\nimportlib.util.find_spec('transformers')\n"
        "from transformers import AutoConfig, AutoModel",
        "import kronos_ft, transformers\nfrom transformers import AutoConfig, AutoModel",
        "import kronos_ft\nfrom transformers import Trainer, AutoConfig, AutoModel",
    ],
)
def test_every_order_of_import(folders, imports):
    done = subprocess.run([sys.executable, "-c", imports + LOADED], cwd=folders, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        *("KronosTokenizerConfig", "KronosTokenizer", "KronosConfig", "Kronos"),
        *("KronosQuantilesConfig", "KronosForQuantiles"),
    ]


def test_the_import_alone_stays_light():
    code = "import sys, kronos_ft; print(*sorted({'torch', 'transformers', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
