pytest_plugins = ["tests.support.postgres", "tests.support.ledger", "tests.support.engine"]
