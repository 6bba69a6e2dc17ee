/* SPDX-License-Identifier: GPL-2.0-only */
/* Cgroups that are left out: calls of a process there, or in a cgroup below, are not translated.
 *
 * The cgroup of the calling process counts, because these hooks are not told a socket's own cgroup. A cgroup never
 * moves to another parent, so the result for one is cached; the agent clears the cache whenever it leaves out other
 * cgroups.
 */
#ifndef SOCKLB_LEFT_OUT_H
#define SOCKLB_LEFT_OUT_H

#include "owner.h"
#include "socket_maps.h"

#define DEEPEST_CGROUP 32

/* Look up every cgroup of this process, from the root on. Global for the verifier's sake, like row_of(). */
__attribute__((noinline)) int find_left_out(void)
{
	for (int level = 0; level < DEEPEST_CGROUP; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			return 0;
		if (bpf_map_lookup_elem(&left_out, &id))
			return 1;
	}
	return 0;
}

static __always_inline int is_left_out(void)
{
	__u64 id, found;
	volatile __u64 *known;
	__u32 at = KNOWN_CGROUPS;

	if (!kernel_facts.leave_out)
		return 0;
	known = bpf_map_lookup_elem(&known_cgroups, &at);
	if (!known || !*known)
		return 0;
	id = bpf_get_current_cgroup_id();
	at = id & (KNOWN_CGROUPS - 1);
	known = bpf_map_lookup_elem(&known_cgroups, &at);
	if (!known)
		return 0;
	found = *known;
	if (found >> 1 != id) {
		found = id << 1 | find_left_out();
		*known = found;
	}
	return found & 1;
}

#endif
