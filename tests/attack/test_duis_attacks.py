"""XML made to harm: each is refused with the package's own error, quickly and in little memory."""

import pytest

from hanwave.duis import (
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    Request,
    UpdateFirmware,
    write,
)
from hanwave.identifiers import EUI64, MAX_COUNTER, RequestID
from tests.attack.duis_support import ACB, DEVICE, REQUEST, RESPONSE, SIGNED, SR, SUPPLIER, malformed

pytestmark = pytest.mark.attack

PLAIN = write(RESPONSE)
BODY = PLAIN.split(b"?>", 1)[1]
CODE = b"<sr:ResponseCode>I0</sr:ResponseCode>"


def test_external_entity(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("I99")
    doctype = f'<!DOCTYPE r [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'.encode()
    said = malformed(doctype + BODY.replace(b">I0<", b">&x;<"), "document type")
    assert "I99" not in said


def test_external_dtd():
    malformed(b'<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd">' + BODY, "document type")


def test_parameter_entity():
    malformed(b'<!DOCTYPE r [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x.dtd"> %x;]>' + BODY, "document type")


def test_entity_expansion():
    lols = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 30))
    doctype = f'<!DOCTYPE r [<!ENTITY l0 "lol">{lols}]>'.encode()
    malformed(doctype + BODY.replace(b">I0<", b">&l29;<"), "document type")
    malformed(doctype + BODY.replace(b"<sr:Body>", b'<sr:Body a="&l29;">'), "document type")


def test_quadratic_entity_expansion():
    doctype = b'<!DOCTYPE r [<!ENTITY a "' + b"a" * 50_000 + b'">]>'
    malformed(doctype + BODY.replace(b">I0<", b">" + b"&a;" * 10_000 + b"<"), "document type")


def test_an_entity_that_nobody_declared():
    malformed(BODY.replace(b">I0<", b">&nbsp;<"), "not well-formed")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_a_document_type_hidden_by_another_encoding(encoding):
    text = '<!DOCTYPE r [<!ENTITY x "I0">]>' + BODY.decode()
    malformed(text.encode(encoding))
    malformed(BODY.decode().encode(encoding))


@pytest.mark.parametrize("declared", ["UTF-7", "UTF-16", "ISO-8859-1", "utf8", "IBM037"])
def test_an_encoding_that_others_would_read_differently(declared):
    malformed(f'<?xml version="1.0" encoding="{declared}"?>'.encode() + BODY, "UTF-8")


@pytest.mark.parametrize("declaration", [b'<?xml version="1.1"?>', b"<?xml?>", b'<?xml version="1.0" x="1"?>'])
def test_a_declaration_of_another_xml(declaration):
    malformed(declaration + BODY, "XML declaration")


def test_octets_that_are_not_utf_8():
    malformed(BODY.replace(b">I0<", b">I\xc3\x28<"), "not well-formed")
    malformed(BODY.replace(b">I0<", b">I\xc0\x80<"), "not well-formed")


def test_a_processing_instruction():
    malformed(BODY.replace(b">I0<", b">I<?x y?>0<"), "processing instruction")
    malformed(b'<?xml-stylesheet href="x.xsl"?>' + BODY, "XML declaration")


def test_deep_nesting():
    for depth, sentence in ((33, "deep"), (200, "deep"), (9_000, "not well-formed"), (500_000, "marks|octets")):
        malformed(b"<a>" * depth + b"</a>" * depth, sentence)
    nested = b"<sr:A>" * 40 + b"</sr:A>" * 40
    malformed(BODY.replace(b"<sr:Body>", b"<sr:Body>" + nested), "deep")


def test_deep_nesting_in_a_reader_that_takes_images():
    for depth in (33, 2_000, 9_000):
        malformed(b"<a>" * depth + b"</a>" * depth, "deep|not well-formed", max_bytes=MAX_REQUEST_BYTES)


def test_a_value_of_sixteen_million_characters():
    long = BODY.replace(b">I0<", b">" + b"I" * (MAX_REQUEST_BYTES - len(BODY)) + b"<")
    malformed(long, "ResponseCode", max_bytes=MAX_REQUEST_BYTES)


def test_oversized():
    malformed(PLAIN + b" " * MAX_MESSAGE_BYTES, "octets; at most 2097152")
    malformed(b"<a" + b" " * MAX_REQUEST_BYTES, "octets; at most", max_bytes=MAX_REQUEST_BYTES)


def test_a_great_many_elements():
    malformed(BODY.replace(b"<sr:Body>", b"<sr:Body>" + b"<sr:A/>" * 250_000), "marks")


def test_a_great_many_attributes():
    attributes = b"".join(b' a%d="1"' % n for n in range(150_000))
    malformed(BODY.replace(b"<sr:Body>", b"<sr:Body" + attributes + b">"), "marks")


def test_a_great_many_character_references():
    malformed(BODY.replace(b">I0<", b">" + b"&#65;" * 400_000 + b"<"), "ResponseCode")


def test_a_great_many_namespaces():
    spaces = b"".join(b' xmlns:n%d="u:%d"' % (n, n) for n in range(1_900))
    malformed(BODY.replace(b"<sr:Body>", b"<sr:Body" + spaces + b">"), "namespaces")


