"""One module per command: `HELP`, `arguments(parser)`, and `run(args)`, which gives the exit status."""
