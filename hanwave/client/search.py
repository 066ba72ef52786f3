"""The search attributes of hanwave's workflows: what the Web UI's list finds them by.

Guarantee: each is set when its workflow is started, which costs nothing. Later, since each change of one is an event and an
action, only the outcome of a device that did not end well is set, and a campaign's own where a person started it without.
"""

from collections.abc import Mapping

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from hanwave.settings import SEARCH_ATTRIBUTES

KEYS = {name: SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES}
"""Each attribute's key, by its name."""
CAMPAIGN, OUTCOME = KEYS["Campaign"], KEYS["Outcome"]


def attributes(values: Mapping[str, str | int | None]) -> TypedSearchAttributes:
    """Those that have a value, by their names, as the engine takes them."""
    pairs = [SearchAttributePair(KEYS[name], str(value)) for name, value in values.items() if value is not None]
    return TypedSearchAttributes(pairs)


def of_workflow(workflow_id: str, route: str | None) -> TypedSearchAttributes:
    """Its campaign's route, where it is known, and what its id tells: its campaign, and of a wave its number ("campaign/spring/wave/2")."""
    _, campaign, *rest = workflow_id.split("/")
    wave = rest[1] if rest[:1] == ["wave"] else None
    return attributes({"Campaign": campaign, "Wave": wave, "Route": route})
