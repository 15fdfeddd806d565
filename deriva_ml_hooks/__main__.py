"""`python -m deriva_ml_hooks`: for native hooks, which know an interpreter and not its scripts."""

from deriva_ml_hooks.cli import main

raise SystemExit(main())
