/* SPDX-License-Identifier: GPL-2.0-only */
/* A packet that begins a flow: which backend answers it, and which addresses it gets. */
#ifndef SOCKLB_SERVE_H
#define SOCKLB_SERVE_H

#include "ports.h"
#include "refuse.h"
#include "sets.h"

#define NS_PER_SECOND 1000000000ULL

/* Whether a packet may begin a flow. A packet that has no flow and may not begin one is not handled. */
static __always_inline int may_begin(const struct packet *p)
{
	switch (p->tuple.protocol) {
	case IPPROTO_TCP:
	case IPPROTO_SCTP:
		return (p->flags & (FIN | SYN | RST | ACK)) == SYN;
	case IPPROTO_UDP:
		return 1;
	default:
		return p->echo == 1;
	}
}

static __noinline __u8 networks_of(const struct address *address)
{
	struct network key = { NETWORK_BITS, *address };
	__u8 *flags = bpf_map_lookup_elem(&networks, &key);

	return flags ? *flags : 0;
}

static __noinline int may_ask(__u32 row, const struct address *client)
{
	struct source_range key = { SOURCE_BITS, row, *client };

	return !!bpf_map_lookup_elem(&source_ranges, &key);
}

/* Return the row of the backend that the client with this address was given last, if that is not too long ago and it
 * still serves.
 */
static __always_inline __u32 kept_backend(const struct packet_client *client, __u64 seconds, struct set set)
{
	struct packet_affine *last = bpf_map_lookup_elem(&packet_affinity, client);
	struct address address;
	__u32 row;

	if (!last || last->client.row != client->row || differ(&last->client.address, &client->address) ||
	    bpf_ktime_get_ns() - last->seen > seconds * NS_PER_SECOND)
		return NO_ROW;
	address = last->address;
	return search(set, &address, last->port, &row) ? row : NO_ROW;
}

/* Return the row of a backend of a set: at random, or the less loaded of two. */
static __always_inline __u32 any_backend(__u64 options, struct set set)
{
	__u32 one = bpf_get_prandom_u32() % set.count, two;
	struct backend *first, *second;

	if (!(options >> 32 & LEAST_LOADED) || set.count < 2)
		return set.base + one;
	two = (one + 1 + bpf_get_prandom_u32() % (set.count - 1)) % set.count;
	first = backend_at(set.base + one);
	second = backend_at(set.base + two);
	return set.base + (first && second && load_of(second) < load_of(first) ? two : one);
}

/* Return the row of a backend for the client in `work`, at the frontend of a row; NO_ROW: there is none. */
GLOBAL __u32 choose_packets(__u32 row, __u64 options, __u64 word)
{
	struct set set = { word >> 32, word };
	struct packet_affine now = {};
	struct work *work = get_work();
	struct backend *backend;
	__u32 chosen;

	if (!work || !set.count)
		return NO_ROW;
	if (!(options & 0xffffffff))
		return any_backend(options, set);
	now.client.address = work->packet.tuple.source;
	now.client.row = row;
	chosen = kept_backend(&now.client, options & 0xffffffff, set);
	if (chosen == NO_ROW)
		chosen = any_backend(options, set);
	backend = backend_at(chosen);
	if (!backend)
		return NO_ROW;
	now.address = backend->address;
	now.port = backend->port;
	now.seen = bpf_ktime_get_ns();
	bpf_map_update_elem(&packet_affinity, &now.client, &now, BPF_ANY);
	return chosen;
}

static __always_inline void describe(struct flow *flow, const struct packet *p, const struct plan *plan)
{
	flow->ends[CLIENT] = p->tuple.source;
	flow->ends[FRONTEND] = p->tuple.destination;
	flow->ends[BACKEND] = plan->backend;
	flow->ends[NODE] = plan->node;
	flow->ports[CLIENT] = p->tuple.source_port;
	flow->ports[FRONTEND] = p->tuple.destination_port;
	flow->ports[BACKEND] = plan->port;
	flow->ports[NODE] = 0;
	flow->ports[ON_THE_WAY] = p->tuple.source_port;
	flow->at = plan->at;
	flow->spare = 0;
	flow->row = plan->row;
	flow->device = plan->device;
	flow->seen = flow->begun = ticks();
	flow->protocol = p->tuple.protocol;
	flow->kinds = 0;
	flow->flags = plan->flags;
	flow->sides[0] = flow->sides[1] = 0;
}

/* Mark the pairs of addresses of outgoing packets of the flow of a row. */
GLOBAL int note_pairs(__u32 row)
{
	struct flow *flow = flow_at(row);

	if (!flow)
		return 0;
	note_pair(&flow->ends[CLIENT], &flow->ends[BACKEND]);
	if (flow->flags & FROM_NODE)
		note_pair(&flow->ends[CLIENT], &flow->ends[FRONTEND]);
	if (flow->flags == (FROM_NODE | REFLECTED))
		note_pair(&flow->ends[BACKEND], &flow->ends[NODE]);
	return 1;
}

/* Mark again what packets of a live flow need: somebody may have emptied the tables of marks. */
GLOBAL int note_again(__u32 row)
{
	struct flow *flow = flow_at(row);

	if (!flow || (state_of(flow) & 3) != LIVE)
		return 0;
	if (flow->kinds & 1 << 1)
		note_masquerade(&flow->ends[NODE]);
	return note_pairs(row);
}

/* Add all tuples of the flow of a row to the index. */
static __always_inline int link_all(struct __sk_buff *skb, struct flow *flow, __u32 row, const struct plan *plan)
{
	if (plan->masqueraded && plan->row == NO_FRONTEND)
		return take_port(skb, row, 1) && link_tuple(row, 2);
	if (!link_tuple(row, 0))
		return 0;
	if (flow->flags & REFLECTED)
		return take_port(skb, row, 1);
	return take_way(row) && (!plan->masqueraded || (link_tuple(row, 2) && take_port(skb, row, 0)));
}

/* Make the flow that is planned in `work` and return its row; NONE: no room, or no port. */
GLOBAL __u32 begin_flow(struct __sk_buff *skb)
{
	__u32 row = take_row(packet_facts.flow_mask);
	struct flow *flow = row == NONE ? NULL : flow_at(row);
	struct work *work = get_work();

	if (!flow || !work) {
		count(LOST_NO_ROOM);
		return NONE;
	}
	describe(flow, &work->packet, &work->plan);
	if (work->plan.masqueraded)
		note_masquerade(&work->plan.node);
	note_pairs(row);
	*(volatile __u64 *)&flow->state = ((state_of(flow) >> 2) + 1) << 2 | LIVE;
	if (!link_all(skb, flow, row, &work->plan)) {
		forget_flow(row, ANYHOW);
		count(LOST_NO_PORT);
		return NONE;
	}
	count(FLOWS_BEGUN);
	return row;
}

#endif
