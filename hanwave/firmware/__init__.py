"""Firmware images, releases, the CPL and upgrade paths: pure, bytes and objects in and out."""
