"""One module per command: `HELP`, `arguments(parser)`, and `run(args)` → the exit status."""
