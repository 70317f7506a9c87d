"""A proxy between one program and the API server that goes wrong on purpose, and remembers what got through."""
