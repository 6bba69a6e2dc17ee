/* SPDX-License-Identifier: GPL-2.0-only */
/* Host routing, if configured: an incoming packet is translated completely and redirected to the device by which it
 * leaves, past the node's stack, and so past netfilter and the queueing disciplines of pods' devices. Packets between
 * pods are redirected too.
 *
 * The routes are the stack's own, looked up once a second. Whenever the stack might do more than forward a packet, it
 * gets the packet as it would without host routing, and the programs at the outgoing device do their part.
 */
#ifndef SOCKLB_HOST_ROUTING_H
#define SOCKLB_HOST_ROUTING_H

#include <linux/tcp.h>
#include <linux/udp.h>

#include "serve.h"

#define LEAVE TC_ACT_UNSPEC /* to the next program */
#define DROP TC_ACT_SHOT
/* From <linux/if_packet.h>, the frame's receiver: this node, not another and no multicast; another host. */
#define PACKET_HOST 0
#define PACKET_OTHERHOST 3
#define LONGEST 0xffff
#define HOPS_USED_UP 0x100
#define DONE 0x736c /* "sl": the mark of a packet for the egress of its device, where nothing is left to do */

/* Whether packets from this address are routed: not multicast, link-local or host-local. */
static __always_inline int is_routed(const struct address *a)
{
	__u8 first = is_ipv4(a) ? bpf_ntohl(a->word[3]) >> 24 : bpf_ntohl(a->word[0]) >> 24;

	if (is_ipv4(a))
		return first && first != 127 && first < 224;
	return (first & 0xe0) == 0x20 || (first & 0xfe) == 0xfc; /* 2000::/3, fc00::/7 */
}

/* Whether the stack would only route a packet. A mark may be for the stack's rules; a source address of the node itself
 * is forged.
 */
static __always_inline int is_ordinary(const struct __sk_buff *skb, const struct packet *p)
{
	__u32 header = p->six ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	/* no branches, each of which would double the paths that the verifier walks */
	__u32 odd = (skb->pkt_type ^ PACKET_HOST) | skb->mark | p->fragment | (p->l4 ^ (L3 + header));

	return !odd && (!is_icmp(p) || p->echo) && is_routed(&p->tuple.source) && !may_be_ours(&p->tuple.source);
}

/* Return the length of an IP packet on the wire; for a packet that the device segments, that of a segment. */
static __always_inline __u32 wire_length(const struct __sk_buff *skb, const struct packet *p)
{
	const struct tcphdr *tcp = start(skb) + (p->six ? L3 + sizeof(struct ipv6hdr) : L3 + sizeof(struct iphdr));

	if (!skb->gso_size)
		return skb->len - L3;
	if (p->tuple.protocol != IPPROTO_TCP)
		return p->l4 - L3 + sizeof(struct udphdr) + skb->gso_size;
	if ((void *)(tcp + 1) > end(skb))
		return LONGEST + 1;
	return p->l4 - L3 + tcp->doff * 4 + skb->gso_size;
}

/* Return the traffic class, on which the route may depend; HOPS_USED_UP: the packet may not be forwarded. */
static __always_inline __u32 class_of(const struct __sk_buff *skb, const struct packet *p)
{
	const struct ipv6hdr *six = start(skb) + L3;
	const struct iphdr *four = start(skb) + L3;

	if (p->six) {
		if ((void *)(six + 1) > end(skb) || six->hop_limit <= 1)
			return HOPS_USED_UP;
		return bpf_ntohl(*(const __be32 *)six) >> 20 & 0xff;
	}
	if ((void *)(four + 1) > end(skb) || four->ttl <= 1)
		return HOPS_USED_UP;
	return four->tos;
}

/* Look up the route of packets with this tuple and this length. 0: left to the stack. */
static __always_inline int ask_routes(struct __sk_buff *skb, int six, const struct tuple *to, __u32 class, __u32 length,
				      struct way *way)
{
	struct bpf_fib_lookup fib = { .ifindex = skb->ifindex, .l4_protocol = to->protocol, .tot_len = length };
	__u32 device;
	__u8 *how;

