/*
 * sched TURNS: a child of nice 5 on CPU 1 and its parent on CPU 0 wake each other TURNS times through pipes; then a
 * thread is made, a program is run, and the child is waited for. Prints the host's numbers of who took part.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void go_to(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static void *thread(void *unused) {
    prctl(PR_SET_NAME, "a-thread");
    printf("thread %ld\n", syscall(SYS_gettid));
    fflush(stdout);
    return unused;
}

int main(int argc, char **argv) {
    int turns = atoi(argv[1]), there[2], back[2];
    char byte = 0;
    pthread_t id;
    pid_t child;

    go_to(0);
    if (pipe(there) || pipe(back))
        return 1;
    child = fork();
    if (child == 0) {
        prctl(PR_SET_NAME, "the-child");
        setpriority(PRIO_PROCESS, 0, 5);
        go_to(1);
        while (turns-- > 0)
            if (read(there[0], &byte, 1) != 1 || write(back[1], &byte, 1) != 1)
                return 1;
        execl("/bin/true", "true", NULL);
        return 1;
    }
    printf("parent %d\nchild %d\n", getpid(), child);
    fflush(stdout);
    while (turns-- > 0)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            return 1;
    waitpid(child, NULL, 0);
    pthread_create(&id, NULL, thread, NULL);
    pthread_join(id, NULL);
    return 0;
}
