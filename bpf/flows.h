/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of flows: a flow is found by any of its tuples.
 *
 * Only a row number and a kind are taken from the index: the row tells whether this tuple of that kind belongs to it.
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

/* The ends that a tuple consists of, by kind. */
struct parts {
	__u32 source, destination, source_port, destination_port;
};

#define BY_KIND(kind, zero, one, two, three) (((zero) | (one) << 4 | (two) << 8 | (three) << 12) >> (kind) * 4 & 7)

static __always_inline struct parts parts_of(__u32 kind)
{
	return (struct parts){ BY_KIND(kind, CLIENT, BACKEND, CLIENT, BACKEND) & 3,
			       BY_KIND(kind, FRONTEND, NODE, BACKEND, CLIENT) & 3,
			       BY_KIND(kind, CLIENT, BACKEND, ON_THE_WAY, BACKEND),
			       BY_KIND(kind, FRONTEND, NODE, BACKEND, ON_THE_WAY) };
}

/* The same for a translated packet of this kind; `at_once`: 1 if the packet is also masqueraded, or unmasqueraded, at
 * the same place, else 0.
 */
static __always_inline struct parts translated_parts(__u32 kind, __u32 at_once)
{
	__u32 from = kind | at_once << 1;

	return (struct parts){ BY_KIND(from, CLIENT, BACKEND, NODE, FRONTEND) & 3,
			       BY_KIND(kind, BACKEND, CLIENT, BACKEND, CLIENT) & 3,
			       BY_KIND(from, ON_THE_WAY, BACKEND, NODE, FRONTEND),
			       BY_KIND(kind, BACKEND, ON_THE_WAY, BACKEND, CLIENT) };
}

static __always_inline void fill_in(const struct flow *flow, struct parts parts, struct tuple *tuple)
{
	tuple->source = flow->ends[parts.source];
	tuple->destination = flow->ends[parts.destination];
	tuple->source_port = flow->ports[parts.source_port];
	tuple->destination_port = flow->ports[parts.destination_port];
}

/* Return where a packet of a kind is handled. Requests of this node's own processes are handled as they leave, and so
 * are the answers of a server on the node to them.
 */
static __always_inline __u8 place_of(const struct flow *flow, __u32 kind)
{
	__u32 flags = flow->flags, from_node = flags / FROM_NODE & 1;

	return (from_node & (~kind | flags / REFLECTED) & 1) | (~from_node & kind >> 1 & 1);
}

static __always_inline void tuple_of(const struct flow *flow, __u32 kind, struct tuple *tuple)
{
	fill_in(flow, parts_of(kind), tuple);
	tuple->protocol = flow->protocol;
	tuple->place = place_of(flow, kind);
	tuple->pad = 0;
}

/* Return the translated tuple of a packet of a kind. The answer to a masqueraded process of this node passes no further
 * program.
 */
static __always_inline void becomes(const struct flow *flow, __u32 kind, struct tuple *to)
{
	__u32 flags = flow->flags;

	fill_in(flow, translated_parts(kind, (flags / REFLECTED | (flags / FROM_NODE & kind)) & 1), to);
}

/* Whether a tuple has the addresses of this kind of a flow, and the ports too unless it is a later fragment's. */
static __always_inline int is_its_own(const struct flow *flow, __u32 kind, const struct tuple *tuple, int with_ports)
{
	struct parts parts = parts_of(kind);
	__u32 differ_by;

	differ_by = differ(&flow->ends[parts.source], &tuple->source) |
		    differ(&flow->ends[parts.destination], &tuple->destination) | (flow->protocol ^ tuple->protocol);
	if (with_ports)
		differ_by |= (flow->ports[parts.source_port] ^ tuple->source_port) |
			     (flow->ports[parts.destination_port] ^ tuple->destination_port);
	return !differ_by;
}

/* Return the flow of an element of the index, if it has this tuple. */
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

/* Return the time after which a flow expires; the times are those of the kernel's conntrack
 * (Documentation/networking/nf_conntrack-sysctl.rst).
 */
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

/* Record what a packet tells about its flow; written only if it is new, so that CPUs do not contend for the cache line.
 * A reset counts until its sender sends again.
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
