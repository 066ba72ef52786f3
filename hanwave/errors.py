"""The root of hanwave's errors.

Every refusal that a person may meet is a HanwaveError whose text is one clear sentence: it names the file, row or
field, says what it held, and what it should hold. It never holds a key, a customer's number or an address.
"""


class HanwaveError(Exception):
    """Something was refused; the text says what, why and, where it helps, what to do."""
