"""The bench worker: `python -m workers.bench`. It alone speaks to a ZigBee coordinator."""

import sys

if __name__ == "__main__":
    from workers.process import run

    try:
        from workers.bench.worker import main
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "zigpy":
            raise
        sys.exit(
            'hanwave: the bench needs zigpy, which is GPL-3.0 and comes with an extra: `pip install "hanwave[zigbee]"`'
        )
    run(main)
