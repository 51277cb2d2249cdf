"""The catalogue: one file per published method, and one function per file."""
