"""`python -m bridge` is `rowcast`."""

from bridge.cli import main

raise SystemExit(main())
