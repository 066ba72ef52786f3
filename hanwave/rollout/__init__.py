"""The rules of a rollout, pure: no I/O, and the time is an argument."""
