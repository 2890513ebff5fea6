/* getppid COUNT: wait for SIGUSR1, make COUNT calls of getppid, end. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    long count = argc > 1 ? atol(argv[1]) : 0;
    sigset_t go;
    int number;

    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    sigprocmask(SIG_BLOCK, &go, NULL);
    sigwait(&go, &number);
    while (count-- > 0)
        syscall(SYS_getppid);
    return 0;
}
