"""The response codes that the emulator answers with.

Those without a remark are known by the domain's sources. The numbers marked [I] exist, but which of them means what
could not be verified; each stands here once, so that a person with the SEC documents can correct it.
"""

ACCEPTED = "I0"
ACKNOWLEDGED = "I99"

USER_UNKNOWN = "E1"
NOT_RESPONSIBLE = "E4"
STATUS_INCOMPATIBLE = "E5"
WRONG_DEVICE_TYPE = "E11"
WRONG_COMMAND_VARIANT = "E12"
WRONG_URL = "E13"
NO_SUCH_DEVICE = "E19"
CANNOT_REACH = "E20"
NO_RESPONSE = "E21"

DUPLICATE = "E42"
"""[I] The RequestID was seen before. A setting can name another."""
BAD_PRE_COMMAND = "E48"
"""[I] The Signed Pre-Command is not the one that the Transform Service gave, or not signed by its user."""
BAD_EXECUTION_TIME = "E57"
"""[I] The execution time lies in the past, or further ahead than the DCC takes."""
UNKNOWN = "E9999"
"""What the fault unknown_code answers: a code of no table."""

PARTLY = {"11.1": "W110101", "11.4": "W110401"}
NOT_LISTED = {"11.1": "E110101", "11.4": "E110401"}
"""[I] No Active entry of the Central Products List has this firmware version for this kind of device."""
HASH_DIFFERS = {"11.1": "E110102", "11.4": "E110402"}
"""[I] The image's hash is not that of the list's entries."""
NO_DEVICE_LEFT = {"11.1": "E110103", "11.4": "E110403"}
"""[I] Every device failed its checks."""
BAD_IMAGE = {"11.1": "E110105", "11.4": "E110405"}
"""[I] The OTA Upgrade Image is not one, or its header contradicts the request."""

QUARANTINED_ALERT = "N46"
"""[M?] The DCC Alert that carries QuarantinedRequest."""
UPGRADE_REQUESTED_ALERT = "N59"
DELIVERED_ALERT, NOT_DELIVERED_ALERT = "N60", "N61"
HUB_ALERT = "N62"
PPMID_ALERT = "N39"
SUSPENDED_ALERT, RESTORED_ALERT = "N28", "N29"
