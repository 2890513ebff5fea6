/*
 * Changes what a task is, one step after the other. Each step is marked by close(0x7000 + STEP) of a descriptor that is
 * not open; then "STEP TGID/task/TID" (numbers of the /proc that it was started in) is printed, and one byte is read.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static int proc = -1;
static char self_path[4096];

static void step(int number) {
    char who[64] = "", byte;
    ssize_t length = readlinkat(proc, "thread-self", who, sizeof(who) - 1);

    if (length < 0)
        strcpy(who, "?");
    syscall(SYS_close, 0x7000 + number);
    dprintf(1, "%d %s\n", number, who);
    if (read(0, &byte, 1) != 1)
        _exit(3);
}

static void must(int result, const char *what) {
    if (result < 0) {
        dprintf(1, "failed %s\n", what);
        _exit(2);
    }
}

static const struct {
    const char *name;
    int flag;
} kinds[] = {{"uts", CLONE_NEWUTS},   {"ipc", CLONE_NEWIPC}, {"net", CLONE_NEWNET},   {"cgroup", CLONE_NEWCGROUP},
             {"mnt", CLONE_NEWNS},    {"pid", CLONE_NEWPID}, {"time", CLONE_NEWTIME}};

static void unshare_and_return(void) {
    int before[7];

    for (int i = 0; i < 7; i++) {
        char path[64];

        snprintf(path, sizeof(path), "self/ns/%s", kinds[i].name);
        must(before[i] = openat(proc, path, O_RDONLY | O_CLOEXEC), path);
        must(unshare(kinds[i].flag), kinds[i].name);
        step(10 + i);
    }
    for (int i = 0; i < 7; i++) {
        must(setns(before[i], kinds[i].flag), kinds[i].name);
        step(20 + i);
    }
    for (int i = 0; i < 7; i++) { /* two changes between two events */
        must(unshare(kinds[i].flag), kinds[i].name);
        must(unshare(CLONE_NEWUTS), "uts");
    }
    step(27);
    for (int i = 0; i < 7; i++)
        must(setns(before[i], kinds[i].flag), kinds[i].name);
}

static void child(void (*run)(void)) {
    pid_t pid = fork();

    must(pid, "fork");
    if (pid == 0) {
        run();
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void innermost(void) { step(33); }

static void inner(void) {
    step(31);
    must(unshare(CLONE_NEWPID), "pid");
    step(32);
    child(innermost);
}

static void *thread(void *unused) {
    step(41);
    prctl(PR_SET_NAME, "thread-name");
    step(42);
    must(unshare(CLONE_NEWUTS), "uts of a thread");
    step(43);
    return unused;
}

static void threads(void) {
    pthread_t id;

    step(40);
    pthread_create(&id, NULL, thread, NULL);
    pthread_join(id, NULL);
    step(44); /* the other thread's name and namespace are its own */
}

static void nested(void) {
    must(unshare(CLONE_NEWPID), "pid");
    step(30);
    child(inner);
}

static void nested_threads(void) {
    must(unshare(CLONE_NEWPID), "pid");
    child(threads);
}

static void put(const char *path, const char *text) {
    int file = openat(proc, path, O_WRONLY);

    must(file, path);
    must(write(file, text, strlen(text)), path);
    close(file);
}

static void user(void) {
    must(unshare(CLONE_NEWUSER), "user");
    put("self/setgroups", "deny");
    put("self/uid_map", "0 0 1");
    put("self/gid_map", "0 0 1");
    step(50);
    must(unshare(CLONE_NEWUSER | CLONE_NEWNET), "user and net");
    step(51);
}

static void orphan(void) {
    int gate[2];
    pid_t parent;

    must(pipe(gate), "pipe");
    parent = fork();
    if (parent == 0) {
        pid_t pid = fork();
        char byte;

        if (pid)
            _exit(0);
        close(gate[1]);
        read(gate[0], &byte, 1); /* until the first child, our parent, has ended */
        step(61);
        _exit(0);
    }
    waitpid(parent, NULL, 0);
    step(60);
    close(gate[1]);
    wait(NULL);
}

static void *execer(void *unused) {
    char *arguments[] = {self_path, "71", NULL};

    step(70);
    execv(self_path, arguments);
    return unused;
}

static void exec_from_thread(void) {
    pthread_t id;

    pthread_create(&id, NULL, execer, NULL);
    for (;;)
        pause();
}

int main(int argc, char **argv) {
    must(proc = open("/proc", O_RDONLY | O_DIRECTORY), "/proc");
    must(readlink("/proc/self/exe", self_path, sizeof(self_path) - 1), "exe");
    if (argc > 1) {
        step(atoi(argv[1]));
        return 0;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    step(1);
    prctl(PR_SET_NAME, "fifteen-letters-and-more");
    step(2);
    unshare_and_return();
    child(nested);
    child(nested_threads);
    child(user);
    orphan();
    child(exec_from_thread);
    return 0;
}
