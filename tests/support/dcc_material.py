"""DCC's own schema, vectors, examples and templates, beside the checkout: read where they are, and never copied."""

from functools import cache
from pathlib import Path

from lxml import etree

DOMAIN = Path(__file__).parents[3] / "shared" / "domain"
MESSAGES = sorted([*DOMAIN.glob("examples/*.xml"), *DOMAIN.glob("templates/*.xml")])
VECTORS = sorted(DOMAIN.glob("vectors/*.hex"))
SAMPLE_REQUEST = DOMAIN / "templates" / "11.1_UPDATE_FIRMWARE.xml"
"""Carries DCC's sample image."""

ABSENT = f"DCC's material is not at {DOMAIN}"


class _WithoutDoctype(etree.Resolver):
    """Gives libxml2 the XML Signature schema without the DOCTYPE that points to the network."""

    def resolve(self, url, _public_id, context):
        if not url.endswith("xmldsig-core-schema.xsd"):
            return None
        text = (DOMAIN / "schema" / "xmldsig-core-schema.xsd").read_text()
        start = text.find("<!DOCTYPE")
        end = text.index("<schema", start) if start >= 0 else 0
        return self.resolve_string(text[:start] + text[end:] if start >= 0 else text, context)


@cache
def duis_schema() -> etree.XMLSchema:
    """DUIS XSD 5.4."""
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_WithoutDoctype())
    return etree.XMLSchema(etree.parse(DOMAIN / "schema" / "duis-5.4.xsd", parser))


def assert_valid(data: bytes) -> None:
    """That a message is one of DUIS 5.4."""
    duis_schema().assertValid(etree.fromstring(data, etree.XMLParser(huge_tree=True)))
