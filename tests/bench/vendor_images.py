"""Makers' own images against zigpy: `python -m tests.bench.vendor_images FOLDER`, over every file below a folder.

What zigpy reads as an image of sub-elements, hanwave must read to the same fields and elements, and both must rewrite to
the same octets; it ends with 1 where one differs. The images are their makers': they are got by whoever runs this, and not
passed on here. Containers around an image, and what stands behind one, are taken off as zigpy takes them off.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from zigpy.ota.image import OTAImage, parse_ota_image

from hanwave.errors import HanwaveError
from hanwave.firmware.elements import ZigbeeImage
from tests.bench.test_peer_images import fields, own_fields

MAGIC = bytes.fromhex("1EF1EE0B")


def judged(data: bytes) -> str:
    """What comes of one file: no image, another form, the same, or how it differs."""
    if MAGIC not in data:
        return "no_image"
    try:
        theirs, _ = parse_ota_image(data)
    except ValueError:
        return "refused_by_zigpy"
    if not isinstance(theirs, OTAImage):
        return "another_form"
    octets = theirs.serialize()
    if octets not in data:
        return "rewritten_otherwise_by_zigpy"
    try:
        own = ZigbeeImage.read(octets)
    except HanwaveError as error:
        return f"refused: {error}"
    elements = [(int(each.tag_id), bytes(each.data)) for each in theirs.subelements]
    same = (
        own.pack() == octets,
        own_fields(own.header) == fields(theirs.header),
        [(each.tag, each.data) for each in own.elements] == elements,
    )
    return "same" if all(same) else "differs"


def main(folder: Path) -> int:
    found = Counter[str]()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        came = judged(path.read_bytes())
        found[came.partition(":")[0]] += 1
        if came.startswith(("refused:", "differs")):
            sys.stdout.write(f"{path.relative_to(folder)}: {came}\n")
    sys.stdout.write(f"{json.dumps(found)}\n")
    return int(not found["same"] or bool(found["refused"] + found["differs"]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
