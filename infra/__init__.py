"""What hanwave runs on: the embedded stack, the DCC emulator, deployment files."""
