"""`python -m validator` from a checkout: the same as `python -m emerit_validator`."""

import sys

from emerit_validator.__main__ import main

sys.exit(main())
