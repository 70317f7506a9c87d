"""The command line, a command per file; the only room that composes everything."""
