"""Decisions only: the Temporal workflows that model a campaign, a wave and a device."""
