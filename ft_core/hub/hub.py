"""Whether the Hugging Face Hub can be reached, asked once and quickly."""

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants


def hub_answers(timeout: float = 5.0) -> bool:
    """Whether the Hub takes a connection: the client itself would retry for 23 seconds without a network."""
    if getproxies():
        return True
    hub = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((hub.hostname, hub.port or (443 if hub.scheme == "https" else 80)), timeout).close()
    except OSError:
        return False
    return True
