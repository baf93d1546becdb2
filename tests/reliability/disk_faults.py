"""Faults beneath SQLite, in this process and what it forks: its n-th system call of a kind fails.

SQLite takes its system calls from a table that may be changed for tests (`xSetSystemCall`); the page checksums lie
above. `fsync` is not in that table, so the kernel is asked to refuse it (seccomp), from a chosen write on.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

import apsw

_POINTER, _SIZE, _OFFSET, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "pwrite64": (ctypes.c_ssize_t, _INT, _POINTER, _SIZE, _OFFSET),
    "pread64": (ctypes.c_ssize_t, _INT, _POINTER, _SIZE, _OFFSET),
    "ftruncate": (_INT, _INT, _OFFSET),
    "open": (_INT, ctypes.c_char_p, _INT, _INT),
    "unlink": (_INT, ctypes.c_char_p),
}
CALLS = tuple(_SIGNATURES)


class Counter:
    """Make the n-th call of one kind fail, and every later one if `lasting`. Cannot be undone, so fork first."""

    def __init__(self, call: str, number: int, error: int, *, lasting: bool = False) -> None:
        self.seen = 0
        self._number, self._error, self._lasting = number, error, lasting
        self._install(call, self._fail)

    def _fail(self) -> bool:
        ctypes.set_errno(self._error)
        return True

    def _install(self, call: str, at: Callable[[], bool]) -> None:
        kind = ctypes.CFUNCTYPE(*_SIGNATURES[call], use_errno=True)
        vfs = apsw.VFS(f"faulty-{call}", "unix", maxpathname=0)
        original = kind(vfs.xGetSystemCall(call))

        def replaced(*arguments: Any) -> int:
            self.seen += 1
            struck = self.seen >= self._number if self._lasting else self.seen == self._number
            if struck and at():
                return -1
            result: int = original(*arguments)
            return result

        self._kept = (vfs, original, kind(replaced))  # or they are collected while SQLite still calls them
        assert vfs.xSetSystemCall(call, ctypes.cast(self._kept[2], ctypes.c_void_p).value)


class FailingSyncs(Counter):
    """From the n-th write on, every fsync of the process fails with EIO, in SQLite and in our code."""

    def __init__(self, number: int) -> None:
        self._refused = False
        super().__init__("pwrite64", number, errno.EIO)

    def _fail(self) -> bool:
        refuse_syncs(errno.EIO)
        return False


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


_SYNCS = {"x86_64": (74, 75), "aarch64": (82, 83)}
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def can_refuse_syncs() -> bool:
    return os.uname().sysname == "Linux" and os.uname().machine in _SYNCS


def refuse_syncs(error: int) -> None:
    """Make fsync and fdatasync fail until this process ends."""
    first, second = _SYNCS[os.uname().machine]
    filter = (_Instruction * 5)(
        _Instruction(_LOAD, 0, 0, 0),
        _Instruction(_JUMP_EQUAL, 2, 0, first),
        _Instruction(_JUMP_EQUAL, 1, 0, second),
        _Instruction(_RETURN, 0, 0, _ALLOW),
        _Instruction(_RETURN, 0, 0, _ERRNO | error),
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(
        _SECCOMP, _FILTER, ctypes.byref(_Program(5, filter)), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter")
