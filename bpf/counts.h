/* SPDX-License-Identifier: GPL-2.0-only */
/* What the hooks count for the agent's metrics: each connect to a Service by its backend, if configured, and each
 * refusal.
 */
#ifndef SOCKLB_COUNTS_H
#define SOCKLB_COUNTS_H

#include "socket_maps.h"

static __always_inline void count_in_hook(__u32 what)
{
	__u64 *count = bpf_map_lookup_elem(&hook_counts, &what);

	if (count)
		__sync_fetch_and_add(count, 1);
}

/* Exact even with concurrent connects: the second one finds the element that the first one made. */
static __always_inline void count_connect(struct peer *peer, __u32 protocol)
{
	__u64 *count, none = 0;

	peer->note = protocol;
	count = bpf_map_lookup_elem(&connects, peer);
	if (!count) {
		bpf_map_update_elem(&connects, peer, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&connects, peer);
	}
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		count_in_hook(UNCOUNTED);
}

#endif
