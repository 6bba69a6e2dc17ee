/* SPDX-License-Identifier: GPL-2.0-only */
/* What is done to a packet: translated as its flow says, begun, refused, or left alone. */
#ifndef SOCKLB_PACKET_PATH_H
#define SOCKLB_PACKET_PATH_H

#include "icmp.h"
#include "refuse.h"
#include "serve.h"

#define LEAVE TC_ACT_UNSPEC /* to whoever comes next */
#define DROP TC_ACT_SHOT

/* Send a packet back where it came from. */
static __always_inline int turn_back(struct __sk_buff *skb)
{
	return swap_macs(skb) ? DROP : bpf_redirect(skb->ifindex, 0);
}

GLOBAL int refuse(struct __sk_buff *skb, int met)
{
	struct work *work = get_work();
	__u32 device = 0;
	int own = 0;

	if (!work)
		return DROP;
	if (met == AT_UPLINK_OUT) {
		own = !!bpf_map_lookup_elem(&own_addrs, &work->packet.tuple.source);
		if (!own)
			device = route(skb, 1);
	}
	if (make_refusal(skb))
		return DROP;
	if (device)
		return bpf_redirect_neigh(device, NULL, 0, 0);
	return bpf_redirect(skb->ifindex, own ? BPF_F_INGRESS : 0);
}

/* Change a packet as its flow says, and have it go on. */
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
	if (flags & REFLECTED)
		return turn_back(skb);
	return kind ? LEAVE : bpf_redirect_neigh(device, NULL, 0, 0);
}

/* What is left to do for the program itself, for a kernel's programs call eight deep at most, with 512 bytes of stack. */
#define TO_SERVICE 1000 /* begin_service() */
#define BEGUN 1001 /* translate_first() */

/* Begin the flow that is planned for the packet at work, which is of this kind. */
static __always_inline int begin_planned(struct __sk_buff *skb, struct work *work, __u32 kind)
{
	work->row = begin_flow(skb);
	work->kind = kind;
	return work->row == NONE ? DROP : BEGUN;
}

/* The packet at work is the first of a flow. */
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
	return translate_packet(skb, &work->packet, flow, kind);
}

/* Whether a row is still what a client asked for. */
static __always_inline int is_frontend_of(const struct frontend *frontend, const struct flow *flow)
{
	const struct frontend_key *key = &frontend->key;

	return key->port == flow->ports[FRONTEND] && key->protocol == flow->protocol &&
	       (is_unspecified(&key->address) || same_address(&key->address, &flow->ends[FRONTEND]));
}

/* Whether the backend of a flow serves still. */
GLOBAL int still_serves(__u32 row)
{
	struct flow *flow = flow_at(row);
	struct frontend *frontend;
	__u32 asked, ignored;
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
	if (word == flow->set)
		return 1;
	set = (struct set){ word >> 32, word };
	if (!search(set, &flow->ends[BACKEND], flow->ports[BACKEND], &ignored))
		return 0;
	flow->set = word;
	return 1;
}

/* Whether a flow goes on with this packet of its client: it does not where the connection is closed and another begins, where
 * a client of datagrams pauses for long, and where the backend serves no more, unless a connection has begun with it.
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

/* The frontend that a packet asks for, by its address or as a NodePort of this node. */
static __always_inline struct found find_asked(struct frontend_key *key)
{
	struct found found = find_frontend(key);

	if (found.frontend || !bpf_map_lookup_elem(&own_addrs, &key->address))
		return found;
	key->address = any_address(&key->address);
	return find_frontend(key);
}

/* Whom the backend is to see, where its answer would not come back to the client by this node. 0: it cannot be served. */
static __always_inline int plan_source(struct __sk_buff *skb, const struct packet *p, int met, int outside,
				       struct plan *plan)
{
	struct uplink *uplink;
	__u32 device;

