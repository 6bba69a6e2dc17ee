/* SPDX-License-Identifier: GPL-2.0-only */
/* Report what the hooks decide. Programs compiled with OBSERVED=1 do so, and run only while there is a watcher; the
 * others contain no instruction for it.
 *
 * Nobody is woken: the agent polls many times a second, so the cost of a connect() stays the same. Decisions that do
 * not fit are counted.
 */
#ifndef SOCKLB_OBSERVE_H
#define SOCKLB_OBSERVE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "decision.h"

#ifndef OBSERVED
#define OBSERVED 0
#endif

#if OBSERVED
/* Room for some 40,000 decisions. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} decisions SEC(".maps");

/* How many did not fit there. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} untold SEC(".maps");

static __always_inline void count_untold(void)
{
	__u32 first = 0;
	__u64 *count = bpf_map_lookup_elem(&untold, &first);

	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline void observe(struct bpf_sock_addr *ctx, enum hook hook, enum verdict verdict, enum reason reason,
				    const struct endpoint *asked, const struct endpoint *given)
{
	struct decision *told = bpf_ringbuf_reserve(&decisions, sizeof(*told), 0);

	if (!told) {
		count_untold();
		return;
	}
	told->time = bpf_ktime_get_ns();
	told->cookie = bpf_get_socket_cookie(ctx);
	told->netns = bpf_get_netns_cookie(ctx);
	told->cgroup = bpf_get_current_cgroup_id();
	told->asked = asked->address;
	told->given = given->address;
	told->asked_port = asked->port;
	told->given_port = given->port;
	told->pid = bpf_get_current_pid_tgid() >> 32;
	told->protocol = ctx->protocol;
	told->hook = hook;
	told->verdict = verdict;
	told->reason = reason;
	told->pad = 0;
	bpf_get_current_comm(told->command, sizeof(told->command));
	bpf_ringbuf_submit(told, BPF_RB_NO_WAKEUP);
}
#else
static __always_inline void observe(struct bpf_sock_addr *ctx, enum hook hook, enum verdict verdict, enum reason reason,
				    const struct endpoint *asked, const struct endpoint *given)
{
}
#endif

#endif
