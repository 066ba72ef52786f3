"""The commands over the ledger: what they print, what they keep, and one sentence for what is wrong, with nothing kept."""

import json

import pytest
from sqlalchemy import text

from hanwave.firmware.document import release_to_dict
from hanwave.firmware.life import Stage
from hanwave.ledger import audit
from tests.support import command
from tests.support.fleet import ROW, fleet, row
from tests.support.ledger import eui
from tests.unit.firmware.making import BODY, expired_supplier, release, signed, supplier
from tests.unit.firmware.test_cpl import HEADER

pytestmark = pytest.mark.ledger
TABLES = ("device", "release", "signed_image", "cpl_entry", "hold", "note")


@pytest.fixture
def run(monkeypatch, tmp_path, ledger_dsn):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    return command.run


@pytest.fixture
def files(tmp_path):
    """Good files of each kind, and bad ones, by name."""
    made = release(Stage.SIGNED)
    image = signed()
    listing = type(made.signed_images[0]).of(image, supplier().certificate, made.life[-1].at)
    made = release(Stage.SIGNED, signed_images=(listing,))
    document = release_to_dict(made)
    texts = {
        "fleet.csv": fleet(row(1), row(2)).getvalue(),
        "fleet_bad.csv": fleet(row(1), row(2, hub="")).getvalue(),
        "fleet_no_hub.csv": fleet(columns=tuple(name for name in ROW if name != "hub")).getvalue(),
        "fleet_colour.csv": b",".join((*(name.encode() for name in ROW), b"colour")),
        "empty": b"",
        "rubbish.json": b"{",
        "cpl.csv": _cpl(made),
        "cpl_other_hash.csv": _cpl(made, hash="AB" * 32),
        "cpl_expired.csv": _cpl(made, status="Expired"),
        "cpl_bad.csv": _cpl(made, status="Perhaps"),
        "release.json": json.dumps(document).encode(),
        "release_twice.json": b'{"name": "a", "name": "b"}',
        "release_other.json": json.dumps(document | {"may_downgrade": True}).encode(),
        "release_unsigned.json": json.dumps(
            release_to_dict(release(Stage.CPL_ACTIVE, name="unsigned", manufacturer_image=BODY))
        ).encode(),
        "image.ota": image.pack(),
        "image_other.ota": signed(b"another" * 70).pack(),
        "key.pem": supplier().key_pem,
        "certificate.pem": supplier().certificate_pem,
        "other.pem": supplier(2).certificate_pem,
        "expired.key": expired_supplier().key_pem,
        "expired.pem": expired_supplier().certificate_pem,
    }
    for name, data in texts.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def _cpl(made, **changes: str) -> bytes:
    cells = {
        "entry_id": "CPL-77",
        "device_type": "ESME",
        "manufacturer": "121D",
        "model": "1111",
        "hardware": "11",
        "revision": "11",
        "version": str(made.firmware_version),
        "gbcs": "4.1",
        "hash": made.manufacturer_image_hash.hex().upper(),
        "status": "Active",
    } | changes
    columns = {
        "entry_id": "CPL Entry ID",
        "device_type": "Device Type",
        "manufacturer": "Manufacturer Identifier",
        "model": "Model Identifier",
        "hardware": "Hardware Version",
        "revision": "Hardware Revision",
        "version": "Firmware Version",
        "gbcs": "GBCS Version",
        "hash": "Manufacturer Image Hash",
        "status": "Status",
    }
    assert set(columns.values()) == set(HEADER.split(","))
    return (",".join(columns.values()) + "\n" + ",".join(cells[name] for name in columns) + "\n").encode()


def kept(ledger):
    with ledger.connect() as connection:
        return {name: connection.execute(text(f"SELECT * FROM {name} ORDER BY 1")).all() for name in TABLES}


def facts(result):
    code, out, err = result
    assert (code, err) == (0, ""), (out, err)
    return json.loads(out)


def test_a_fleet_a_cpl_and_a_release_come_in_and_are_shown(run, files):
    done = facts(run("fleet", "import", "fleet.csv", "--json"))
    assert (done["rows"], done["added"], done["refused"]) == (2, 2, 0)
    assert facts(run("fleet", "import", "fleet.csv", "--json"))["unchanged"] == 2
    assert facts(run("cpl", "import", "cpl.csv", "--json"))["added"] == 1
    command = ("release", "import", "release.json", "--image", "image.ota", "--cert", "certificate.pem", "--json")
    done = facts(run(*command))
    assert (done["outcome"], done["signatures_verified"]) == ("added", 1)
    assert facts(run(*command))["outcome"] == "unchanged"
    assert [each["name"] for each in facts(run("release", "list", "--json"))["releases"]] == ["meter-2.1"]
    assert facts(run("release", "show", "meter-2.1", "--json")) == json.loads((files / "release.json").read_text())


