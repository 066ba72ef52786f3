"""ZigBee with no hardware: devices, the air between them and a coordinator, and a coordinator of software."""
