"""What befalls a campaign half-way, a scenario each; tests/stack/test_scenarios.py runs them, at once, on one stack."""

from tests.support.at_once import Scenarios

SCENARIOS = Scenarios()
BY = {"reason": "a test", "actor": "ann"}