def test_bad_rows_end_with_code_1_and_the_good_ones_are_in(run, files, ledger):
    code, out, err = run("fleet", "import", "fleet_bad.csv", "--json")
    assert code == 1
    assert json.loads(out)["refusals"] == [
        {"line": 3, "reason": "hub should be an EUI-64: 8 hexadecimal octets joined by '-'"}
    ]
    assert err == "hanwave: fleet_bad.csv: 1 of 2 rows are refused\n"
    assert len(kept(ledger)["device"]) == 1


def test_no_customers_number_is_printed(run, files):
    for arguments in (("fleet_bad.csv",), ("fleet_bad.csv", "--json"), ("fleet.csv", "--json")):
        _, out, err = run("fleet", "import", *arguments)
        assert ROW["mpxn"] not in out + err
        assert ROW["home"] not in out + err


def test_a_release_is_signed_for_a_supplier(run, files, ledger):
    facts(run("cpl", "import", "cpl.csv", "--json"))
    facts(run("release", "import", "release_unsigned.json", "--json"))
    done = facts(run("release", "sign", "unsigned", "--key", "key.pem", "--cert", "certificate.pem", "--json"))
    assert done["user_id"] == str(supplier().certificate.eui)
    assert len(kept(ledger)["signed_image"]) == 2


def test_holds_are_placed_listed_and_lifted(run):
    placed = facts(run("hold", "place", "device", eui(1), "--reason", "visit", "--actor", "ann", "--json"))
    (held,) = facts(run("hold", "list", "--json"))["holds"]
    assert (held["id"], held["scope"], held["value"], held["owner"]) == (placed["id"], "device", eui(1), "ann")
    facts(run("hold", "lift", str(placed["id"]), "--reason", "over", "--json"))
    assert facts(run("hold", "list", "--json"))["holds"] == []
    assert len(facts(run("hold", "list", "--all", "--json"))["holds"]) == 1


def test_the_chain_is_exported_and_verified_without_a_database(run, files, ledger, monkeypatch):
    run("fleet", "import", "fleet.csv")
    run("hold", "place", "region", "South", "--reason", "storm")
    assert facts(run("audit", "status", "--json"))["unchained"] == {"note": 2}
    audit.catch_up(ledger)
    head = facts(run("audit", "status", "--json"))["head"]
    facts(run("audit", "export", "--out", "audit.jsonl", "--json"))
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", "postgresql://nobody@/nowhere")
    done = facts(run("audit", "verify", "audit.jsonl", "--head", head, "--json"))
    assert (done["verified"], done["rows"], done["head"], done["checkpoint_at"]) == (True, 2, head, 2)
    lines = (files / "audit.jsonl").read_bytes()
    (files / "forged.jsonl").write_bytes(lines.replace(b"storm", b"calm!"))
    code, _, err = run("audit", "verify", "forged.jsonl")
    assert code == 1
    assert err == "hanwave: row 2 of the chain (note/2, line 3) was changed: its hash is not that of what it holds\n"


