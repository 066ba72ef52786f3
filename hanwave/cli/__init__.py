"""The command line, for people at a supplier. Each group of commands is one module; main gathers them."""
