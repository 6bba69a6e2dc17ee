/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of flows: found by any of a flow's tuples, a row taken for a new one, and given back.
 *
 * Nothing is believed from the index but the number of a row and a kind: the row says whether this tuple of that kind is
 * its own.
 */
#ifndef SOCKLB_FLOWS_H
#define SOCKLB_FLOWS_H

#include "address.h"
#include "packet.h"
#include "packet_maps.h"

#ifndef CAN_SWAP
#define CAN_SWAP 1 /* kernels before 5.12 have no atomic compare-and-swap for programs */
#endif
#define ROW_TRIES 16

#define TICKS(seconds) ((__u32)((seconds) * 1000000000ULL >> 30))
#define A_DAY (24 * 3600ULL)

static __always_inline __u32 ticks(void)
{
#if CAN_SWAP
	return bpf_ktime_get_coarse_ns() >> 30; /* 5.11 */
#else
	return bpf_ktime_get_ns() >> 30;
#endif
}

static __always_inline struct flow *flow_at(__u32 row)
{
	return bpf_map_lookup_elem(&flows, &row);
}

static __always_inline __u64 state_of(const struct flow *flow)
{
	return *(volatile __u64 *)&flow->state;
}

/* Which ends stand in a tuple of a kind, two bits a kind. */
static __always_inline __u32 source_end(__u32 kind)
{
	return kind & 1 ? BACKEND : CLIENT;
}

static __always_inline __u32 destination_end(__u32 kind)
{
	return (CLIENT << 6 | BACKEND << 4 | NODE << 2 | FRONTEND) >> (kind & 3) * 2 & 3;
}

/* Where a packet of a kind is looked at. */
static __always_inline __u8 place_of(const struct flow *flow, __u32 kind)
{
	if (flow->flags & FROM_NODE)
		return kind == 0 ? AS_IT_GOES : AS_IT_COMES;
	if (flow->flags & EARLY && kind == 1)
		return flow->flags & REFLECTED ? AS_IT_COMES : AS_IT_GOES;
	return kind >> 1;
}

static __always_inline void tuple_of(const struct flow *flow, __u32 kind, struct tuple *tuple)
{
	__u32 source = source_end(kind), destination = destination_end(kind);

	tuple->source = flow->ends[source];
	tuple->destination = flow->ends[destination];
	tuple->source_port = flow->ports[source];
	tuple->destination_port = flow->ports[destination];
	tuple->protocol = flow->protocol;
	tuple->place = place_of(flow, kind);
	tuple->pad = 0;
}

/* What a packet of a kind becomes. */
static __always_inline void becomes(const struct flow *flow, __u32 kind, struct tuple *to)
{
	__u32 early = flow->flags & EARLY ? 2 : 0, source, destination = kind & 1 ? CLIENT : BACKEND;

	source = (FRONTEND << 6 | NODE << 4 | BACKEND << 2 | CLIENT) >> ((kind | early) & 3) * 2 & 3;
	to->source = flow->ends[source];
	to->destination = flow->ends[destination];
	to->source_port = flow->ports[source];
	to->destination_port = flow->ports[destination];
}

/* The addresses of a tuple are those of a flow's kind, and the ports too unless it is a later fragment's. */
static __always_inline int is_its_own(const struct flow *flow, __u32 kind, const struct tuple *tuple, int with_ports)
{
	__u32 source = source_end(kind), destination = destination_end(kind), differ_by;

	differ_by = differ(&flow->ends[source], &tuple->source) |
		    differ(&flow->ends[destination], &tuple->destination) | (flow->protocol ^ tuple->protocol);
	if (with_ports)
		differ_by |= (flow->ports[source] ^ tuple->source_port) |
			     (flow->ports[destination] ^ tuple->destination_port);
	return !differ_by;
}

/* The flow that an element of the index leads to, if it is this tuple's. */
static __always_inline struct flow *follow(__u32 element, const struct tuple *tuple, int with_ports)
{
	struct flow *flow = flow_at(element >> 2);

	if (!flow || (state_of(flow) & 3) != LIVE || !is_its_own(flow, element & 3, tuple, with_ports))
		return NULL;
	return flow;
}

static __always_inline struct flow *find(const struct tuple *tuple, __u32 *element)
{
	__u32 *found = bpf_map_lookup_elem(&flow_index, tuple);

	if (!found)
		return NULL;
	*element = *(volatile __u32 *)found;
	return follow(*element, tuple, 1);
}

/* The times after which the kernel's conntrack forgets a flow (Documentation/networking/nf_conntrack-sysctl.rst). */
static __always_inline __u32 time_of(const struct flow *flow)
{
	__u8 client = flow->sides[0], server = flow->sides[1], both = client | server;
	__u8 is_stream = flow->protocol == IPPROTO_TCP;

	if (flow->protocol == IPPROTO_UDP)
		return server && flow->seen - flow->begun >= 2 ? TICKS(120) : TICKS(30);
	if (!is_stream && flow->protocol != IPPROTO_SCTP)
		return TICKS(30);
	if (both & RST)
		return TICKS(10);
	if (both & FIN)
		return TICKS(120);
	if (!(client & ACK) || !(server & (SYN | ACK)))
		return TICKS(60);
	return is_stream ? TICKS(5 * A_DAY) : TICKS(210);
}

static __always_inline int is_over(const struct flow *flow, __u32 now)
{
	return now - *(volatile __u32 *)&flow->seen > time_of(flow);
}

static __always_inline int is_closed(const struct flow *flow)
{
	return (flow->sides[0] | flow->sides[1]) & (FIN | RST);
}

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
	__u64 flags = BPF_NOEXIST;
	struct tuple tuple;
	struct flow *its;

	if (!flow)
		return 0;
	tuple_of(flow, kind & 3, &tuple);
	if (bpf_map_update_elem(&flow_index, &tuple, &element, flags)) {
		found = bpf_map_lookup_elem(&flow_index, &tuple);
		if (found) {
			other = *(volatile __u32 *)found;
			its = flow_at(other >> 2);
			if (!its || (state_of(its) & 3) == BUSY)
				return 0;
			if (!follow(other, &tuple, 1))
				flags = BPF_ANY;
			else if (!forget_flow(other >> 2, IF_OVER_OR_CLOSED))
				return 0;
		}
		if (bpf_map_update_elem(&flow_index, &tuple, &element, flags))
			return 0;
	}
	flow->kinds |= 1 << (kind & 3);
	return 1;
}

/* What a packet says of its flow; written only where it says something new, so that the CPUs do not fight for it. A reset
 * is believed until its sender goes on.
 */
static __always_inline void note(struct flow *flow, __u32 kind, const struct packet *p)
{
	__u32 now = ticks(), side = kind & 1;
	__u8 known = flow->sides[side], news = known;

	if (flow->seen != now)
		flow->seen = now;
	if (is_later_fragment(p))
		return;
	if (!(p->flags & RST))
		news &= ~RST;
	news |= (p->flags & (FIN | SYN | RST | ACK)) | HEARD;
	if (news != known)
		flow->sides[side] = news;
}

#endif