	fib.family = six ? AF_INET6 : AF_INET;
	if (six) {
		fib.flowinfo = bpf_htonl(class << 20);
		__builtin_memcpy(fib.ipv6_src, &to->source, sizeof(to->source));
		__builtin_memcpy(fib.ipv6_dst, &to->destination, sizeof(to->destination));
	} else {
		fib.tos = class;
		fib.ipv4_src = to->source.word[3];
		fib.ipv4_dst = to->destination.word[3];
	}
	/* Too long for the route, an unknown neighbour, the node itself, or no route: the stack handles it. */
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	device = fib.ifindex;
	how = bpf_map_lookup_elem(&ways, &device);
	if (!how)
		return 0;
	way->source = to->source;
	way->destination = to->destination;
	way->from = skb->ifindex;
	way->device = device;
	way->time = ticks();
	way->family = fib.family; /* the gateway's */
	way->longest = fib.tot_len; /* the route's MTU, or before Linux 5.12 the requested length */
	way->class = class;
	way->how = *how;
	__builtin_memcpy(&way->hop, fib.ipv6_dst, sizeof(way->hop));
	__builtin_memcpy(way->macs, fib.dmac, ETH_ALEN);
	__builtin_memcpy(way->macs + ETH_ALEN, fib.smac, ETH_ALEN);
	return 1;
}

/* Return the route of a packet after its translation into this tuple; NULL: left to the stack. */
static __noinline struct way *find_way(struct __sk_buff *skb, const struct packet *p, const struct tuple *to)
{
	__u32 number = (filter_bit(&to->destination) + 31 * filter_bit(&to->source)) % MAX_KNOWN_WAYS;
	__u32 length = wire_length(skb, p), class = class_of(skb, p);
	struct way *way = bpf_map_lookup_elem(&known_ways, &number);
	__u32 differs;

	if (!way || !is_ordinary(skb, p) || length > LONGEST || class == HOPS_USED_UP)
		return NULL;
	differs = (way->time ^ ticks()) | (way->from ^ skb->ifindex) | (way->class ^ class) |
		  differ(&way->destination, &to->destination) | differ(&way->source, &to->source);
	if ((differs || way->longest < length) && !ask_routes(skb, p->six, to, class, length, way))
		return NULL;
	return way->how ? way : NULL;
}

/* Decrement the TTL or hop limit. */
static __always_inline int lower_hops(struct __sk_buff *skb, const struct packet *p)
{
	struct iphdr *four = start(skb) + L3;
	struct {
		__be16 length;
		__u8 next, hop_limit;
	} six;
	__u32 check;

	if (p->six) { /* the checksum by the device includes this field */
		if (bpf_skb_load_bytes(skb, L3 + 4, &six, sizeof(six)))
			return -1;
		six.hop_limit--;
		return bpf_skb_store_bytes(skb, L3 + 4, &six, sizeof(six), BPF_F_RECOMPUTE_CSUM);
	}
	if ((void *)(four + 1) > end(skb))
		return -1;
	check = four->check + bpf_htons(0x0100);
	four->check = check + (check >= 0xffff);
	four->ttl--;
	return 0;
}

static __always_inline int hand_on(struct __sk_buff *skb, const struct packet *p, const struct way *way)
{
	struct bpf_redir_neigh hop = { .nh_family = way->family };
	__u32 device = way->device;
	struct ethhdr *head;

	if (lower_hops(skb, p))
		return DROP;
	if (way->how == TO_NEIGHBOUR) {
		skb->tc_index = DONE;
		__builtin_memcpy(hop.ipv6_nh, &way->hop, sizeof(hop.ipv6_nh));
		return bpf_redirect_neigh(device, &hop, sizeof(hop), 0);
	}
	head = start(skb);
	if ((void *)(head + 1) > end(skb))
		return DROP;
	__builtin_memcpy(head, way->macs, sizeof(way->macs));
	return bpf_redirect_peer(device, 0);
}

