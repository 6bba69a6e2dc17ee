/* SPDX-License-Identifier: GPL-2.0-only */
/* Rows of flows: taken for a new one, found by its tuples from then on, and given back. */
#ifndef SOCKLB_FLOW_ROWS_H
#define SOCKLB_FLOW_ROWS_H

#include "flows.h"
#include "work.h"

#define ROW_TRIES 16

/* Change a row's state; fails where another CPU did before. */
#if CAN_SWAP
static __always_inline int swap_state(struct flow *flow, __u32 row, __u64 old, __u64 new)
{
	return __sync_val_compare_and_swap(&flow->state, old, new) == old;
}
#else
/* An element that nobody else can put into the index stands for the swap. */
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

/* Take what leads to the flow of a row out of the index. */
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

/* End a flow, as long as it is in this state. The row is BUSY and without tuples then. */
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

/* End the flow of a row and give the row back; say whether. */
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

/* Have whoever sends on the flow of a row be answered by a reset, as long as it is in this state; say whether. While it is
 * BUSY nobody finds it.
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

/* What can be done with a row. */
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

/* Have a row BUSY and its tuples gone, whatever its flow; 0: another CPU was quicker. */
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

/* Give a row for a new flow: one that is free or whose time is over, else the one closed longest of those looked at; NONE
 * if all of them live.
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

/* Have one more tuple lead to a flow, whose ends are filled in. 0: the tuple is another live flow's. An element that leads
 * nowhere is written over, but not while its flow is being ended, for it would be deleted then.
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
