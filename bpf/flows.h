/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of flows: a flow is found by any of its tuples.
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