/* Translate the current packet, of this kind of the flow of a row, as it would be here and where it leaves, and
 * redirect it. LEAVE: left to the stack, and unchanged.
 */
GLOBAL int translate_and_hand_on(struct __sk_buff *skb, __u32 row, __u32 kind)
{
	struct flow *flow = flow_at(row);
	struct work *work = get_work();
	struct way *way;

	if (!packet_facts.host_routing || !flow || !work)
		return LEAVE;
	work->becomes.protocol = work->packet.tuple.protocol;
	fill_in(flow, translated_parts(flow->ports[NODE] ? kind | 2 : kind & 3, 0), &work->becomes); /* masqueraded */
	way = find_way(skb, &work->packet, &work->becomes);
	if (!way)
		return LEAVE;
	return rewrite(skb, &work->packet, &work->becomes) ? DROP : hand_on(skb, &work->packet, way);
}

/* Whether pods send to this address with their own. */
static __always_inline int is_native(const struct address *address)
{
	return networks_of(address) & (POD_NETWORK | NATIVE_NETWORK) || bpf_map_lookup_elem(&node_addrs, address);
}

/* Redirect the current packet, which is not translated, if it goes to a pod, or to where pods send with their own
 * address. A packet that would go back where it came from is left to the stack, which tells the sender the better
 * route.
 */
GLOBAL int hand_on_plain(struct __sk_buff *skb)
{
	struct work *work = get_work();
	struct way *way;

	if (!packet_facts.host_routing || !work)
		return LEAVE;
	way = find_way(skb, &work->packet, &work->packet.tuple);
	if (!way || way->device == skb->ifindex)
		return LEAVE;
	if (way->how == TO_NEIGHBOUR && !is_native(&work->packet.tuple.destination))
		return LEAVE;
	return hand_on(skb, &work->packet, way);
}

/* Redirect the current packet, which is not translated as it comes in, unless it may be translated as it leaves: no
 * program would see it leave.
 */
GLOBAL int route_on(struct __sk_buff *skb)
{
	struct work *work = get_work();
	struct packet *p;
	struct flow *flow;
	__u32 element;

	if (!packet_facts.host_routing || !work)
		return LEAVE;
	p = &work->packet;
	if (!parse_ports(skb, p) || p->fragment)
		return LEAVE;
	p->tuple.place = AS_IT_GOES;
	flow = may_be_pair(&p->tuple.source, &p->tuple.destination) ? find(&p->tuple, &element) : NULL;
	if (!flow)
		return hand_on_plain(skb);
	if ((element & 3) != 3 || ((p->flags & (SYN | ACK)) == (SYN | ACK) && is_closed(flow)))
		return LEAVE;
	note(flow, 3, p);
	return translate_and_hand_on(skb, element >> 2, 3);
}

/* Whether an outgoing packet was redirected here. */
static __always_inline int is_done(struct __sk_buff *skb)
{
	if (!packet_facts.host_routing || skb->tc_index != DONE)
		return 0;
	skb->tc_index = 0;
	return 1;
}

/* Clear what an incoming packet carries: its sender, a pod or another node of this machine, may have set it. */
static __always_inline void believe_nothing(struct __sk_buff *skb)
{
	if (packet_facts.host_routing && skb->tc_index)
		skb->tc_index = 0;
}

/* Pass a packet that belongs to no flow, or that is not translated here. */
static __always_inline int pass(struct __sk_buff *skb, const struct packet *p)
{
	struct work *work;

	if (!packet_facts.host_routing) /* then nothing else is done */
		return LEAVE;
	work = get_work();
	if (!work)
		return LEAVE;
	work->packet = *p;
	return route_on(skb);
}

#endif
