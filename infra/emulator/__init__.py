"""The DCC emulator: the three services with real XML and signatures, and hubs and devices behind them.

What it did is in its own books, which survive kill -9 and are what a test holds the ledger against. Everything that is
drawn is drawn from a seed, so a run can be repeated.
"""
