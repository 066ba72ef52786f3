"""Fleet files: what is read, what is refused, and that no line is lost or repeated in a reason."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.ledger.database import LedgerError
from hanwave.ledger.fleet_file import COLUMNS, MAX_LINE, FleetFile, Refusal
from tests.support.fleet import ROW, fleet, row

pytestmark = pytest.mark.unit


def read(file):
    return list(FleetFile(file))


def test_a_good_row_is_read_in_canonical_form():
    ((line, values),) = read(fleet(row(eui="00db000000000000", manufacturer="121d", home=" home-7 ")))
    assert line == 2
    held = dict(zip(ROW, values, strict=True))
    assert held == ROW | {"eui": "00-DB-00-00-00-00-00-00", "gas_supplier": None}


def test_an_empty_optional_cell_says_that_there_is_none():
    needed_or_usual = {*list(ROW)[:9], "payment_mode"}
    optional = tuple(name for name in ROW if name not in needed_or_usual)
    ((_, values),) = read(fleet(row(payment_mode="", **dict.fromkeys(optional, ""))))
    held = dict(zip(ROW, values, strict=True))
    assert held["payment_mode"] == "credit"
    assert {held[name] for name in optional} == {None}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-07-01", "2026-06-30T23:00:00+00:00"),
        ("2026-07-01T00:00:00Z", "2026-07-01T00:00:00+00:00"),
        ("2026-07-01T01:30:00+01:00", "2026-07-01T00:30:00+00:00"),
    ],
)
def test_a_day_of_change_of_supplier_begins_in_great_britains_zone(written, meant):
    ((_, values),) = read(fleet(row(leaves_at=written)))
    assert dict(zip(ROW, values, strict=True))["leaves_at"] == meant


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"eui": "00-DB-00-00-00-00-00"}, "eui should be an EUI-64"),
        ({"eui": ""}, "eui should be an EUI-64"),
        ({"device_type": "TOASTER"}, "device_type should be one of ESME, GSME, HCALCS, PPMID"),
        ({"device_type": "IHD"}, "device_type is IHD, a type whose firmware no supplier updates"),
        ({"device_type": "CHF"}, "device_type is CHF, a type"),
        ({"device_type": "esme"}, "device_type should be one of"),
        ({"manufacturer": "121"}, "manufacturer should be 4 hexadecimal digits"),
        ({"model": "11111"}, "model should be 4 hexadecimal digits"),
        ({"hardware_version": "0x01"}, "hardware_version should be 4 hexadecimal digits"),
        ({"firmware_version": "0000000G"}, "firmware_version should be 8 hexadecimal digits"),
        ({"smi_status": "commissioned"}, "smi_status should be one of Commissioned, Decommissioned"),
        ({"hub": ""}, "hub should be an EUI-64"),
        ({"region": "Wales"}, "region should be one of 4G Central"),
        ({"region": "SMETS1"}, "region is SMETS1, whose devices are out of hanwave's scope"),
        ({"home": "h" * 65}, "home should have at most 64 characters"),
        ({"mpxn": "12345"}, "mpxn should be an MPAN of 13 digits or an MPRN"),
        ({"mpxn": "\u0661\u0662\u0663\u0664\u0665\u0666"}, "mpxn should be"),
        ({"payment_mode": "cash"}, "payment_mode should be credit or prepayment"),
        ({"protected_class": "has a ventilator"}, "protected_class should be a code .* never the reason"),
        ({"import_supplier": "us"}, "import_supplier should be an EUI-64"),
        ({"gas_supplier": "90-B3"}, "gas_supplier should be an EUI-64"),
        ({"supplier_certificate": "0A1B"}, "supplier_certificate should be a serial number in decimal"),
        ({"hub_firmware": "0102030"}, "hub_firmware should be 8 hexadecimal digits"),
        ({"gbcs_version": "four"}, "gbcs_version should be a GBCS version such as 4.1"),
        ({"leaves_at": "31/01/2027"}, "leaves_at should be a date"),
        ({"leaves_at": "2027-02-30"}, "leaves_at should be a date"),
        ({"leaves_at": "2027-01-31T00:00:00"}, "leaves_at should be a date .* or a time with its offset"),
        ({"leaves_at": "0001-01-01"}, "leaves_at should be .* from 2000 to 2100"),
        ({"home": "a\x07b"}, "the line holds control characters"),
        ({"home": "a,b"}, "the line has 21 cells, the header has 20"),
        ({"home": '"a'}, "the line is not CSV"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_its_column_and_costs_no_other(changes, reason):
    first, bad, last = read(fleet(row(1), row(2, **changes), row(3)))
    assert (first[0], last[0]) == (2, 4)
    assert isinstance(bad, Refusal)
    assert bad.line == 3
    assert_matches(bad.reason, reason)


def assert_matches(reason, pattern):
    with pytest.raises(LedgerError, match=pattern):
        raise LedgerError(reason)


def test_a_line_of_no_utf_8_and_a_line_too_long_cost_no_other():
    lines = fleet(row(1)).getvalue().splitlines(keepends=True)
    file = BytesIO(lines[0] + b"\xff\xfe\n" + b"x" * (5 * MAX_LINE) + b"\n" + lines[1])
    bad, long, (line, _) = read(file)
    assert bad == Refusal(2, "the line is not UTF-8")
    assert long == Refusal(3, f"the line is longer than {MAX_LINE} octets")
    assert line == 4


def test_quotes_a_byte_order_mark_and_windows_line_ends_are_read():
    data = fleet(row(1, home='"one, two"')).getvalue().replace(b"\n", b"\r\n")
    ((_, values),) = read(BytesIO(b"\xef\xbb\xbf" + data))
    assert dict(zip(ROW, values, strict=True))["home"] == "one, two"


def test_lines_without_any_text_are_no_rows():
    assert [each[0] for each in read(fleet(row(1), "", "," * 18, row(2)))] == [2, 5]


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (b"", "the fleet file is empty"),
        (b"\xff\n", "header is not UTF-8"),
        (",".join(ROW).replace("hub,", "").encode(), "header has no column hub$"),
        (b"eui,device_type", "has no column manufacturer, model, hardware_version"),
        (",".join((*ROW, "colour")).encode(), "has the column 'colour': `hanwave fleet columns`"),
        (",".join((*ROW, "home")).encode(), "has the column 'home' twice"),
        (",".join(ROW.values()).encode(), r"has the column '\(no name\)'"),
    ],
)
def test_a_header_that_is_no_fleets_refuses_the_file(header, sentence):
    with pytest.raises(LedgerError, match=sentence):
        FleetFile(BytesIO(header))


SECRETS = ("1200012345678", "Flat 2, 17 Acacia Avenue", "07700900123")


@given(st.permutations(list(ROW)), st.sampled_from(SECRETS))
def test_no_reason_repeats_what_a_cell_held_wherever_a_shifted_row_puts_it(names, secret):
    for name in names:
        (found,) = read(fleet(row(1) | {name: f'"{secret}"'}))
        if isinstance(found, Refusal):
            assert secret not in found.reason
            assert found.reason.startswith(name)


@given(st.lists(st.binary(max_size=200)))
def test_every_line_ends_as_a_row_or_a_refusal(lines):
    lines = [line.replace(b"\n", b"") for line in lines]
    good = fleet(row(1)).getvalue()
    found = read(BytesIO(good + b"\n".join(lines) + b"\n"))
    numbers = [each.line if isinstance(each, Refusal) else each[0] for each in found]
    told = [n for n, line in enumerate(lines, 3) if line.strip(b" ,\t\r\n")]
    assert numbers == [2, *told]


def test_the_columns_that_must_be_there_are_those_that_a_plan_needs():
    assert [name for name, column in COLUMNS.items() if column.required] == list(ROW)[:9]
