/* SPDX-License-Identifier: Apache-2.0 */
/* The operations, timed, and the client that repeats them. An answer from another address than the requested one ends
 * the run: a figure from a wrong answer is worthless.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

enum { A_BURST = 32, DATAGRAM = 64 };
enum { WARM_UP = 20 }; /* operations at the beginning of a turn that are not counted: they fill the caches */

static struct sockaddr_in to;
static int connection, datagrams;

static inline uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void must_be_asked(const struct sockaddr_in *from)
{
	if (from->sin_addr.s_addr == to.sin_addr.s_addr && from->sin_port == to.sin_port)
		return;
	errno = EPROTO;
	die("another address than was asked for");
}

/* Closed by RST, so that no port is left in TIME_WAIT. */
static int tcp_socket(void)
{
	int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
	struct linger at_once = { 1, 0 };

	setsockopt(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return s;
}

static void spin_for_answer(int s, struct sockaddr_in *from)
{
	uint64_t limit = now() + PATIENCE_S * 1000000000ull;
	socklen_t length = sizeof(*from);
	char byte;

	while (recvfrom(s, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)from, from ? &length : NULL) != 1)
		if (errno != EAGAIN || now() > limit)
			die("no answer");
}

static uint64_t tcp_connect(void)
{
	int s = tcp_socket();
	uint64_t begun = now(), ended;

	if (connect(s, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	ended = now();
	close(s);
	return ended - begun;
}

static uint64_t tcp_exchange(void)
{
	uint64_t begun = now();

	if (send(connection, "?", 1, MSG_NOSIGNAL) != 1)
		die("send");
	spin_for_answer(connection, NULL);
	return now() - begun;
}

static void ask(int s, struct sockaddr_in *from)
{
	if (sendto(s, "?", 1, 0, (struct sockaddr *)&to, sizeof(to)) != 1)
		die("sendto");
	spin_for_answer(s, from);
}

static uint64_t udp_fresh(void)
{
	struct sockaddr_in from;
	uint64_t begun = now(), ended;
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	ask(s, &from);
	close(s);
	ended = now();
	must_be_asked(&from);
	return ended - begun;
}

static uint64_t udp_same(void)
{
	struct sockaddr_in from;
	uint64_t begun = now(), ended;

	ask(datagrams, &from);
	ended = now();
	must_be_asked(&from);
	return ended - begun;
}

static uint64_t peer_name(void)
{
	struct sockaddr_in peer = { 0 };
	socklen_t length = sizeof(peer);
	uint64_t begun = now(), ended;

	getpeername(connection, (struct sockaddr *)&peer, &length);
	ended = now();
	must_be_asked(&peer);
	return ended - begun;
}

/* Over veths, the sender's CPU does all the work up to the receiver's queue: the time is the cost of the path. */
static uint64_t udp_burst(void)
{
	static const char datagram[DATAGRAM];
	uint64_t begun = now();

	for (int i = 0; i < A_BURST; i++)
		if (send(datagrams, datagram, sizeof(datagram), 0) != sizeof(datagram))
			die("send");
	return now() - begun;
}

static const struct operation operations[] = {
	{ "tcp-connect", 200, 0, 0, tcp_connect },
	{ "tcp-exchange", 300, 1, 0, tcp_exchange },
	{ "udp-fresh", 150, 0, 0, udp_fresh },
	{ "udp-same", 300, 0, 0, udp_same },
	{ "udp-burst", 50, 0, 1, udp_burst },
	{ "getpeername", 1000, 1, 0, peer_name },
	{ 0 },
};

const struct operation *find_operation(const char *name)
{
	for (const struct operation *operation = operations; operation->name; operation++)
		if (!strcmp(operation->name, name))
			return operation;
	return NULL;
}

_Noreturn void measure(const struct path *path, const struct operation *operation, int cycles, uint32_t *figures)
{
	struct sockaddr_in from;
	uint64_t spent;
	char byte;

	to = path->to;
	datagrams = socket(AF_INET, SOCK_DGRAM, 0);
	if (operation->connected) {
		connection = tcp_socket();
		if (connect(connection, (struct sockaddr *)&to, sizeof(to)))
			die("connect");
	}
	if (operation->floods) {
		if (connect(datagrams, (struct sockaddr *)&to, sizeof(to)))
			die("connect");
		ask(datagrams, &from);
		must_be_asked(&from);
	}
	tell(path->done[1]);
	for (int cycle = 0; cycle < cycles && read(path->client_turn[0], &byte, 1) == 1; cycle++) {
		for (int i = 0; i < WARM_UP; i++)
			operation->run();
		for (int i = 0; i < operation->a_turn; i++) {
			spent = operation->run();
			*figures++ = spent > UINT32_MAX ? UINT32_MAX : spent;
		}
		tell(path->done[1]);
	}
	for (;;) /* open sockets stay open until the last path is done */
		pause();
}
