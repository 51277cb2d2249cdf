"""The catalogue: one file per published method, one function per file."""
