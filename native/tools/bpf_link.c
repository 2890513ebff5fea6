/* SPDX-License-Identifier: Apache-2.0
 * Build tool: links BPF object files into one (libbpf's static linker): bpf_link OUTPUT INPUT...
 */
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    struct bpf_linker *linker = argc > 2 ? bpf_linker__new(argv[1], NULL) : NULL;

    if (!linker) {
        fprintf(stderr, "usage: bpf_link OUTPUT INPUT...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        int error = bpf_linker__add_file(linker, argv[i], NULL);

        if (error) {
            fprintf(stderr, "bpf_link: %s: %s\n", argv[i], strerror(-error));
            return 1;
        }
    }
    if (bpf_linker__finalize(linker)) {
        fprintf(stderr, "bpf_link: cannot write %s\n", argv[1]);
        return 1;
    }
    bpf_linker__free(linker);
    return 0;
}
