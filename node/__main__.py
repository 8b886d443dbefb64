"""`python -m node` from a checkout: the same as `python -m emerit_node`."""

import sys

from emerit_node.__main__ import main

sys.exit(main())
