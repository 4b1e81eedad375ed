"""Secrets must not leak in a pickled setting, a log line or an error: they are replaced before writing."""

import os
import re

SECRET_FIELDS = ("hub_token",)
SECRET_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY")
BLANK = "***"
LEAST_LENGTH = 8  # a shorter value of a variable would blank parts of words
HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}")
CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")  # user:password@ of an address


def without_secrets(text: str) -> str:
    """A text with Hub tokens, the values of token variables and the credentials of addresses blanked."""
    for name in SECRET_VARIABLES:
        value = os.environ.get(name, "").strip()
        if len(value) >= LEAST_LENGTH:
            text = text.replace(value, BLANK)
    return CREDENTIALS.sub(f"{BLANK}@", HUB_TOKEN.sub(BLANK, text))


class PickledWithoutSecrets:
    """Base of settings that a Trainer pickles into its checkpoints as `training_args.bin`: tokens are left out."""

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, **{name: None for name in SECRET_FIELDS if name in self.__dict__}}
