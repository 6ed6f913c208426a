"""`python -m metertap`."""

import sys

from metertap.cli import main

sys.exit(main())
