/* SPDX-License-Identifier: Apache-2.0 */
/* System calls whose arguments and results are the same each time, between two getpgid(-20260101). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void mark(void) { syscall(SYS_getpgid, -20260101); }

static void files(void)
{
	struct iovec parts[2] = {{"abc", 3}, {"defg", 4}};
	struct stat status;
	char buffer[16];
	int file;

	syscall(SYS_openat, AT_FDCWD, "/nowhere/at/all", O_RDONLY | O_CLOEXEC, 0);
	file = syscall(SYS_openat, AT_FDCWD, "/tmp/scripted", O_RDWR | O_CREAT | O_TRUNC, 0640);
	syscall(SYS_write, file, "hello", 5);
	syscall(SYS_writev, file, parts, 2);
	syscall(SYS_lseek, file, 1, SEEK_SET);
	syscall(SYS_read, file, buffer, sizeof(buffer));
	syscall(SYS_pread64, file, buffer, 4, 2);
	syscall(SYS_newfstatat, file, "", &status, AT_EMPTY_PATH);
	syscall(SYS_fcntl, file, F_GETFL, 0);
	syscall(SYS_ftruncate, file, 3);
	syscall(SYS_dup2, file, 40);
	syscall(SYS_close, 40);
	syscall(SYS_close, file);
	syscall(SYS_close, 77);
	syscall(SYS_rename, "/tmp/scripted", "/tmp/renamed");
	syscall(SYS_chmod, "/tmp/renamed", 0600);
	syscall(SYS_symlink, "/tmp/renamed", "/tmp/link");
	syscall(SYS_readlink, "/tmp/link", buffer, sizeof(buffer));
	syscall(SYS_unlink, "/tmp/link");
	syscall(SYS_unlink, "/tmp/renamed");
	syscall(SYS_mkdir, "/tmp/made", 0700);
	syscall(SYS_rmdir, "/tmp/made");
	syscall(SYS_access, "/etc/passwd", R_OK);
}

static void waiting(void)
{
	struct timespec moment = {0, 1000};
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 7};
	struct timeval none = {0, 0};
	struct pollfd polled;
	int pipes[2], epoll;
	fd_set set;

	syscall(SYS_pipe2, pipes, O_CLOEXEC);
	syscall(SYS_write, pipes[1], "x", 1);
	polled = (struct pollfd){.fd = pipes[0], .events = POLLIN | POLLPRI};
	syscall(SYS_poll, &polled, 1, 0);
	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	syscall(SYS_select, pipes[0] + 1, &set, NULL, NULL, &none);
	epoll = syscall(SYS_epoll_create1, 0);
	syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, pipes[0], &event);
	syscall(SYS_epoll_wait, epoll, &event, 1, 0);
	syscall(SYS_nanosleep, &moment, NULL);
	syscall(SYS_close, epoll);
	syscall(SYS_close, pipes[0]);
	syscall(SYS_close, pipes[1]);
}

static void sockets(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/tmp/no-socket"};
	char buffer[8];
	int pair[2], udp;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	syscall(SYS_sendto, pair[0], "four", 4, 0, NULL, 0);
	syscall(SYS_recvfrom, pair[1], buffer, sizeof(buffer), 0, NULL, NULL);
	syscall(SYS_connect, pair[0], &path, sizeof(path));
	udp = syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);
	syscall(SYS_bind, udp, &address, sizeof(address));
	syscall(SYS_sendto, udp, "datagram", 8, 0, &address, sizeof(address));
	syscall(SYS_shutdown, udp, SHUT_RDWR);
	syscall(SYS_close, udp);
	syscall(SYS_close, pair[0]);
	syscall(SYS_close, pair[1]);
}

static void processes(void)
{
	void *memory = (void *)syscall(SYS_mmap, 0x500000000000, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status;

	syscall(SYS_mprotect, memory, 4096, PROT_READ | PROT_WRITE);
	syscall(SYS_munmap, memory, 8192);
	syscall(SYS_prctl, PR_SET_NAME, "renamed", 0, 0, 0);
	syscall(SYS_getuid);
	syscall(SYS_setpgid, 0, 0);
	syscall(SYS_kill, 0, 0);
	syscall(SYS_umask, 022);
	if (fork() == 0) {
		syscall(SYS_execve, "/nowhere", NULL, NULL);
		_exit(3);
	}
	wait4(-1, &status, 0, NULL);
	syscall(400000, 1, 2, 3, 4, 5, 6);
}

int main(void)
{
	mark();
	files();
	waiting();
	sockets();
	processes();
	mark();
	return 0;
}
