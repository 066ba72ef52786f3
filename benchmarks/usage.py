"""What processes use, from proc(5): processor time and memory, with their descendants."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            found.setdefault(int(fields[1]), []).append(int(entry.name))
    return found


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _tree(pid: int, children: dict[int, list[int]]) -> Iterator[int]:
    """A process and its descendants; of ours, which is everybody's ancestor, itself alone."""
    yield pid
    for child in children.get(pid, ()) if pid != os.getpid() else ():
        yield from _tree(child, children)


def processor_seconds(pids: dict[str, int]) -> dict[str, float]:
    """What each process and its descendants have used, those that ended included."""
    children = _children()
    used = {}
    for name, pid in pids.items():
        stats = [fields for each in _tree(pid, children) if (fields := _stat(each))]
        # utime, stime, and of those that were waited for, cutime, cstime: fields 14 to 17 of stat.
        end = 13 if pid == os.getpid() else 15
        used[name] = sum(int(value) for fields in stats for value in fields[11:end]) / _TICKS
    return used


def megabytes(pids: dict[str, int]) -> dict[str, float]:
    """What each process and its descendants hold now, shared pages counted once (Pss)."""
    children = _children()
    return {name: sum(_pss(each) for each in _tree(pid, children)) / 1024 for name, pid in pids.items()}


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def resident_peaks(pids: dict[str, int]) -> dict[str, float]:
    """MB: the most that the largest of each process and its descendants has held since `forget_peaks` (VmHWM)."""
    children = _children()
    return {name: max(_high_water(each) for each in _tree(pid, children)) / 1024 for name, pid in pids.items()}


def forget_peaks(pids: dict[str, int]) -> None:
    """Begin VmHWM anew, where the kernel lets us; else it counts from the process's start."""
    children = _children()
    for pid in pids.values():
        for each in _tree(pid, children):
            with suppress(OSError):
                Path(f"/proc/{each}/clear_refs").write_text("5")


def _high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def file_megabytes(folder: Path) -> float:
    """What the files of a folder take on the disk, in MB."""
    sizes = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # a log of the database that was just recycled
            if path.is_file():
                sizes.append(path.stat().st_blocks * 512)
    return sum(sizes) / 1e6
