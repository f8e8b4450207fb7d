"""The `unlearn` command, one file per group of subcommands."""
