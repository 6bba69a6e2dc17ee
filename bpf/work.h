/* SPDX-License-Identifier: GPL-2.0-only */
/* What is being done with a packet. */
#ifndef SOCKLB_WORK_H
#define SOCKLB_WORK_H

#include "packet.h"

/* What is to become of a new flow. */
struct plan {
	struct address backend;
	struct address node; /* whom the backend sees instead of the client, if `masqueraded` or REFLECTED */
	__u32 at; /* the backend's row */
	__u32 row;
	__u32 device;
	__be16 port;
	__u8 masqueraded;
	__u8 flags;
	__u32 pad;
};

/* The packet that is no known flow's, and what is being done with it: for functions that may not be handed pointers, and
 * for what would be too much on their stacks. A CPU works at one packet at a time: these programs run where it takes no
 * interrupt of the network's. (Not so the sweep, which has to leave it alone.)
 */
struct work {
	struct packet packet;
	struct plan plan;
	struct tuple quoted; /* by an ICMP error, the other way round */
	struct tuple becomes;
	struct tuple linked; /* to its flow */
	struct frontend_key asked;
	__u32 row; /* of its flow, when that has begun */
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
