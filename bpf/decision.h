/* SPDX-License-Identifier: GPL-2.0-only */
/* What a hook decides, and how it is told while somebody watches (observe.h). As of types.h, the Python side knows all of
 * this: socklb/datapath/decisions.py.
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

/* Why. Of what is translated, how the backend was chosen. */
enum reason {
	BY_RANDOM,
	BY_AFFINITY, /* what this pod was given last */
	BY_LOAD, /* the less loaded of two */
	KEPT, /* what this socket was given before */
	GIVEN_BACK, /* the Service's address in the place of its backend's */
	NO_ENDPOINT,
	NO_SUCH_PORT, /* of a Service's address */
	PORT_IN_USE, /* by a Service: nobody else may listen there */
	NO_SERVICE,
	NO_SUCH_RECORD, /* the address is that of no backend that the socket was given */
	OTHER_PROTOCOL,
	LEFT_ALONE, /* sockets of pods are none of the hooks' affair */
	LEFT_OUT, /* those of this pod or cgroup are not */
	SOURCE_RANGES, /* the packet path knows who may ask */
	SHARED_PORT, /* two sockets might be one connection */
	SAME_BACKEND, /* the answers of two Services could not be told apart */
};

/* `cgroup`, `pid` and `command` are those of whoever called. Where the kernel is about to tell the application an address
 * (recvmsg, getpeername), `asked` is what the application is told and `given` what it was. Nothing is given: zero.
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
	__u32 pid; /* as the machine's first pid namespace numbers it */
	__u8 protocol;
	__u8 hook;
	__u8 verdict;
	__u8 reason;
	__u32 pad;
	char command[16];
};

#endif