	if (met == AT_POD_IN) {
		if (same_address(&plan->backend, &p->tuple.source)) {
			plan->flags = EARLY | REFLECTED;
			plan->node = p->tuple.destination;
		}
		return 1;
	}
	device = route(skb, 0);
	if (met == AT_UPLINK_OUT) {
		plan->flags = FROM_NODE;
		plan->device = device;
		return !!device;
	}
	uplink = outside ? NULL : bpf_map_lookup_elem(&uplinks, &device);
	if (!uplink)
		return 1;
	plan->masqueraded = 1;
	plan->node = p->six ? uplink->ipv6 : uplink->ipv4;
	return !is_unspecified(&plan->node);
}

/* Where nobody serves: the port of a Service's address, or an address that no Service has, is refused. */
static __always_inline int without_frontend(struct __sk_buff *skb, const struct packet *p, int met)
{
	if (bpf_map_lookup_elem(&service_addrs, &p->tuple.destination) ||
	    networks_of(&p->tuple.destination) & SERVICE_NETWORK)
		return refuse(skb, met);
	return LEAVE;
}

static __always_inline int forbid(void)
{
	count(FORBIDDEN_PACKETS);
	return DROP;
}

/* Serve the packet at work by one of a frontend's backends. */
GLOBAL int serve(struct __sk_buff *skb, int met, __u32 row, int outside)
{
	struct frontend *frontend = bpf_map_lookup_elem(&frontend_rows, &row);
	struct work *work = get_work();
	struct backend *backend;
	struct plan *plan;
	__u32 chosen;

	if (!frontend || !work)
		return DROP;
	plan = &work->plan;
	*plan = (struct plan){ .row = row, .set = *(volatile __u64 *)&frontend->set };
	chosen = choose_packets(row, *(volatile __u64 *)&frontend->options, plan->set);
	backend = chosen == NO_ROW ? NULL : backend_at(chosen);
	if (!backend)
		return outside ? forbid() : refuse(skb, met);
	plan->backend = backend->address;
	plan->port = backend->port;
	if (same_address(&plan->backend, &work->packet.tuple.destination) &&
	    plan->port == work->packet.tuple.destination_port)
		return LEAVE; /* the node's own server listens there */
	if (!plan_source(skb, &work->packet, met, outside, plan))
		return DROP;
	return begin_planned(skb, work, 0);
}

/* The packet at work is the first of a flow to what may be a Service. */
GLOBAL int begin_service(struct __sk_buff *skb, int met)
{
	struct work *work = get_work();
	struct frontend_key key = {};
	struct found found;
	__u64 flags;
	int outside;

	if (!work)
		return DROP;
	key.address = work->packet.tuple.destination;
	key.port = work->packet.tuple.destination_port;
	key.protocol = work->packet.tuple.protocol;
	found = find_asked(&key);
	if (!found.frontend)
		return without_frontend(skb, &work->packet, met);
	flags = *(volatile __u64 *)&found.frontend->options >> 32;
	if (flags & GUARDED && !may_ask(found.row, &work->packet.tuple.source))
		return forbid();
	outside = met == AT_UPLINK_IN && flags & HAS_OUTSIDE;
	if (outside) {
		key.scope = FROM_OUTSIDE;
		found = find_frontend(&key);
		if (!found.frontend)
			return forbid();
	}
	return serve(skb, met, found.row, outside);
}

/* The packet at work is a pod's first to the world, which sees the node. */
static __always_inline int begin_to_world(struct __sk_buff *skb, struct work *work)
{
	const struct packet *p = &work->packet;
	__u32 ifindex = skb->ifindex;
	struct uplink *uplink = bpf_map_lookup_elem(&uplinks, &ifindex);
	struct plan *plan = &work->plan;

	if (!uplink)
		return LEAVE;
	*plan = (struct plan){ .row = NO_FRONTEND, .backend = p->tuple.destination, .port = p->tuple.destination_port };
	plan->node = p->six ? uplink->ipv6 : uplink->ipv4;
	return is_unspecified(&plan->node) ? LEAVE : begin_planned(skb, work, 2);
}

/* A pod's packet to a Service leaves untranslated: no hook saw its socket. The agent puts pod_in at the pod's device, and the
 * pod sends again.
 */
static __always_inline int tell_unhooked(struct __sk_buff *skb, const struct packet *p)
{
	struct unhooked event = { p->tuple.source, skb->ingress_ifindex };

	bpf_ringbuf_output(&unhooked, &event, sizeof(event), 0);
	return DROP;
}

