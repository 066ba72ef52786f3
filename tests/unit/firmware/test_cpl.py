import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.firmware import cpl
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import MAX_LINE, CplEntry, read_cpl
from hanwave.firmware.errors import CplError
from hanwave.firmware.terms import CplStatus, DeviceType, FirmwareVersion, GbcsVersion, Model

pytestmark = pytest.mark.unit

MAP = read_column_map(default_map_text())
HEADER = (
    "CPL Entry ID,Device Type,Manufacturer Identifier,Model Identifier,Hardware Version,Hardware Revision,"
    "Firmware Version,GBCS Version,Manufacturer Image Hash,Status"
)
HASH, OTHER = "AB" * 32, "CD" * 32
GOOD = f"C1,ESME,121D,1111,11,12,0123ABCD,4.1,{HASH},Active"


def imported(*rows: str, header: str = HEADER, columns=MAP, newline: str = "\n"):
    return read_cpl(io.BytesIO(newline.join([header, *rows]).encode()), columns)


def refused(*rows: str) -> dict[int, str]:
    return {refusal.line: refusal.reason for refusal in imported(*rows).refusals}


def test_a_good_row_becomes_an_entry():
    found = imported(GOOD)
    assert found.refusals == ()
    assert found.entries == (
        CplEntry(
            2,
            DeviceType.ESME,
            Model(0x121D, 0x1111),
            0x1112,
            FirmwareVersion(0x0123ABCD),
            bytes.fromhex(HASH),
            CplStatus.ACTIVE,
            "C1",
            GbcsVersion(4, 1),
        ),
    )


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("ESME", "Esme", "device_type holds 'Esme', the column map knows CAD, CH, CHF"),
        ("121D", "121", "manufacturer holds '121' should be 4 hexadecimal digits"),
        ("121D", "0x12", "manufacturer holds '0x12' should be 4"),
        (",1111,", ",11G1,", "model holds '11G1' should be 4"),
        (",11,12,", ",11,2,", "hardware holds '112' should be 4"),
        ("0123ABCD", "123ABCD", "firmware_version holds '123ABCD' should be 8"),
        ("4.1", "4", "gbcs_version holds '4' should be a GBCS version"),
        (HASH, HASH[:-2], "hash holds 'ABAB.*' should be 64"),
        (HASH, "", "hash holds '' should be 64"),
        ("Active", "active", "status holds 'active', the column map knows Active, Cancelled"),
        ("Active", "", "status holds ''"),
        ("C1", "C\x00", r"entry_id holds 'C\\x00', it should be printable"),
        ("C1,", "", "the row has 9 cells, the header has 10"),
        ("Active", "Active,", "the row has 11 cells, the header has 10"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_reason_and_the_others_stay(old, new, reason):
    found = imported("C0,GSME,121D,0001,00,01,00000001,," + OTHER + ",Expired", GOOD.replace(old, new, 1))
    assert [entry.line for entry in found.entries] == [2]
    ((line, text),) = [(refusal.line, refusal.reason) for refusal in found.refusals]
    assert line == 3
    assert re.match(reason, text)


def test_a_hash_may_be_blank_only_where_no_supplier_updates_the_type():
    (entry,) = imported(GOOD.replace("ESME", "Communications Hub").replace(HASH, "")).entries
    assert (entry.device_type, entry.hash) == (DeviceType.CHF, None)


def test_one_version_with_two_hashes_is_refused_in_both_rows():
    reasons = refused(
        GOOD, GOOD.replace(HASH, OTHER).replace("C1", "C2"), GOOD.replace("1111", "2222").replace("C1", "C3")
    )
    assert set(reasons) == {2, 3}
    assert reasons[2] == reasons[3]
    assert reasons[2] == (
        "model 121D/1111, hardware 1112, firmware 0123ABCD is listed with different values of hash on lines 2, 3"
    )


def test_rows_that_repeat_or_contradict_each_other_are_all_refused():
    assert "is listed more than once on lines 2, 3, 4" in refused(GOOD, GOOD, GOOD)[3]
    assert "different values of status" in refused(GOOD, GOOD.replace("Active", "Expired"))[2]
    assert "different values of device_type" in refused(GOOD, GOOD.replace("ESME", "GSME"))[2]
    assert "entry_id 'C1' is given on lines 2, 3" in refused(GOOD, GOOD.replace("1111", "2222"))[3]
    assert "and more" in refused(*[GOOD] * 12)[2]


def test_the_same_version_on_other_hardware_is_another_entry():
    assert len(imported(GOOD, GOOD.replace(",12,", ",13,").replace("C1", "C2").replace(HASH, OTHER)).entries) == 2


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_taken(newline):
    text = newline.join(["\ufeff" + HEADER, "", GOOD, ",,,,,,,,,", ""])
    assert [entry.line for entry in read_cpl(io.BytesIO(text.encode()), MAP).entries] == [3]


def test_a_quoted_cell_may_hold_the_delimiter_and_a_line_end_but_no_field_takes_the_latter():
    assert imported(GOOD.replace("C1", '"C,1"')).entries[0].entry_id == "C,1"
    assert "it should be printable" in refused(GOOD.replace("C1", '"C\n1"'))[2]


def test_an_open_quote_says_which_lines_it_swallowed():
    reasons = refused(GOOD, '"' + GOOD, GOOD, GOOD)
    assert list(reasons) == [3]
    assert reasons[3].startswith("lines 3 to 5: the line is not CSV")


def test_octets_that_are_not_utf_8_refuse_their_own_row():
    data = "\n".join([HEADER, GOOD, GOOD.replace("C1", "Cé")]).encode("latin-1")
    found = read_cpl(io.BytesIO(data), MAP)
    assert len(found.entries) == 1
    assert found.refusals[0].line == 3
    assert "printable text in UTF-8" in found.refusals[0].reason


def test_all_missing_columns_are_named_in_one_sentence():
    with pytest.raises(
        CplError, match="header has no column 'Hardware Revision', 'Status', which the column map names"
    ):
        imported(GOOD, header=HEADER.replace("Hardware Revision", "Rev").replace("Status", "State"))


@pytest.mark.parametrize("text", ["", "\n\n", '"unclosed'])
def test_a_file_without_a_header_is_refused(text):
    with pytest.raises(CplError, match="the CPL file has no header"):
        read_cpl(io.BytesIO(text.encode()), MAP)


def test_a_column_that_stands_twice_in_the_header_is_refused():
    with pytest.raises(CplError, match="has the column 'Status' twice"):
        imported(GOOD + ",Active", header=HEADER + ",Status")
    assert imported(GOOD + ",x,y", header=HEADER + ",Note,Note").entries


def test_a_line_or_a_file_that_is_too_long_is_refused(monkeypatch):
    with pytest.raises(CplError, match="line 2 of the CPL file is longer than 65536 octets"):
        imported("x" * (MAX_LINE + 1))
    monkeypatch.setattr(cpl, "MAX_ROWS", 2)
    with pytest.raises(CplError, match="more than 2 rows"):
        imported(GOOD, GOOD, GOOD)


def test_a_prefix_that_the_map_declares_is_required_in_every_hexadecimal_cell():
    columns = read_column_map(default_map_text().replace('hex_prefix: ""', 'hex_prefix: "0x"'))
    row = f"C1,ESME,0x121D,0x1111,0x11,0x12,0x0123ABCD,4.1,0x{HASH},Active"
    assert imported(row, columns=columns).entries[0].hardware == 0x1112
    reasons = imported(row.replace("0x12,", "12,"), columns=columns).refusals
    assert "hardware holds '12', it should start with '0x'" in reasons[0].reason


def test_fields_that_a_file_lacks_are_left_out_of_the_map():
    kept = [
        line for line in default_map_text().splitlines() if not line.strip().startswith(("entry_id", "gbcs_version"))
    ]
    row = f"ESME;121D;1111;11;12;0123ABCD;{HASH};Active"
    header = "Device Type;Manufacturer Identifier;Model Identifier;Hardware Version;Hardware Revision;Firmware Version;Manufacturer Image Hash;Status"
    columns = read_column_map("\n".join(kept).replace('delimiter: ","', 'delimiter: ";"'))
    (entry,) = imported(row, header=header, columns=columns).entries
    assert (entry.entry_id, entry.gbcs_version) == (None, None)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('delimiter: ","', 'delimiter: ",,"', "the delimiter holds ',,', it should be one character"),
        ("  status: Status", "  state: Status", r"columns\.(status: Field required|state: Unexpected)"),
        ("Current: Active", "Current: Alive", "values.status.Current: Input should be 'Active'"),
        ("status: Status", "status: Device Type", "the column 'Device Type' is named for two fields"),
        ("status: Status", "status: 7", r"columns\.status\.str: Input should be a valid string"),
        ("status: Status", "status: State\n  status: Status", "'status' stands twice in one place"),
        ('hex_prefix: ""', "hex_prefix: &a x\ndelimiter2: *a", "refers to another part of itself"),
        ("columns:", "columns: [", "the column map is not plain YAML"),
        ("columns:", "columnz:", "the column map: columns: Field required"),
    ],
)
def test_a_column_map_that_is_wrong_is_refused_in_one_sentence(old, new, sentence):
    with pytest.raises(CplError, match=sentence):
        read_column_map(default_map_text().replace(old, new, 1))


@pytest.mark.parametrize("text", [b"", b"- a", b"\xff\xfe\x00", b"x: 2026-01-01", b" " * 100_001, b"[" * 5_000])
def test_what_is_no_column_map_is_refused(text):
    with pytest.raises(CplError, match="the column map"):
        read_column_map(text)


@given(st.lists(st.lists(st.text(max_size=8) | st.sampled_from(GOOD.split(",")), max_size=11), max_size=8))
def test_every_row_ends_as_an_entry_or_a_refusal(rows):
    text = io.StringIO()
    csv.writer(text).writerow(HEADER.split(","))
    csv.writer(text).writerows(rows)
    found = read_cpl(io.BytesIO(text.getvalue().encode("utf-8", "replace")), MAP)
    worded = [row for row in rows if any(cell.strip() for cell in row)]
    assert len(found.entries) + len(found.refusals) == len(worded)


@given(st.binary(max_size=300))
def test_no_octets_raise_anything_but_the_packages_error(data):
    for lines in (io.BytesIO(data), [HEADER.encode() + b"\n", *io.BytesIO(data)]):
        try:
            found = read_cpl(lines, MAP)
        except CplError:
            continue
        assert all(refusal.reason for refusal in found.refusals)