CPL = ("cpl", "import", "cpl.csv")
RELEASE = ("release", "import", "release.json", "--image", "image.ota")
UNSIGNED = ("release", "import", "release_unsigned.json")
WRONG = {
    "a fleet file that is not there": (
        (),
        "fleet import nowhere.csv",
        "the fleet file nowhere.csv cannot be read: No such",
    ),
    "a fleet that is a folder": ((), "fleet import .", "the fleet file . cannot be read: Is a directory"),
    "an empty fleet": ((), "fleet import empty", "the fleet file is empty"),
    "a fleet without hubs": ((), "fleet import fleet_no_hub.csv", "header has no column hub"),
    "a fleet with a column nobody knows": ((), "fleet import fleet_colour.csv", "has the column 'colour'"),
    "a fleet into a ledger that is not there": (
        (),
        "fleet import fleet.csv --database postgresql://nobody@127.0.0.1:1/x",
        "the ledger refused or was lost: connection failed",
    ),
    "a DSN that is none": ((), "hold list --database mysql://x", "DSN should begin with postgresql://"),
    "a release that is not there": (
        (),
        "release import nowhere.json",
        "the release document nowhere.json cannot be read",
    ),
    "a release that is no JSON": ((), "release import rubbish.json", "the release document is not JSON"),
    "a release that says a thing twice": ((), "release import release_twice.json", "'name' stands twice"),
    "a release that the CPL does not know": (
        (),
        " ".join(RELEASE),
        "the CPL lists no firmware 0123ABCD of model 121D/1111",
    ),
    "a release whose hash is not the CPL's": (
        (("cpl", "import", "cpl_other_hash.csv"),),
        " ".join(RELEASE),
        "the hash of the CPL's entry",
    ),
    "a release whose entry is not Active": (
        (("cpl", "import", "cpl_expired.csv"),),
        " ".join(RELEASE),
        "holds Expired, it should hold Active",
    ),
    "a release with another's image": (
        (CPL,),
        "release import release.json --image image_other.ota",
        "the Manufacturer Image's length holds",
    ),
    "a release without an image": ((CPL,), "release import release.json", "comes without an image"),
    "a release with an image that is none": (
        (CPL,),
        "release import release.json --image rubbish.json",
        "the image has 1 octets",
    ),
    "a name taken": (
        (CPL, RELEASE),
        "release import release_other.json --image image.ota",
        "'meter-2.1' is taken by a release with another may_downgrade",
    ),
    "a release nobody has": ((), "release show x", "there is no release 'x'"),
    "a signature for a release nobody has": (
        (),
        "release sign x --key key.pem --cert certificate.pem",
        "there is no release 'x'",
    ),
    "a signature under an expired certificate": (
        (CPL, UNSIGNED),
        "release sign unsigned --key expired.key --cert expired.pem",
        "is valid from",
    ),
    "a signature with another's key": (
        (CPL, UNSIGNED),
        "release sign unsigned --key key.pem --cert other.pem",
        "the key is not the one that the certificate",
    ),
    "a key that is none": ((), "release sign x --key empty --cert certificate.pem", "empty holds no readable"),
    "a certificate that is none": ((), "release sign x --key key.pem --cert empty", "empty holds no readable"),
    "a CPL that is not there": ((), "cpl import nowhere.csv", "the CPL file nowhere.csv cannot be read"),
    "a CPL without a header": ((), "cpl import empty", "the CPL file has no header"),
    "a column map that is none": ((), "cpl import cpl.csv --columns rubbish.json", "the column map"),
    "a hold on nothing": ((), "hold place planet Mars --reason x", "the hold's scope holds 'planet'"),
    "a hold on no device": ((), "hold place device 12 --reason x", "'12' is not an EUI-64"),
    "a hold on no model": ((), "hold place model 12 --reason x", "'12' should be a model such as"),
    "a hold on no region": ((), "hold place region Wales --reason x", "region holds 'Wales'"),
    "a hold until yesterday": (
        (),
        "hold place region South --reason x --until 2020-01-01T00:00:00Z",
        "it should be later than now",
    ),
    "a hold until no time": ((), "hold place region South --reason x --until soon", "--until holds 'soon'"),
    "a hold until a time without a zone": (
        (),
        "hold place region South --reason x --until 2030-01-01T00:00:00",
        "it should be a time with its zone",
    ),
    "lifting a hold nobody placed": ((), "hold lift 7 --reason x", "there is no hold 7 that is not lifted"),
    "verifying what is not there": ((), "audit verify nowhere", "the export nowhere cannot be read"),
    "verifying what is no export": ((), "audit verify fleet.csv", "line 1 of the export is not JSON"),
    "verifying nothing": ((), "audit verify empty", "the file is no audit export"),
    "a checkpoint that is none": ((), "audit verify empty --head 12", "it should be 64 hexadecimal digits"),
    "an export to a folder": ((), "audit export --out .", "the export . cannot be written: Is a directory"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_sentence_and_nothing_changed_for(run, files, ledger, case):
    before, command, sentence = WRONG[case]
    for arguments in before:
        assert run(*arguments)[0] == 0
    held = kept(ledger)
    code, out, err = run(*command.split())
    assert (code, out) == (1, "")
    assert sentence in err
    assert err.startswith("hanwave: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert kept(ledger) == held


def test_a_cpl_with_a_bad_row_keeps_the_good_ones_and_ends_with_code_1(run, files):
    code, out, err = run("cpl", "import", "cpl_bad.csv", "--json")
    assert (code, json.loads(out)["refused"]) == (1, 1)
    assert err == "hanwave: cpl_bad.csv: 1 rows are refused\n"


def test_a_ledger_without_its_schema_is_a_refusal_in_one_sentence(run, database):
    code, _, err = run("hold", "list", "--database", database)
    assert code == 1
    assert "the ledger's schema is not there yet, this version of hanwave wants" in err
