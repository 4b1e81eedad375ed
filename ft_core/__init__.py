"""What the Kronos and the mT5 fine-tuner share; it imports neither of them."""

import sys
import warnings

if (
    "ipykernel" in sys.modules
):  # tqdm asks for ipywidgets when transformers imports it; the bars of `io.notebook` do not
    warnings.filterwarnings("ignore", message="IProgress not found")
