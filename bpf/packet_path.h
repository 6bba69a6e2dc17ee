/* SPDX-License-Identifier: GPL-2.0-only */
/* What is done with a packet: it is translated according to its flow, or as the first of one, refused, or left alone.
 */
#ifndef SOCKLB_PACKET_PATH_H
#define SOCKLB_PACKET_PATH_H

#include "begin.h"
#include "icmp.h"

/* Send a packet back where it came from: to the pod, or to this node. */
static __always_inline int turn_back(struct __sk_buff *skb, int to_node)
{
	return swap_macs(skb) ? DROP : bpf_redirect(skb->ifindex, to_node ? BPF_F_INGRESS : 0);
}

/* Let this node receive a packet whose source is one of its own addresses: it accepts that on lo only. */
static __always_inline int receive_by_lo(struct __sk_buff *skb)
{
	struct ethhdr head = { .h_proto = skb->protocol }; /* lo's MAC address is all zeros */

	if (skb->ifindex == LO)
		return LEAVE; /* it will be received there anyway */
	if (!ETHERNET && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return DROP;
	return bpf_skb_store_bytes(skb, 0, &head, sizeof(head), 0) ? DROP : bpf_redirect(LO, BPF_F_INGRESS);
}

/* Translate a packet according to its flow, and send it on. */
static __noinline int translate_packet(struct __sk_buff *skb, const struct packet *p, const struct flow *flow,
				       __u32 kind)
{
	__u8 flags = flow->flags;
	__u32 device = flow->device;
	struct tuple to;

	becomes(flow, kind, &to);
	if (rewrite(skb, p, &to))
		return DROP;
	if (!(flags & (REFLECTED | FROM_NODE)))
		return LEAVE;
	if (flags & BY_LO && (kind || flags & REFLECTED))
		return receive_by_lo(skb);
	if (flags & REFLECTED)
		return turn_back(skb, flags & FROM_NODE);
	return kind ? LEAVE : send_by(skb, device);
}

/* Do all of a packet's translation as it comes in, if possible; otherwise the part that is due here. */
static __always_inline int serve_flow(struct __sk_buff *skb, const struct packet *p, const struct flow *flow,
				      __u32 element)
{
	struct work *work;
	int done = LEAVE;

	if (packet_facts.host_routing && p->tuple.place == AS_IT_COMES && !(flow->flags & (REFLECTED | FROM_NODE))) {
		work = get_work();
		if (work && p != &work->packet)
			work->packet = *p;
		done = translate_and_hand_on(skb, element >> 2, element & 3);
	}
	if (done != LEAVE)
		return done;
	return translate_packet(skb, p, flow, element & 3);
}

/* The current packet is the first of a flow. */
GLOBAL int translate_first(struct __sk_buff *skb)
{
	struct work *work = get_work();
	struct flow *flow = work ? flow_at(work->row) : NULL;
	__u32 kind;

	if (!flow)
		return DROP;
	kind = work->kind & 3;
	if (work->packet.fragment)
		remember_fragments(&work->packet, work->row << 2 | kind);
	note(flow, kind, &work->packet);
	return serve_flow(skb, &work->packet, flow, work->row << 2 | kind);
}

/* Whether a row still belongs to the frontend of a flow. */
static __always_inline int is_frontend_of(const struct frontend *frontend, const struct flow *flow)
{
	const struct frontend_key *key = &frontend->key;

	return key->port == flow->ports[FRONTEND] && key->protocol == flow->protocol &&
	       (is_unspecified(&key->address) || same_address(&key->address, &flow->ends[FRONTEND]));
}

/* Whether the backend of a flow still serves. */
GLOBAL int still_serves(__u32 row)
{
	struct flow *flow = flow_at(row);
	struct frontend *frontend;
	struct backend *backend;
	__u32 asked, at;
	struct set set;
	__u64 word;

	if (!flow)
		return 0;
	asked = flow->row;
	if (asked == NO_FRONTEND)
		return 1;
	frontend = bpf_map_lookup_elem(&frontend_rows, &asked);
	if (!frontend || !is_frontend_of(frontend, flow))
		return 0;
	word = *(volatile __u64 *)&frontend->set;
	set = (struct set){ word >> 32, word };
	at = flow->at;
	backend = at - set.base < set.count ? backend_at(at) : NULL;
	if (backend && is_backend(backend, &flow->ends[BACKEND], flow->ports[BACKEND]))
		return 1;
	if (!search(set, &flow->ends[BACKEND], flow->ports[BACKEND], &at))
		return 0;
	flow->at = at;
	return 1;
}

/* Whether a flow continues with this packet of its client. It does not if its connection is closed and another begins,
 * if a client of datagrams has paused for long, or if the backend does not serve any more, unless a connection with it
 * has been established.
 */
static __always_inline int goes_on(struct flow *flow, __u32 row, const struct packet *p)
{
	int begins = may_begin(p), is_connection = !begins || p->flags;

	if (!begins)
		return 1;
	if (is_over(flow, ticks()) || is_closed(flow))
		return 0;
	return (is_connection && flow->sides[1]) || still_serves(row);
}

static __always_inline int begin(struct __sk_buff *skb, const struct packet *p, enum met met)
{
	struct work *work = get_work();
	int done = TO_SERVICE;

	if (is_later_fragment(p) || met == AT_POD_OUT || !may_begin(p) || !work)
		return met == AT_POD_IN ? pass(skb, p) : LEAVE;
	work->packet = *p;
	if (met == AT_POD_IN)
		done = begin_beside(skb);
	if (met == AT_POD_IN && done == LEAVE)
		return pass(skb, p);
	if (met == AT_UPLINK_OUT)
		done = begin_outwards(skb);
	if (done == TO_SERVICE)
		done = is_icmp(p) ? LEAVE : begin_service(skb, met);
	return done == BEGUN ? translate_first(skb) : done;
}

/* Return the flow that a packet belongs to. */
static __always_inline struct flow *find_its(const struct packet *p, __u32 *element)
{
	const struct tuple *tuple = &p->tuple;

	if (is_later_fragment(p))
		return find_fragments(p, element);
	if (tuple->place == AS_IT_GOES && !may_be_pair(&tuple->source, &tuple->destination))
		return NULL;
	return find(tuple, element);
}

/* Answer a packet of a flow that is to be reset. At a pod's device (pod_out) the sender cannot be reached, and the
 * packet is dropped.
 */
static __always_inline int reset_sender(struct __sk_buff *skb, struct flow *flow, const struct packet *p, enum met met)
{
	struct work *work = get_work();

	flow->sides[0] |= RST;
	if (!work || met == AT_POD_OUT || p->flags & RST)
		return DROP;
	work->packet = *p;
	return refuse(skb, met);
}

/* Handle a packet whose addresses may be in the tables. */
static __always_inline int look_at(struct __sk_buff *skb, struct packet *p, enum met met)
{
	struct flow *flow;
	__u32 element, kind;

	if (!parse_ports(skb, p))
		return LEAVE;
	if (is_icmp(p) && !p->echo)
		return begin_error(skb, p);
	flow = find_its(p, &element);
	if (!flow)
		return begin(skb, p, met);
	kind = element & 3;
	if ((!kind || (kind == 2 && flow->row == NO_FRONTEND)) && !is_later_fragment(p) &&
	    !goes_on(flow, element >> 2, p)) {
		forget_flow(element >> 2, ANYHOW);
		return begin(skb, p, met);
	}
	if (kind & 1 && (p->flags & (SYN | ACK)) == (SYN | ACK) && is_closed(flow)) {
		forget_flow(element >> 2, ANYHOW); /* another connection, whose SYN from the client was not seen */
		return LEAVE;
	}
	if (flow->flags & TO_RESET)
		return reset_sender(skb, flow, p, met);
	if (p->fragment == MORE_FRAGMENTS)
		remember_fragments(p, element);
	note(flow, kind, p);
	return serve_flow(skb, p, flow, element);
}

#endif
