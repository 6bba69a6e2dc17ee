/* SPDX-License-Identifier: GPL-2.0-only */
/* The state of the current packet's processing. */
#ifndef SOCKLB_WORK_H
#define SOCKLB_WORK_H

#include "packet.h"

/* A new flow as planned. */
struct plan {
	struct address backend;
	struct address node; /* what the backend sees instead of the client, if `masqueraded` or REFLECTED */
	__u32 at; /* the backend's row */
	__u32 row;
	__u32 device;
	__be16 port;
	__u8 masqueraded;
	__u8 flags;
	__u32 pad;
};

/* The current packet, which has no known flow, and the state of its processing: for functions that may not take
 * pointers, and for data that is too large for their stacks. A CPU handles one packet at a time: these programs run
 * where it takes no network interrupt. (Except the sweep, which must not touch this.)
 */
struct work {
	struct packet packet;
	struct plan plan;
	struct tuple quoted; /* by an ICMP error, reversed */
	struct tuple becomes;
	struct tuple linked; /* being added to the index */
	struct frontend_key asked;
	__u32 row; /* of its flow, once that has begun */
	__u32 kind;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} works SEC(".maps");

static __always_inline struct work *get_work(void)
{
	__u32 first = 0;

	return bpf_map_lookup_elem(&works, &first);
}

#endif
