"""Sizes of the C types that occur in the declarations of system calls."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Abi", "CInteger", "c_integer"]


class Abi(StrEnum):
    """A set of system calls: of a machine, or of the 32-bit programs that a 64-bit kernel also runs."""

    X86_64 = "x86_64"
    I386 = "i386"
    AARCH64 = "aarch64"
    ARM = "arm"

    @property
    def word(self) -> int:
        """Size of a register, ``long`` and pointer, in bytes."""
        return 8 if self in (Abi.X86_64, Abi.AARCH64) else 4

    @property
    def compat(self) -> Abi:
        """The ABI of the 32-bit programs that a kernel of this machine runs."""
        return Abi.I386 if self in (Abi.X86_64, Abi.I386) else Abi.ARM


@dataclass(frozen=True, slots=True)
class CInteger:
    """How an integer, or an address, is passed.

    :param size: in bytes: 1, 2, 4 or 8.
    :param signed: whether it can be negative.
    :param pointer: whether it is an address.
    """

    size: int
    signed: bool
    pointer: bool = False


def _fixed(bits_signed: dict[str, str]) -> dict[str, CInteger]:
    return {
        name: CInteger(int(kind[1:]) // 8, kind[0] == "i")
        for kind, names in bits_signed.items()
        for name in names.split(",")
    }


# include/uapi/asm-generic/posix_types.h, include/linux/types.h; multiword names are normalised by c_integer().
_FIXED = _fixed(
    {
        "i8": "char,signed char,s8,__s8,int8_t",
        "u8": "unsigned char,u8,__u8,uint8_t,bool,_Bool",
        "i16": "short,s16,__s16,int16_t",
        "u16": "unsigned short,u16,__u16,uint16_t,umode_t,old_uid_t,old_gid_t,compat_mode_t",
        "i32": "int,s32,__s32,int32_t,pid_t,__kernel_pid_t,key_t,clockid_t,timer_t,mqd_t,rwf_t,key_serial_t,"
        "old_time32_t,compat_pid_t,compat_long_t,compat_off_t,compat_ssize_t,compat_int_t",
        "u32": "unsigned,u32,__u32,uint32_t,uid_t,gid_t,qid_t,dev_t,compat_ulong_t,compat_size_t,compat_uint_t,"
        "compat_uptr_t,compat_aio_context_t,compat_old_sigset_t",
        "i64": "long long,s64,__s64,int64_t,loff_t,time64_t,compat_loff_t,compat_s64",
        "u64": "unsigned long long,u64,__u64,uint64_t,compat_u64",
    }
)
_WORD_SIGNED = frozenset({"long", "ssize_t", "off_t", "__kernel_old_time_t", "time_t", "ptrdiff_t", "intptr_t"})
_WORD_UNSIGNED = frozenset({"unsigned long", "size_t", "aio_context_t", "old_sigset_t", "uintptr_t"})
_POINTERS = frozenset({"cap_user_header_t", "cap_user_data_t", "__sighandler_t"})
_QUALIFIERS = re.compile(r"\b(?:const|volatile|__user|restrict)\b")


def _normal(c_type: str) -> str:
    words = _QUALIFIERS.sub(" ", c_type).split()
    if "unsigned" in words:
        words = ["unsigned", *(word for word in words if word not in ("unsigned", "int"))]
    elif len(words) > 1 and "int" in words:
        words = [word for word in words if word not in ("int", "signed")]
    return " ".join(words)


def c_integer(c_type: str, abi: Abi) -> CInteger:
    """Return how a C type is passed to a system call of an ABI.

    What is not known here (a typedef that a newer kernel brings) is taken for an unsigned word of the ABI: nothing of
    its value can be lost so.
    """
    name = _normal(c_type)
    if name.endswith(("*", "]")) or name in _POINTERS:
        return CInteger(abi.word, signed=False, pointer=True)
    if name in _FIXED:
        return _FIXED[name]
    if name.startswith("enum "):
        return CInteger(4, signed=False)
    return CInteger(abi.word, signed=name in _WORD_SIGNED)
