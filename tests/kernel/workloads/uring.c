/*
 * Submits as many no-operations to an io_uring as its argument says, one by one; their user_data count from 1. With a
 * second argument, threads that the kernel makes for that carry them out.
 */
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct io_uring_params params = {0};
    int count = argc > 1 ? atoi(argv[1]) : 1, fd = syscall(__NR_io_uring_setup, 8, &params);

    if (fd < 0)
        return 77;
    char *ring = mmap(NULL, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                      IORING_OFF_SQ_RING);
    struct io_uring_sqe *entries =
        mmap(NULL, params.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    uint32_t *tail = (uint32_t *)(ring + params.sq_off.tail), *array = (uint32_t *)(ring + params.sq_off.array);

    for (int i = 0; i < count; i++) {
        uint32_t index = *tail % params.sq_entries;

        entries[index] = (struct io_uring_sqe){
            .opcode = IORING_OP_NOP, .flags = argc > 2 ? IOSQE_ASYNC : 0, .user_data = i + 1};
        array[index] = index;
        __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
        if (syscall(__NR_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
            return 1;
    }
    return 0;
}
