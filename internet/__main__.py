"""`python -m internet`: see internet.cli."""

import sys

from internet.cli import main

sys.exit(main())
