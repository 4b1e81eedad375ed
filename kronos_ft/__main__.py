"""`python -m kronos_ft` is the `kronos-ft` command."""

import sys

from .cli.main import main

sys.exit(main())
