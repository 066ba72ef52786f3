"""`python -m infra.demo`: the whole of hanwave on one machine, with real parts, from a fleet to the proof."""
