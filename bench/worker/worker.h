/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker's client and server have in common. The worker itself: main.c. */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include <netinet/in.h>
#include <stdint.h>

enum { SERVER_PORT = 8080, PATIENCE_S = 10 };

/* The operation that is measured repeatedly. */
struct operation {
	const char *name;
	int a_turn; /* how many are measured per turn: 4 to 12 ms of them */
	int connected; /* over one TCP connection that exists as long as the client */
	int floods; /* datagrams without answers */
	uint64_t (*run)(void);
};
const struct operation *find_operation(const char *name);

/* The path that it is measured over. `to` is the address that the client connects to. */
struct path {
	int client_ns, server_ns;
	const char *client_cgroup, *server_cgroup;
	struct sockaddr_in to;
	int client_turn[2], server_turn[2], done[2];
};

extern volatile int *active; /* the path whose turn it is; -1: none */

_Noreturn void measure(const struct path *path, const struct operation *operation, int cycles, uint32_t *figures);
_Noreturn void serve(const struct path *path, const struct operation *operation, int me);

_Noreturn void die(const char *what);
void tell(int pipe);

#endif
