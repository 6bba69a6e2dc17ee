/* SPDX-License-Identifier: GPL-2.0-only */
/* Rows of flows: taken for a new flow, found by its tuples, and freed. */
#ifndef SOCKLB_FLOW_ROWS_H
#define SOCKLB_FLOW_ROWS_H

#include "flows.h"
#include "work.h"

#define ROW_TRIES 16

/* Change a row's state; fails if another CPU was first. */
#if CAN_SWAP
static __always_inline int swap_state(struct flow *flow, __u32 row, __u64 old, __u64 new)
{
	return __sync_val_compare_and_swap(&flow->state, old, new) == old;
}
#else
/* Kernels without an atomic swap: an element that only one CPU can add to the index is the lock. */
GLOBAL int swap_by_lock(__u32 row, __u64 old, __u64 new)
{
	struct tuple lock = { .source.word[0] = row, .protocol = 255 };
	struct flow *flow = flow_at(row);
	int is_old;

	if (!flow || bpf_map_update_elem(&flow_index, &lock, &row, BPF_NOEXIST))
		return 0;
	is_old = state_of(flow) == old;
	if (is_old)
		*(volatile __u64 *)&flow->state = new;
	bpf_map_delete_elem(&flow_index, &lock);
	return is_old;
}

static __always_inline int swap_state(struct flow *flow, __u32 row, __u64 old, __u64 new)
{
	return swap_by_lock(row, old, new);
}
#endif

/* Delete the elements of a row's flow from the index. */
GLOBAL int unlink_tuples(__u32 row)
{
	struct flow *flow = flow_at(row);
	struct tuple tuple;

	if (!flow)
		return 0;
	for (__u32 kind = 0; kind < 4; kind++) {
		if (!(flow->kinds & 1 << kind))
			continue;
		tuple_of(flow, kind, &tuple);
		bpf_map_delete_elem(&flow_index, &tuple);
	}
	flow->kinds = 0;
	return 1;
}

/* End a flow if it is still in this state. The row is then BUSY and without tuples. */
static __always_inline int end_flow(struct flow *flow, __u32 row, __u64 state)
{
	if (!swap_state(flow, row, state, (state & ~3ULL) | BUSY))
		return 0;
	unlink_tuples(row);
	count(FLOWS_ENDED);
	return 1;
}

/* When a flow may be ended. */
#define ANYHOW 0
#define IF_OVER 1
#define IF_OVER_OR_CLOSED 2

static __always_inline int may_end(const struct flow *flow, __u32 when)
{
	return when == ANYHOW || (when == IF_OVER_OR_CLOSED && is_closed(flow)) || is_over(flow, ticks());
}

/* End the flow of a row and free the row; return whether that was done. */
GLOBAL int forget_flow(__u32 row, __u32 when)
{
	struct flow *flow = flow_at(row);
	__u64 state;

	if (!flow)
		return 0;
	state = state_of(flow);
	if ((state & 3) != LIVE || !may_end(flow, when) || !end_flow(flow, row, state))
		return 0;
	*(volatile __u64 *)&flow->state = ((state >> 2) + 1) << 2 | FREE;
	return 1;
}

/* Let every packet on the flow of a row be answered by a reset, if the flow is still in this state; return whether that
 * was done. While the row is BUSY no CPU finds the flow.
 */
GLOBAL int reset_flow(__u32 row, __u64 state)
{
	struct flow *flow = flow_at(row);
	__u64 busy = (state & ~3ULL) | BUSY;

	if (!flow || (state & 3) != LIVE || flow->flags & TO_RESET || !swap_state(flow, row, state, busy))
		return 0;
	flow->flags |= TO_RESET;
	flow->sides[0] |= RST;
	flow->sides[1] |= RST;
	*(volatile __u64 *)&flow->state = state;
	return 1;
}

#define NONE (~(__u32)0)
enum judgement { IN_USE, CLOSED, TO_BE_HAD };

/* Return what can be done with a row. */
GLOBAL int judge(__u32 row)
{
	struct flow *flow = flow_at(row);
	__u64 state;

	if (!flow)
		return IN_USE;
	state = state_of(flow) & 3;
	if (state == FREE)
		return TO_BE_HAD;
	if (state == BUSY)
		return IN_USE;
	return is_over(flow, ticks()) ? TO_BE_HAD : is_closed(flow) ? CLOSED : IN_USE;
}

/* Make a row BUSY and delete its tuples, whatever its flow; 0: another CPU was first. */
GLOBAL int take(__u32 row)
{
	struct flow *flow = flow_at(row);
	__u64 state;

	if (!flow)
		return 0;
	state = state_of(flow);
	if ((state & 3) == LIVE)
		return end_flow(flow, row, state);
	return (state & 3) == FREE && swap_state(flow, row, state, (state & ~3ULL) | BUSY);
}

/* Return a row for a new flow: a free or expired one, else the one that was closed first among those looked at; NONE if
 * all of them are in use.
 */
GLOBAL __u32 take_row(__u32 mask)
{
	__u32 oldest = NONE, age = 0, row = bpf_get_prandom_u32(), now = ticks();

	for (int i = 0; i < ROW_TRIES; i++, row++) {
		int judgement = judge(row & mask);
		struct flow *flow;

		if (judgement == TO_BE_HAD && take(row & mask))
			return row & mask;
		flow = flow_at(row & mask);
		if (judgement != CLOSED || !flow || now - flow->seen < age)
			continue;
		age = now - flow->seen;
		oldest = row & mask;
	}
	return oldest != NONE && take(oldest) ? oldest : NONE;
}

/* Add a tuple to the index for a flow, whose ends are filled in. 0: the tuple belongs to another live flow. A stale
 * element is overwritten, but not while its flow is being ended, because that would then delete the new element.
 */
GLOBAL int link_tuple(__u32 row, __u32 kind)
{
	struct flow *flow = flow_at(row);
	__u32 element = row << 2 | (kind & 3), *found, other;
	struct work *work = get_work();
	__u64 flags = BPF_NOEXIST;
	struct tuple *tuple;
	struct flow *its;

	if (!flow || !work)
		return 0;
	tuple = &work->linked;
	tuple_of(flow, kind & 3, tuple);
	if (bpf_map_update_elem(&flow_index, tuple, &element, flags)) {
		found = bpf_map_lookup_elem(&flow_index, tuple);
		if (found) {
			other = *(volatile __u32 *)found;
			its = flow_at(other >> 2);
			if (!its || (state_of(its) & 3) == BUSY)
				return 0;
			if (!follow(other, tuple, 1))
				flags = BPF_ANY;
			else if (!forget_flow(other >> 2, IF_OVER_OR_CLOSED))
				return 0;
		}
		if (bpf_map_update_elem(&flow_index, tuple, &element, flags))
			return 0;
	}
	flow->kinds |= 1 << (kind & 3);
	return 1;
}

#endif
