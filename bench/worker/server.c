/* SPDX-License-Identifier: Apache-2.0 */
/* The server of one path. It spins while its path has its turn, and sleeps otherwise. */
#define _GNU_SOURCE
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker.h"

enum { PARKED = 512 };

static int listener, datagrams, connection;

/* Answer from the requested address, because the server pod has several. A datagram longer than a question is received,
 * and not answered.
 */
static void answer_datagram(void)
{
	char question[2], control[64];
	struct sockaddr_in client;
	struct iovec data = { question, sizeof(question) };
	struct msghdr m = { &client, sizeof(client), &data, 1, control, sizeof(control), 0 };
	struct in_pktinfo *asked;

	if (recvmsg(datagrams, &m, MSG_DONTWAIT) != 1)
		return;
	data.iov_len = 1;
	asked = (struct in_pktinfo *)CMSG_DATA(CMSG_FIRSTHDR(&m));
	asked->ipi_ifindex = 0;
	asked->ipi_spec_dst = asked->ipi_addr;
	sendmsg(datagrams, &m, 0);
}

static void answer_stream(void)
{
	char byte;

	if (recv(connection, &byte, 1, MSG_DONTWAIT) == 1)
		send(connection, &byte, 1, MSG_NOSIGNAL);
}

/* A connection is closed long after its client has reset it, so that closing sends nothing. */
static void park(int s)
{
	static int parked[PARKED], next;

	if (parked[next])
		close(parked[next]);
	parked[next] = s;
	next = (next + 1) % PARKED;
}

static void accept_one(int keep)
{
	int one = 1, s = accept4(listener, NULL, NULL, 0);

	if (s < 0)
		return;
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (keep)
		connection = s;
	else
		park(s);
}

static void listen_everywhere(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(SERVER_PORT) };
	int one = 1, room = 4 << 20;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	datagrams = socket(AF_INET, SOCK_DGRAM, 0);
	/* A server of an earlier run that closed before its client did leaves a connection in TIME_WAIT. */
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(datagrams, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	setsockopt(datagrams, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) || listen(listener, 4096) ||
	    bind(datagrams, (struct sockaddr *)&here, sizeof(here)))
		die("bind");
}

_Noreturn void serve(const struct path *path, const struct operation *operation, int me)
{
	int udp = !strncmp(operation->name, "udp", 3);
	char byte;

	listen_everywhere();
	tell(path->done[1]);
	while (read(path->server_turn[0], &byte, 1) == 1) {
		while (*active == me) {
			if (udp)
				answer_datagram();
			else if (connection)
				answer_stream();
			else
				accept_one(operation->connected);
		}
	}
	exit(0);
}
