"""Runs BPF functions on the running kernel by bpf(2), without libbpf: what the tests believe is the kernel's word."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from types import TracebackType
from typing import Self

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
MAP_CREATE, MAP_UPDATE, PROG_LOAD, TEST_RUN = 0, 2, 5, 10
ARRAY, DEVMAP, SOCKET_FILTER = 2, 14, 1
LOOPBACK = 1
"""Number of the network device ``lo``."""
LOOKUP_HELPER = 1

libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attributes, 144)
    result = libc.syscall(SYS_BPF[os.uname().machine], command, buffer, ctypes.c_uint(len(buffer)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result, buffer.raw


def _insn(opcode: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, dst | src << 4, offset, imm)


def allocate_amid_bpf(times: int) -> None:
    """Let the kernel allocate memory (``kmem:kmalloc``) amid bpf(2): it skips the programs of tracepoints then.

    Each entry of a map of devices is allocated when it is written (kernel/bpf/devmap.c, __dev_map_alloc_node), and
    while a map is changed no program runs on that CPU (bpf_disable_instrumentation).
    """
    table, _ = _bpf(MAP_CREATE, struct.pack("<IIII", DEVMAP, 4, 4, 1))
    key, value = ctypes.create_string_buffer(bytes(4)), ctypes.create_string_buffer(struct.pack("<I", LOOPBACK))
    attributes = struct.pack("<IxxxxQQQ", table, ctypes.addressof(key), ctypes.addressof(value), 0)
    for _ in range(times):
        _bpf(MAP_UPDATE, attributes)
    os.close(table)


class Function:
    """A loaded function of two pointers, into one map value of ``size`` bytes that the second begins within.

    :raises OSError: if the kernel refuses it, with its reasons as text.
    """

    def __init__(self, body: bytes, size: int, second: int) -> None:
        self._size = size
        self._map, _ = _bpf(MAP_CREATE, struct.pack("<IIII", ARRAY, 4, size, 1))
        program = b"".join(
            [
                _insn(0x62, 10, offset=-4),  # *(u32 *)(r10 - 4) = 0
                _insn(0xBF, 2, 10),
                _insn(0x07, 2, imm=-4),
                _insn(0x18, 1, 1, imm=self._map) + _insn(0),
                _insn(0x85, imm=LOOKUP_HELPER),
                _insn(0x55, 0, offset=1),  # if r0 != 0 goto +1
                _insn(0x95),
                _insn(0xBF, 1, 0),
                _insn(0xBF, 2, 0),
                _insn(0x07, 2, imm=second),
                _insn(0x85, src=1, imm=1),  # call the body
                _insn(0x95),
                body,
            ]
        )
        code = ctypes.create_string_buffer(program)
        licence = ctypes.create_string_buffer(b"GPL")
        log = ctypes.create_string_buffer(1 << 16)
        attributes = struct.pack(
            "<IIQQIIQ", SOCKET_FILTER, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0
        )
        try:
            self._program, _ = _bpf(PROG_LOAD, attributes)
        except OSError as error:
            os.close(self._map)
            raise OSError(error.errno, _reasons(program, code, licence, log)) from error

    def __call__(self, memory: bytes) -> int:
        """Run it on a block of memory; return what it returned."""
        assert len(memory) == self._size
        key = ctypes.create_string_buffer(4)
        value = ctypes.create_string_buffer(memory, self._size)
        _bpf(MAP_UPDATE, struct.pack("<IxxxxQQQ", self._map, ctypes.addressof(key), ctypes.addressof(value), 0))
        packet = ctypes.create_string_buffer(64)
        _, after = _bpf(TEST_RUN, struct.pack("<IIIIQQ", self._program, 0, 64, 0, ctypes.addressof(packet), 0))
        result: int = struct.unpack_from("<I", after, 4)[0]
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._program)
        os.close(self._map)


def _reasons(program: bytes, code: ctypes.Array, licence: ctypes.Array, log: ctypes.Array) -> str:
    attributes = struct.pack(
        "<IIQQIIQ",
        SOCKET_FILTER,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        1,
        len(log),
        ctypes.addressof(log),
    )
    with contextlib.suppress(OSError):
        os.close(_bpf(PROG_LOAD, attributes)[0])
    return log.value.decode()
