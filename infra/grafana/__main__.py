"""`python -m infra.grafana` writes the dashboards' JSON beside this file, for Grafana's provisioning."""

from pathlib import Path

from infra.grafana.boards import BOARDS
from infra.grafana.build import document

FOLDER = Path(__file__).parent / "dashboards"


def main() -> None:
    """Write every dashboard."""
    FOLDER.mkdir(exist_ok=True)
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(document(board))


if __name__ == "__main__":
    main()
