"""What does `python -m autarco_ingest` do? The same as the command `autarco-ingest`."""

import sys

from autarco_ingest.cli import main

sys.exit(main())
