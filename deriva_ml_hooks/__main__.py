"""`python -m deriva_ml_hooks`: the program by the name of its interpreter."""

from __future__ import annotations

import sys

if sys.path and sys.path[0] and not __file__.startswith(sys.path[0]):
    # `-m` looks for modules in the working directory first: a model's own random.py is not for us.
    del sys.path[0]

from deriva_ml_hooks.cli import main

raise SystemExit(main())
