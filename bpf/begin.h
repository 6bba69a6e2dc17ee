/* SPDX-License-Identifier: GPL-2.0-only */
/* A packet without a known flow: whether it begins one, and which. */
#ifndef SOCKLB_BEGIN_H
#define SOCKLB_BEGIN_H

#include "host_routing.h"

/* Send a packet by a device, and let the kernel find the neighbour. It expects a link-layer header, which it removes.
 */
static __always_inline int send_by(struct __sk_buff *skb, __u32 device)
{
	if (!ETHERNET && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return DROP;
	return bpf_redirect_neigh(device, NULL, 0, 0);
}

GLOBAL int refuse(struct __sk_buff *skb, int met)
{
	struct work *work = get_work();
	__u32 device = 0;
	int own = 0;

	if (!work)
		return DROP;
	if (met == AT_UPLINK_IN && skb->pkt_type == PACKET_OTHERHOST)
		return LEAVE; /* a flooded frame for another host */
	if (met == AT_UPLINK_OUT) {
		own = !!bpf_map_lookup_elem(&own_addrs, &work->packet.tuple.source);
		if (!own)
			device = route(skb, 1);
	}
	if (make_refusal(skb))
		return DROP;
	if (device)
		return send_by(skb, device);
	return bpf_redirect(skb->ifindex, own ? BPF_F_INGRESS : 0);
}

/* What the program itself still has to do, because the kernel allows calls eight deep at most, with 512 bytes of stack.
 */
#define TO_SERVICE 1000 /* begin_service() */
#define BEGUN 1001 /* translate_first() */

/* Begin the planned flow; the current packet is of this kind. */
static __always_inline int begin_planned(struct __sk_buff *skb, struct work *work, __u32 kind)
{
	work->row = begin_flow(skb);
	work->kind = kind;
	return work->row == NONE ? DROP : BEGUN;
}

/* Plan a flow without a frontend for the current packet: to its own destination. Field by field, because a struct
 * literal would be built on the stack.
 */
static __always_inline struct plan *plan_directly(struct work *work)
{
	__builtin_memset(&work->plan, 0, sizeof(work->plan));
	work->plan.backend = work->packet.tuple.destination;
	work->plan.port = work->packet.tuple.destination_port;
	work->plan.row = NO_FRONTEND;
	return &work->plan;
}

/* Return the frontend of a packet, by its address or as a NodePort of this node. */
static __always_inline struct found find_asked(struct frontend_key *key)
{
	struct found found = find_frontend(key);

	if (found.frontend || !bpf_map_lookup_elem(&own_addrs, &key->address))
		return found;
	key->address = any_address(&key->address);
	return find_frontend(key);
}

/* Packets of this client, or the answers to it, arrive on a device without our programs: the agent is to attach pod_in
 * and pod_out there, or at the ports of that bridge.
 */
GLOBAL int tell_unhooked(__u32 device)
{
	struct unhooked event = { .ifindex = device };
	struct work *work = get_work();

	if (work)
		event.client = work->packet.tuple.source;
	return bpf_ringbuf_output(&unhooked, &event, sizeof(event), 0);
}

/* The client address that a pod sees if it is its own backend: the node's; if the node has no address, the Service's,
 * which a hooked server cannot answer over UDP.
 */
static __always_inline struct address stand_in(const struct packet *p)
{
	__u32 any = ANY_UPLINK;
	struct uplink *uplink = bpf_map_lookup_elem(&uplinks, &any);
	struct address node = {};

	if (uplink)
		node = p->six ? uplink->ipv6 : uplink->ipv4;
	return is_unspecified(&node) ? p->tuple.destination : node;
}

/* Return BY_LO if the agent serves the node's own processes at lo: see lo.py; else 0. */
static __always_inline __u8 by_lo(void)
{
	__u32 lo = LO;

	return bpf_map_lookup_elem(&pod_devices, &lo) ? BY_LO : 0;
}

/* Plan the client address that the backend sees, if its answer would not come back to the client through this node. 0:
 * it cannot be served.
 */
static __always_inline int plan_source(struct __sk_buff *skb, const struct packet *p, int met, int outside,
				       struct plan *plan)
{
	struct uplink *uplink;
	__u32 device;

	if (met == AT_POD_IN && same_address(&plan->backend, &p->tuple.source)) {
		plan->flags = REFLECTED;
		plan->node = stand_in(p);
		return 1;
	}
	if (met == AT_POD_IN && networks_of(&p->tuple.source) & (POD_NETWORK | NATIVE_NETWORK))
		return 1;
	if (met == AT_UPLINK_OUT && bpf_map_lookup_elem(&own_addrs, &plan->backend)) {
		plan->flags = REFLECTED | FROM_NODE | by_lo();
		plan->node = plan->flags & BY_LO ? p->tuple.source : p->tuple.destination;
		return 1;
	}
	device = route(skb, 0);
	uplink = outside ? NULL : bpf_map_lookup_elem(&uplinks, &device);
	if (met == AT_UPLINK_OUT) {
		plan->flags = skb->ifindex == LO ? FROM_NODE | BY_LO : FROM_NODE;
		plan->device = device;
		/* The node has no connection for the answer, and would reset it. The process sends again when the
		 * device has the programs.
		 */
		if (device && !uplink && !bpf_map_lookup_elem(&pod_devices, &device)) {
			tell_unhooked(device);
			return 0;
		}
		if (!device)
			return 0;
	}
	if (!uplink)
		return 1;
	plan->node = p->six ? uplink->ipv6 : uplink->ipv4;
	plan->masqueraded = !same_address(&plan->node, &p->tuple.source);
	return !is_unspecified(&plan->node);
}

/* No frontend: refuse an unused port of a Service's address, and an address that no Service has. */
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

/* Serve the current packet with one of a frontend's backends. */
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
	chosen = choose_packets(row, *(volatile __u64 *)&frontend->options, *(volatile __u64 *)&frontend->set);
	*plan = (struct plan){ .row = row, .at = chosen };
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

/* Whether the current packet is a datagram from outside to a pod itself, whose answer goes outside. */
GLOBAL int is_worlds_to_pod(void)
{
	struct work *work = get_work();
	const struct tuple *tuple;

	if (!work)
		return 0;
	tuple = &work->packet.tuple;
	return tuple->protocol == IPPROTO_UDP && !(networks_of(&tuple->source) & (POD_NETWORK | NATIVE_NETWORK)) &&
	       networks_of(&tuple->destination) & POD_NETWORK;
}

static __always_inline int is_worlds(const struct packet *p)
{
	struct work *work = p->tuple.protocol == IPPROTO_UDP ? get_work() : NULL;

	if (!work)
		return 0;
	work->packet = *p;
	return is_worlds_to_pod();
}

/* Make a flow that changes nothing: without it the answer would be taken for the pod's own first datagram to the
 * outside, and masqueraded. Without room for a flow the datagram comes in nevertheless.
 */
static __always_inline int let_in(struct __sk_buff *skb, struct work *work)
{
	plan_directly(work);
	return begin_planned(skb, work, 0) == BEGUN ? BEGUN : LEAVE;
}

/* The current packet is the first of a flow to what may be a Service. */
GLOBAL int begin_service(struct __sk_buff *skb, int met)
{
	struct work *work = get_work();
	struct found found, second = {};
	struct frontend_key *key;
	__u64 flags;

	if (!work)
		return DROP;
	if (met == AT_UPLINK_IN && is_worlds_to_pod())
		return let_in(skb, work);
	key = &work->asked;
	key->address = work->packet.tuple.destination;
	key->port = work->packet.tuple.destination_port;
	key->protocol = work->packet.tuple.protocol;
	key->scope = 0;
	found = find_asked(key);
	if (!found.frontend)
		return without_frontend(skb, &work->packet, met);
	flags = *(volatile __u64 *)&found.frontend->options >> 32;
	if (flags & GUARDED && !may_ask(found.row, &work->packet.tuple.source))
		return forbid();
	if (met == AT_UPLINK_IN && flags & HAS_OUTSIDE) {
		key->scope = FROM_OUTSIDE;
		second = find_frontend(key);
	}
	return serve(skb, met, second.frontend ? second.row : found.row, !!second.frontend);
}

/* The current packet is a pod's first one to the outside, which is to see the node's address. */
static __always_inline int begin_to_world(struct __sk_buff *skb, struct work *work)
{
	const struct packet *p = &work->packet;
	__u32 ifindex = skb->ifindex;
	struct uplink *uplink = bpf_map_lookup_elem(&uplinks, &ifindex);
	struct plan *plan;

	if (!uplink)
		return LEAVE;
	plan = plan_directly(work);
	plan->masqueraded = 1;
	plan->node = p->six ? uplink->ipv6 : uplink->ipv4;
	return is_unspecified(&plan->node) ? LEAVE : begin_planned(skb, work, 2);
}

static __always_inline int is_services(const struct tuple *tuple)
{
	struct frontend_key key = { tuple->destination, tuple->destination_port, tuple->protocol, 0 };

	return may_be_ours(&tuple->destination) &&
	       (find_frontend(&key).frontend || bpf_map_lookup_elem(&service_addrs, &tuple->destination));
}

/* The current packet leaves the node without a known flow: from a pod to the outside, or to a Service from a socket
 * that no hook saw.
 */
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
	if (to & SERVICE_NETWORK || is_services(tuple)) {
		/* The pod sends again when its device has the programs. */
		tell_unhooked(skb->ingress_ifindex);
		return DROP;
	}
	if (bpf_map_lookup_elem(&node_addrs, &tuple->destination))
		return LEAVE;
	return begin_to_world(skb, work);
}

/* The current packet is from a pod. If it goes not to a Service, but to the backend of a translated flow from the same
 * port, its answers would be taken for that flow's: the backend is to see another port, unless that flow is over.
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
	reply->source = tuple->destination;
	reply->destination = tuple->source;
	reply->source_port = tuple->destination_port;
	reply->destination_port = tuple->source_port;
	reply->protocol = tuple->protocol;
	reply->place = AS_IT_GOES;
	reply->pad = 0;
	if (!find(reply, &element) || (element & 3) != 3 || forget_flow(element >> 2, IF_OVER_OR_CLOSED))
		return LEAVE;
	plan_directly(work)->node = tuple->source;
	return begin_planned(skb, work, 0);
}

#endif
