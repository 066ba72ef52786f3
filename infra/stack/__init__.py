"""The embedded stack: everything that hanwave needs on one Linux machine, from PyPI packages alone, without root."""
