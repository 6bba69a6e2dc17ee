/* SPDX-License-Identifier: GPL-2.0-only */
/* What a hook decides, and the format in which it is reported to watchers (observe.h). As with types.h, the Python side
 * mirrors all of this: socklb/datapath/decisions.py.
 */
#ifndef SOCKLB_DECISION_H
#define SOCKLB_DECISION_H

#include "types.h"

enum verdict { PASS, TRANSLATED, REFUSED };

enum hook {
	CONNECT4,
	CONNECT6,
	SENDMSG4,
	SENDMSG6,
	RECVMSG4,
	RECVMSG6,
	GETPEERNAME4,
	GETPEERNAME6,
	BIND4,
	BIND6,
};

/* The reason; for TRANSLATED, how the backend was chosen. */
enum reason {
	BY_RANDOM,
	BY_AFFINITY, /* the backend that this pod was given last */
	BY_LOAD, /* the less loaded of two */
	KEPT, /* the backend that this socket was given before */
	GIVEN_BACK, /* the Service's address instead of its backend's */
	NO_ENDPOINT,
	NO_SUCH_PORT, /* of a Service's address */
	PORT_IN_USE, /* by a Service: no process may listen there */
	NO_SERVICE,
	NO_SUCH_RECORD, /* the address is not of a backend that the socket was given */
	OTHER_PROTOCOL,
	LEFT_ALONE, /* the hooks do not serve sockets of pods */
	LEFT_OUT, /* the hooks do not serve this pod or cgroup */
	SOURCE_RANGES, /* the packet path checks the client's address */
	SHARED_PORT, /* two sockets might be the same connection */
	SAME_BACKEND, /* answers of two Services could not be distinguished */
};

/* `cgroup`, `pid` and `command` are the caller's. When the kernel is about to tell the application an address (recvmsg,
 * getpeername), `asked` is the address that the application gets and `given` the original one. Without a backend,
 * `given` is zero.
 */
struct decision {
	__u64 time; /* ns of CLOCK_MONOTONIC */
	__u64 cookie;
	__u64 netns;
	__u64 cgroup;
	struct address asked;
	struct address given;
	__be16 asked_port;
	__be16 given_port;
	__u32 pid; /* in the machine's first pid namespace */
	__u8 protocol;
	__u8 hook;
	__u8 verdict;
	__u8 reason;
	__u32 pad;
	char command[16];
};

#endif
