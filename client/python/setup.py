"""The native part is made where there is a C compiler with Python's headers; a pure package is, where there is none.

``BOXTRACE_PURE=1`` makes the package pure anywhere, ``BOXTRACE_PURE=0`` fails rather than do that. The C client lies
beside this directory, and in ``c`` in a source distribution.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup

SOURCES = ["c/boxtrace.c", "c/boxtrace_contexts.c"]
HEADER = "c/boxtrace.h"
HERE = Path(__file__).resolve().parent

native = Extension(
    "boxtrace_client._native",
    sources=["src/boxtrace_client/native.c", *SOURCES],
    include_dirs=["c"],
    depends=[HEADER],
    extra_compile_args=[
        "-std=c11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror=implicit-function-declaration",
        "-fvisibility=hidden",
    ],
    extra_link_args=["-Wl,-z,nodelete"],
)


def can_compile() -> bool:
    """Tell whether an extension can be made here."""
    from distutils.ccompiler import new_compiler
    from distutils.sysconfig import customize_compiler, get_python_inc

    compiler = new_compiler()
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "probe.c")
        source.write_text("#include <Python.h>\n#include <sys/eventfd.h>\nint probe;\n")
        try:
            objects = compiler.compile([str(source)], output_dir=directory, include_dirs=[get_python_inc()])
            compiler.link_shared_object(objects, str(Path(directory, "probe.so")))
        except Exception as error:  # distutils has one for each step, and another one for a missing compiler
            print(f"boxtrace-client: without its compiled part: {error}", file=sys.stderr)
            return False
    return True


if not (HERE / "PKG-INFO").exists():
    (HERE / "c").mkdir(exist_ok=True)
    for name in [*SOURCES, HEADER]:
        shutil.copy2(HERE.parent / name, HERE / name)
wanted = os.environ.get("BOXTRACE_PURE")
setup(ext_modules=[native] if wanted == "0" or (wanted != "1" and can_compile()) else [])