@pytest.mark.parametrize("namespace", [SR + "/", SR.upper(), "urn:x", ""])
def test_wrong_namespace(namespace):
    malformed(BODY.replace(SR.encode(), namespace.encode()))


def test_one_element_of_another_namespace():
    malformed(BODY.replace(CODE, b'<x:ResponseCode xmlns:x="urn:x">I99</x:ResponseCode>'), "no ResponseCode")
    malformed(BODY.replace(CODE, CODE + b'<ResponseCode xmlns="urn:x">I99</ResponseCode>'), "no ResponseDateTime")


def test_duplicate_elements():
    malformed(BODY.replace(CODE, CODE + CODE.replace(b"I0", b"I99")), "no ResponseDateTime")
    start, end = BODY.index(b"<sr:GBCSPayload>"), BODY.index(b"</sr:ResponseMessage>")
    malformed(BODY[:end] + BODY[start:end] + BODY[end:], "GBCSPayload twice")
    header = BODY[BODY.index(b"<sr:Header>") : BODY.index(b"<sr:Body>")]
    malformed(BODY.replace(header, header * 2), "no Body")
    body = BODY[BODY.index(b"<sr:Body>") : BODY.index(b"</sr:Response>")]
    malformed(BODY.replace(body, body * 2), "Body twice")


def test_duplicate_attributes():
    malformed(BODY.replace(b' schemaVersion="5.4"', b' schemaVersion="5.4" schemaVersion="5.3"'), "not well-formed")


def test_elements_out_of_order():
    stamp = BODY[BODY.index(b"<sr:ResponseDateTime>") : BODY.index(b"</sr:Header>")]
    malformed(BODY.replace(CODE + stamp, stamp + CODE), "no ResponseCode")


@pytest.mark.parametrize("rest", [b"<!-- a", b"x", b"<a/>", b"\0", BODY])
def test_something_after_the_message(rest):
    malformed(PLAIN + rest)


def test_a_comment_cannot_hide_part_of_a_value():
    # Comments are no part of the value, here and in what is digested: I0 split by one is I0, and nothing else.
    malformed(BODY.replace(b">I0<", b">I0<!-- -->" + b"9" * 30 + b"<"), "ResponseCode")


@pytest.mark.parametrize("payload", [b"AAA", b"AAA=A", b"AA", b"A===", b"AAB=", b"AA==AAAA", b"AA-_", b"\xc3\xa9AAA"])
def test_truncated_or_odd_base64(payload):
    start, end = BODY.index(b"<sr:GBCSPayload>") + 16, BODY.index(b"</sr:GBCSPayload>")
    malformed(BODY[:start] + payload + BODY[end:], "GBCSPayload")


def counted(counter):
    return write(REQUEST).replace(b":1000<", f":{counter}<".encode())


def test_a_counter_at_two_to_the_sixty_four_less_one():
    request = Request.of(RequestID(SUPPLIER, DEVICE, MAX_COUNTER), REQUEST.body)
    assert counted(2**64 - 1) == write(request)


@pytest.mark.parametrize("counter", [2**64, 10**20, "9" * 100_000, "-1", "+1", "01", "1e3", "0x10", "\uff11", ""])
def test_a_counter_past_two_to_the_sixty_four_less_one_or_no_counter(counter):
    malformed(counted(counter), "RequestID")


@pytest.mark.parametrize(
    "identifier",
    [
        "00-DB-12-34-56-78-90",
        "00-DB-12-34-56-78-90-A0-00",
        "00DB1234567890A0",
        "00-DB-12-34-56-78-90-G0",
        "\u0660\u0660-DB",
    ],
)
def test_an_identifier_of_another_form(identifier):
    data = write(REQUEST).replace(str(DEVICE).encode(), identifier.encode())
    malformed(data, "RequestID")
    listed = write(Request.of(RequestID(SUPPLIER, ACB, 1), UpdateFirmware(b"", "1", (DEVICE,))))
    malformed(listed.replace(f">{DEVICE}<".encode(), f">{identifier}<".encode()), "DeviceIDList")


@pytest.mark.parametrize("separator", [", ", ";", ",,", " ", ",\n"])
def test_a_device_list_with_another_separator(separator):
    listed = write(Request.of(RequestID(SUPPLIER, ACB, 1), UpdateFirmware(b"", "1", (DEVICE, ACB))))
    malformed(listed.replace(f"{DEVICE},".encode(), f"{DEVICE}{separator}".encode()), "DeviceIDList")


def test_a_device_list_that_a_regular_expression_could_choke_on():
    listed = write(Request.of(RequestID(SUPPLIER, ACB, 1), UpdateFirmware(b"", "1", (DEVICE,))))
    long = f"{DEVICE}," * 80_000 + "x"
    malformed(listed.replace(f">{DEVICE}<".encode(), f">{long}<".encode()), "DeviceIDList")
    over = ",".join(str(EUI64(n.to_bytes(8, "big"))) for n in range(50_001))
    malformed(listed.replace(f">{DEVICE}<".encode(), f">{over}<".encode()), "1 to 50000 EUI-64s")


def test_every_prefix_of_a_message():
    for end in range(0, len(SIGNED), 7):
        malformed(SIGNED[:end])
