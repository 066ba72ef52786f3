"""The processes: they wire the library, the workflows and the activities together."""
