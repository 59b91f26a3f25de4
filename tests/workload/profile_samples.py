"""Logs as NCCL writes them, of any calls."""

from __future__ import annotations

import pathlib
import sqlite3

DATA = pathlib.Path(__file__).parents[1] / "data" / "profile"


def call(
    rank: int = 0, word: str = "AllReduce", count: int = 7168, dtype: int = 9, nranks: int = 8, at: int = 0
) -> str:
    """Return a line of NCCL_DEBUG_SUBSYS=COLL."""
    return (
        f"birch01:{4000 + rank}:{4100 + rank} [{rank}] NCCL INFO {word}: opCount {at:x} sendbuff 0x7f{at:010x} "
        f"recvbuff 0x7e{at:010x} count {count} datatype {dtype} op 0 root 0 comm 0x55d0{rank:03x}a0 "
        f"[nranks={nranks}] stream 0x55d1{rank:03x}b0\n"
    )


def nsys_export(path: pathlib.Path, rows: list[tuple[int, str, int, int]]) -> None:
    """Write an SQLite export with kernels: device, name, nanoseconds each, how many."""
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
    base.execute(
        "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT NOT NULL, end INT NOT NULL, deviceId INT NOT NULL,"
        " demangledName INT NOT NULL, shortName INT NOT NULL)"
    )
    names = {name: number for number, name in enumerate(dict.fromkeys(row[1] for row in rows), 1)}
    base.executemany("INSERT INTO StringIds VALUES (?, ?)", [(number, name) for name, number in names.items()])
    for device, name, ns, count in rows:
        base.executemany(
            "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?, ?, ?)",
            [(1000 * i, 1000 * i + ns, device, names[name], names[name]) for i in range(count)],
        )
    base.commit()
    base.close()
