"""`hanwave release`, and `hanwave cpl import`: what may be installed, and what the CPL says of it."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hanwave.cli import cpl as cpl_commands
from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit, naming, read_file
from hanwave.credentials import Certificate, load_private_key
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import read_cpl
from hanwave.firmware.document import read_release, release_to_dict
from hanwave.ledger import planning, releases
from hanwave.ledger.cpl import import_cpl
from hanwave.ledger.database import connect

app = typer.Typer(no_args_is_help=True, help="Import, sign, list and show releases.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The release's name.")]


@app.command(
    "import", epilog="Example: hanwave release import esme-2.1.json --image esme-2.1.ota --certificate ours.pem"
)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The release document, JSON.")],
    image: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="An OTA Upgrade Image of it: signed, or a PPMID's. May be given again."),
    ] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option("--certificate", "--cert", metavar="FILE", help="A signer's certificate, to verify signatures."),
    ] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Import a release with its images, or the next steps of its life; the same again changes nothing."""
    document = read_file(file, "the release document")
    with naming(file):
        release = read_release(document)
    images = [read_file(path, "the image") for path in image or ()]
    signers = [Certificate.load(read_file(path, "the certificate"), str(path)) for path in certificate or ()]
    with open_ledger(database) as ledger, connect(ledger) as connection:
        done = releases.import_release(connection, release, images, actor_or_user(actor), now(), signers)
    emit(asdict(done), as_json=as_json)


@app.command(epilog="Example: hanwave release sign esme-2.1 --key gbcs.key --certificate gbcs.pem")
def sign(
    name: Name,
    key: Annotated[Path, typer.Option(help="The supplier's digitalSignature private key, PEM or DER.")],
    certificate: Annotated[
        Path, typer.Option("--certificate", "--cert", help="The supplier's certificate (role 2), PEM or DER.")
    ],
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Sign a release's image for the supplier that the certificate names, and keep it."""
    private = load_private_key(read_file(key, "the key"), str(key))
    signer = Certificate.load(read_file(certificate, "the certificate"), str(certificate))
    with open_ledger(database) as ledger, connect(ledger) as connection:
        signed = releases.sign_release(connection, name, private, signer, actor_or_user(actor), now())
    facts = {"name": name, "user_id": str(signed.user_id), "certificate": str(signed.certificate_serial)}
    emit(facts | {"sha256": signed.image_digest.hex().upper()}, as_json=as_json)


@app.command("list", epilog="Example: hanwave release list --json")
def list_(database: Database = None, as_json: AsJson = False) -> None:
    """List the releases, and who has an image of each: of the setting user_id alone, if any."""
    with open_ledger(database) as ledger, connect(ledger) as connection:
        found = releases.listed(connection, own_user_id())
    # Its hash, as wide as the rest of a line, `show` has for a person.
    facts = [{name: value for name, value in asdict(each).items() if as_json or name != "image_hash"} for each in found]
    emit({"releases": facts}, as_json=as_json)


@app.command(epilog="Example: hanwave release show esme-2.1")
def show(name: Name, database: Database = None, as_json: AsJson = False) -> None:
    """Show a release: what it is for, its life so far, its signed images."""
    with open_ledger(database) as ledger, connect(ledger) as connection:
        emit(release_to_dict(planning.release(connection, name)), as_json=as_json)


@cpl_commands.app.command("import", epilog="Example: hanwave cpl import cpl.csv --columns map.yaml")
def import_cpl_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The CPL as CSV, in UTF-8.")],
    columns: Annotated[
        Path | None,
        typer.Option(metavar="MAP", help="The column map, in YAML. Not given: the one that is shipped, unconfirmed."),
    ] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Keep the CPL in the ledger. Good rows go in, refused ones are listed, and end it with code 1."""
    text: bytes | str = read_file(columns, "the column map") if columns else default_map_text()
    known = read_column_map(text)
    with naming(file, "the CPL file"):
        found = read_cpl(cpl_commands.lines_of(file), known)
    with open_ledger(database) as ledger, connect(ledger) as connection:
        done = import_cpl(connection, found.entries, actor_or_user(actor), now())
    refusals = [asdict(refusal) for refusal in found.refusals]
    emit({"file": str(file), **asdict(done), "refused": len(refusals), "refusals": refusals}, as_json=as_json)
    if refusals:
        sys.stderr.write(f"hanwave: {file}: {len(refusals)} rows are refused\n")
        raise typer.Exit(1)
