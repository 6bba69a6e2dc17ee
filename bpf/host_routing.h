/* SPDX-License-Identifier: GPL-2.0-only */
/* Host routing, which the configuration asks for: a packet that comes in is translated all at once and handed on at the
 * device by which it leaves, past the node's stack, and so past netfilter and the queueing disciplines of pods' devices. So
 * is what pods send each other.
 *
 * The routes are the stack's own, asked once a second. Whatever the stack might do more than to send a packet on, it does:
 * it gets the packet as it would without host routing, and the programs where it leaves do their part.
 */
#ifndef SOCKLB_HOST_ROUTING_H
#define SOCKLB_HOST_ROUTING_H

#include <linux/tcp.h>
#include <linux/udp.h>

#include "serve.h"

#define LEAVE TC_ACT_UNSPEC /* to whoever comes next */
#define DROP TC_ACT_SHOT
/* Of <linux/if_packet.h>, whose frame it is: this node's, no other's and no multicast; another host's. */
#define PACKET_HOST 0
#define PACKET_OTHERHOST 3
#define LONGEST 0xffff
#define HOPS_USED_UP 0x100
#define DONE 0x736c /* "sl": what a packet carries to the egress of its device, where there is nothing left to do */

/* An address that packets are routed from: no multicast, and none that is valid at one link or one host alone. */
static __always_inline int is_routed(const struct address *a)
{
	__u8 first = is_ipv4(a) ? bpf_ntohl(a->word[3]) >> 24 : bpf_ntohl(a->word[0]) >> 24;

	if (is_ipv4(a))
		return first && first != 127 && first < 224;
	return (first & 0xe0) == 0x20 || (first & 0xfe) == 0xfc; /* 2000::/3, fc00::/7 */
}

/* Whether the stack would do no more with a packet than to route it. A mark may be for its rules; a source of the node's
 * own is forged.
 */
static __always_inline int is_ordinary(const struct __sk_buff *skb, const struct packet *p)
{
	__u32 header = p->six ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	/* no branches, each of which would double the paths that the verifier walks */
	__u32 odd = (skb->pkt_type ^ PACKET_HOST) | skb->mark | p->fragment | (p->l4 ^ (L3 + header));

	return !odd && (!is_icmp(p) || p->echo) && is_routed(&p->tuple.source) && !may_be_ours(&p->tuple.source);
}

/* How long an IP packet is on the wire; of one that the device has to cut, a piece. */
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

/* The class of traffic that the route may depend on; HOPS_USED_UP: the packet may not go on. */
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

/* Ask the node's routes for the way of packets with this tuple, one of which is this long. 0: the stack is to send it. */
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
	/* Too long for the way, an unknown neighbour, the node itself, no way at all: the stack has an answer. */
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
	way->family = fib.family; /* that of the gateway */
	way->longest = fib.tot_len; /* the way's MTU, or before Linux 5.12 what was asked for */
	way->class = class;
	way->how = *how;
	__builtin_memcpy(&way->hop, fib.ipv6_dst, sizeof(way->hop));
	__builtin_memcpy(way->macs, fib.dmac, ETH_ALEN);
	__builtin_memcpy(way->macs + ETH_ALEN, fib.smac, ETH_ALEN);
	return 1;
}

/* The way of a packet once it has this tuple; NULL: the stack is to send it. */
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

/* One hop less to go. */
static __always_inline int lower_hops(struct __sk_buff *skb, const struct packet *p)
{
	struct iphdr *four = start(skb) + L3;
	struct {
		__be16 length;
		__u8 next, hop_limit;
	} six;
	__u32 check;

	if (p->six) { /* summed by the device, the packet has this in the sum */
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

/* Change the packet at work, which is of this kind of the flow of a row, as that says here and where it would leave, and
 * hand it on. LEAVE: the stack is to send it, and nothing is changed.
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

/* Where pods send with their own address. */
static __always_inline int is_native(const struct address *address)
{
	return networks_of(address) & (POD_NETWORK | NATIVE_NETWORK) || bpf_map_lookup_elem(&node_addrs, address);
}

/* Hand on the packet at work, which is translated by nobody: to pods, and to where these send with their own address. To
 * send it back where it came from is for the stack, which tells the sender of the better way.
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

/* Hand on the packet at work, which nobody translates as it comes: but maybe as it goes, and no program would see it go. */
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

/* Whether a packet leaves that was handed on here. */
static __always_inline int is_done(struct __sk_buff *skb)
{
	if (!packet_facts.host_routing || skb->tc_index != DONE)
		return 0;
	skb->tc_index = 0;
	return 1;
}

/* What a packet carries when it comes in, its sender put there: a pod, or another node of this machine. */
static __always_inline void believe_nothing(struct __sk_buff *skb)
{
	if (packet_facts.host_routing && skb->tc_index)
		skb->tc_index = 0;
}

/* A packet that is nobody's, or whose time to be translated has not come. */
static __always_inline int pass(struct __sk_buff *skb, const struct packet *p)
{
	struct work *work;

	if (!packet_facts.host_routing) /* nothing else is done then */
		return LEAVE;
	work = get_work();
	if (!work)
		return LEAVE;
	work->packet = *p;
	return route_on(skb);
}

#endif
