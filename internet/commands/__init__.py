"""The subcommands of `internet`: each module has `add_parser(subparsers)` and `run(args)`."""