/* The packet at work leaves the node and is no known flow's: a pod's to the world, or one to a Service that no hook saw. */
GLOBAL int begin_outwards(struct __sk_buff *skb)
{
	struct work *work = get_work();
	const struct tuple *tuple;
	int from_pod;
	__u8 to;

	if (!work)
		return DROP;
	tuple = &work->packet.tuple;
	to = networks_of(&tuple->destination);
	if (to & (POD_NETWORK | NATIVE_NETWORK))
		return LEAVE;
	from_pod = networks_of(&tuple->source) & POD_NETWORK && !bpf_map_lookup_elem(&own_addrs, &tuple->source);
	if (!from_pod)
		return may_be_ours(&tuple->destination) || to & SERVICE_NETWORK ? TO_SERVICE : LEAVE;
	if (to & SERVICE_NETWORK || bpf_map_lookup_elem(&service_addrs, &tuple->destination))
		return tell_unhooked(skb, &work->packet);
	if (bpf_map_lookup_elem(&node_addrs, &tuple->destination))
		return LEAVE;
	return begin_to_world(skb, work);
}

/* The packet at work is a pod's. To no Service, but maybe to the backend of a translated flow from the same port, its answers
 * would be taken for that one's: the backend is to see another port, or the flow is over.
 */
GLOBAL int begin_beside(struct __sk_buff *skb)
{
	struct work *work = get_work();
	struct tuple *tuple, *reply;
	__u32 element;

	if (!work)
		return DROP;
	tuple = &work->packet.tuple;
	if (may_be_ours(&tuple->destination) || networks_of(&tuple->destination) & SERVICE_NETWORK)
		return TO_SERVICE;
	reply = &work->quoted;
	*reply = (struct tuple){ tuple->destination, tuple->source,   tuple->destination_port,
				 tuple->source_port, tuple->protocol, AS_IT_GOES };
	if (!find(reply, &element) || (element & 3) != 3 || forget_flow(element >> 2, IF_OVER_OR_CLOSED))
		return LEAVE;
	work->plan = (struct plan){ .backend = tuple->destination,
				    .node = tuple->source,
				    .row = NO_FRONTEND,
				    .port = tuple->destination_port,
				    .flags = EARLY };
	return begin_planned(skb, work, 0);
}

static __always_inline int begin(struct __sk_buff *skb, const struct packet *p, enum met met)
{
	struct work *work = get_work();
	int done = TO_SERVICE;

	if (is_later_fragment(p) || met == AT_POD_OUT || !may_begin(p) || !work)
		return LEAVE;
	work->packet = *p;
	if (met == AT_POD_IN)
		done = begin_beside(skb);
	if (met == AT_UPLINK_OUT)
		done = begin_outwards(skb);
	if (done == TO_SERVICE)
		done = is_icmp(p) ? LEAVE : begin_service(skb, met);
	return done == BEGUN ? translate_first(skb) : done;
}

/* A packet whose addresses may be ours. */
static __always_inline int look_at(struct __sk_buff *skb, struct packet *p, enum met met)
{
	struct flow *flow;
	__u32 element, kind;

	if (!parse_ports(skb, p))
		return LEAVE;
	if (is_icmp(p) && !p->echo)
		return begin_error(skb, p);
	flow = is_later_fragment(p) ? find_fragments(p, &element) : find(&p->tuple, &element);
	if (!flow)
		return begin(skb, p, met);
	kind = element & 3;
	if ((!kind || (kind == 2 && flow->row == NO_FRONTEND)) && !is_later_fragment(p) &&
	    !goes_on(flow, element >> 2, p)) {
		forget_flow(element >> 2, ANYHOW);
		return begin(skb, p, met);
	}
	if (kind & 1 && (p->flags & (SYN | ACK)) == (SYN | ACK) && is_closed(flow)) {
		forget_flow(element >> 2, ANYHOW); /* another connection, of which we have not seen the client's SYN */
		return LEAVE;
	}
	if (p->fragment == MORE_FRAGMENTS)
		remember_fragments(p, element);
	note(flow, kind, p);
	return translate_packet(skb, p, flow, kind);
}

#endif
