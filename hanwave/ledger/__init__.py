"""PostgreSQL: what was done to every device, and what may be done next."""
