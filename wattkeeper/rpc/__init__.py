"""Generated stubs. Nothing here is written by hand: see the generate target of the Makefile."""
