"""`python -m stowplan_operator` runs the operator."""

import sys

from stowplan_operator.mains import main

sys.exit(main())
