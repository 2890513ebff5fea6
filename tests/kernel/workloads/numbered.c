/* Closes descriptors that are not open, each with the next number from 1000000 on, until it is killed. */
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
    for (int number = 1000000;; number = number < 2000000000 ? number + 1 : 1000000)
        syscall(SYS_close, number);
}
