"""The bench: updating devices over ZigBee, with hanwave's own OTA Upgrade server on zigpy.

zigpy is GPL-3.0, and so is a program made with it: nothing outside this package imports it, and only its own process
does. What others need of it (policy, outcomes, reports) is in hanwave.rollout.bench.
"""
