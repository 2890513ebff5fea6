/* SPDX-License-Identifier: Apache-2.0
 *
 * What lets a distribution's libbpf.a and libelf.a, compiled for executables, be linked into a shared object (their
 * sources cannot be fetched when the package is built). Two of their references have no meaning in one:
 *
 * - libelf's error state is a thread-local variable with local-exec TLS (elf_error.o). The same three functions are
 *   defined here, so that the linker does not take that object out of the archive.
 * - libbpf's default printer reaches libc's stderr relative to the instruction pointer. This hidden variable of the
 *   same name, set when the library is loaded, is near enough.
 */
#include <dlfcn.h>

#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN void *stderr;

__attribute__((constructor)) static void find_stderr(void) {
    void **of_libc = dlsym(RTLD_DEFAULT, "stderr");
    if (of_libc)
        stderr = *of_libc;
}

static __thread int last_error;

HIDDEN void __libelf_seterrno(int value);
HIDDEN int elf_errno(void);
HIDDEN const char *elf_errmsg(int error);

void __libelf_seterrno(int value) { last_error = value; }

int elf_errno(void) {
    int error = last_error;
    last_error = 0;
    return error;
}

const char *elf_errmsg(int error) { return error == 0 && last_error == 0 ? 0 : "malformed ELF file"; }
