/* SPDX-License-Identifier: Apache-2.0 */
/* Nanoseconds of one socket operation over several paths, one path at a time.
 *
 *     worker OPERATION CYCLES CLIENT_NETNS:SERVER_NETNS:CLIENT_CGROUP:SERVER_CGROUP:ADDRESS:PORT...
 *
 * The namespaces are descriptors that the caller has open. Each path has a client on the first CPU and a server on the
 * last one, each in its cgroup. The paths take turns, in a new random order in every cycle, so that whatever is slower
 * than a cycle (a noisy neighbour, the clock of the CPU) affects all of them alike. Client and server spin during their
 * turn, so that no figure includes a wake-up, and run SCHED_FIFO, which keeps other tenants out of it; between the
 * turns they sleep and let other tenants run.
 *
 * Written to stdout: uint32_t nanoseconds[path][cycle][operation].
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

enum { PAUSE_US = 3000, REALTIME = 10, MAX_PATHS = 32 };

volatile int *active;
static pid_t children[2 * MAX_PATHS];
static int born;

_Noreturn void die(const char *what)
{
	fprintf(stderr, "worker: %s: %s\n", what, strerror(errno));
	exit(1);
}

void tell(int pipe)
{
	if (write(pipe, "x", 1) != 1)
		die("pipe");
}

static void child_ended(int number)
{
	(void)number;
	_exit(1); /* none ends early, unless it failed and said why */
}

/* Fork; return whether this is the child. */
static int bear(void)
{
	pid_t child = fork();

	if (child > 0)
		children[born++] = child;
	return !child;
}

/* Wait until they are gone, because the next run uses their ports. */
static void end_children(void)
{
	signal(SIGCHLD, SIG_DFL);
	while (born)
		kill(children[--born], SIGKILL);
	while (wait(NULL) > 0)
		;
}

/* The cgroup first, then the namespace: the cgroup's path is the machine's. */
static void enter(const char *cgroup, int netns, int cpu)
{
	char path[512];
	cpu_set_t cpus;
	int file;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	file = open(path, O_WRONLY);
	if (file < 0 || write(file, "0", 1) != 1)
		die(path);
	close(file);
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (setns(netns, CLONE_NEWNET) || sched_setaffinity(0, sizeof(cpus), &cpus) ||
	    mlockall(MCL_CURRENT | MCL_FUTURE))
		die("enter the namespace, pin to a CPU, lock the memory");
}

static void wait_for(const struct path *path)
{
	struct pollfd done = { path->done[0], POLLIN, 0 };
	char byte;

	errno = ETIME;
	if (poll(&done, 1, 2 * PATIENCE_S * 1000) != 1 || read(path->done[0], &byte, 1) != 1)
		die("a client or a server does not answer");
}

static void start(struct path *path, const struct operation *operation, int me, int cycles, uint32_t *figures)
{
	if (pipe2(path->client_turn, O_CLOEXEC) || pipe2(path->server_turn, O_CLOEXEC) || pipe2(path->done, O_CLOEXEC))
		die("pipe");
	if (bear()) {
		enter(path->server_cgroup, path->server_ns, get_nprocs() - 1);
		serve(path, operation, me);
	}
	wait_for(path);
	*active = me; /* the client may connect while it starts */
	tell(path->server_turn[1]);
	if (bear()) {
		enter(path->client_cgroup, path->client_ns, 0);
		measure(path, operation, cycles, figures);
	}
	wait_for(path);
	*active = -1;
}

static void turn(const struct path *path, int me)
{
	*active = me;
	tell(path->server_turn[1]);
	tell(path->client_turn[1]);
	wait_for(path);
	*active = -1;
	usleep(PAUSE_US);
}

static void shuffle(int *order, int count)
{
	for (int i = count - 1; i > 0; i--) {
		int j = rand() % (i + 1), moved = order[i];

		order[i] = order[j];
		order[j] = moved;
	}
}

static struct path parse(char *text)
{
	struct path path = { .to.sin_family = AF_INET };

	path.client_ns = atoi(strsep(&text, ":"));
	path.server_ns = atoi(strsep(&text, ":"));
	path.client_cgroup = strsep(&text, ":");
	path.server_cgroup = strsep(&text, ":");
	if (inet_pton(AF_INET, strsep(&text, ":"), &path.to.sin_addr) != 1)
		die("address");
	path.to.sin_port = htons(atoi(text));
	return path;
}

static void *shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

/* Inherited by clients and servers. */
static void become_realtime(int priority)
{
	if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ priority }))
		fprintf(stderr, "worker: no SCHED_FIFO here (%s): other tenants are in the figures\n", strerror(errno));
}

int main(int argc, char **argv)
{
	const struct operation *operation = argc > 3 ? find_operation(argv[1]) : NULL;
	int count = argc - 3, cycles = operation ? atoi(argv[2]) : 0, order[MAX_PATHS];
	struct path paths[MAX_PATHS];
	uint32_t *figures;
	size_t each;

	if (cycles < 1 || count > MAX_PATHS)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, child_ended);
	each = (size_t)cycles * operation->a_turn;
	figures = shared(count * each * sizeof(*figures));
	active = shared(sizeof(*active));
	become_realtime(REALTIME);
	for (int i = 0; i < count; i++) {
		order[i] = i;
		paths[i] = parse(argv[3 + i]);
		start(&paths[i], operation, i, cycles, figures + i * each);
	}
	become_realtime(REALTIME + 1);
	srand(time(NULL));
	for (int cycle = 0; cycle < cycles; cycle++) {
		shuffle(order, count);
		for (int i = 0; i < count; i++)
			turn(&paths[order[i]], order[i]);
	}
	end_children();
	return fwrite(figures, sizeof(*figures), count * each, stdout) == count * each && !fflush(stdout) ? 0 : 1;
}
