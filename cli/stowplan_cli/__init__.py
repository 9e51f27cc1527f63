"""The command line: `main` puts the commands together, one module per theme; whatever is heavy is imported by the command that needs it."""
