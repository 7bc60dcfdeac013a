"""Do what slow_fsync.c does where there is no C compiler: Python imports this file at its start, by PYTHONPATH.

SQLite's own way to stand between it and the disk is a VFS. This one is a copy of the default VFS whose files have
another xSync. It works where Python's sqlite3 uses the system's libsqlite3, as Debian's does.
The structs are those of sqlite3.h: https://sqlite.org/c3ref/vfs.html, https://sqlite.org/c3ref/io_methods.html
"""

import ctypes
import os
import time
from collections.abc import Callable

POINTER = ctypes.c_void_p
OPEN = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, POINTER, POINTER, ctypes.c_int, POINTER)
SYNC = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, ctypes.c_int)


class Vfs(ctypes.Structure):
    """The head of sqlite3_vfs; what follows xOpen is copied as it is."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", POINTER),
        ("zName", ctypes.c_char_p),
        ("pAppData", POINTER),
        ("xOpen", OPEN),
        ("rest", POINTER * 15),
    )


class IoMethods(ctypes.Structure):
    """The table of sqlite3_file: after the version xClose, xRead, xWrite, xTruncate, xSync and the rest."""

    _fields_ = (("iVersion", ctypes.c_int), ("before", POINTER * 4), ("xSync", SYNC), ("rest", POINTER * 13))


def install() -> list[object]:
    """Make the slow VFS the default one; return what must live as long as the process."""
    sqlite = ctypes.CDLL("libsqlite3.so.0")
    sqlite.sqlite3_vfs_find.restype = ctypes.POINTER(Vfs)
    usual = sqlite.sqlite3_vfs_find(None).contents
    slow = Vfs.from_buffer_copy(usual)
    kept: list[object] = [slow]

    def open_file(vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        result: int = usual.xOpen(vfs, name, file, flags, out)  # SQLite keeps the very pointer `name`
        if result == 0 and name is not None:
            methods_of = POINTER.from_address(file)
            methods = IoMethods.from_buffer_copy(before := IoMethods.from_address(methods_of.value or 0))
            methods.xSync = SYNC(_slowly(before.xSync, os.path.basename(ctypes.string_at(name)).decode()))
            methods_of.value = ctypes.addressof(methods)
            kept.append(methods)
        return result

    slow.xOpen = OPEN(open_file)
    slow.zName = b"slow"
    sqlite.sqlite3_vfs_register(ctypes.byref(slow), 1)
    return kept


def _slowly(sync: Callable[[int, int], int], name: str) -> Callable[[int, int], int]:
    def slow_sync(file: int, flags: int) -> int:
        _note("begin", name)
        time.sleep(int(os.environ.get("SLOW_FSYNC_MS", "0")) / 1000)
        while os.path.exists(os.environ.get("SLOW_FSYNC_HOLD", "")):
            time.sleep(0.001)
        result: int = sync(file, flags)
        _note("end", name)
        return result

    return slow_sync


def _note(what: str, name: str) -> None:
    log = os.open(os.environ["SLOW_FSYNC_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.write(log, f"{what} {name} {time.monotonic_ns()}\n".encode())
    os.close(log)


KEPT = install()
