"""The GBCS payloads that firmware needs, to the byte: pure, keys handed in."""
