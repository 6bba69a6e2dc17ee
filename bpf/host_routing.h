/* SPDX-License-Identifier: GPL-2.0-only */
/* Host routing, which the configuration asks for: a packet that comes in is translated all at once and handed on at the
 * device by which it leaves, past the node's stack, and so past netfilter and the queueing disciplines of pods' devices. So
 * is what pods send each other.
 *
 * The routes are the stack's own, asked for every packet. Whatever the stack might do more than to send a packet on, it
 * does: it gets the packet as it would without host routing, and the programs where it leaves do their part.
 */
#ifndef SOCKLB_HOST_ROUTING_H
#define SOCKLB_HOST_ROUTING_H

#include <linux/tcp.h>
#include <linux/udp.h>

#include "serve.h"

#define LEAVE TC_ACT_UNSPEC /* to whoever comes next */
#define DROP TC_ACT_SHOT
#define PACKET_HOST 0 /* of <linux/if_packet.h>: the frame is this node's, no other's and no multicast */
#define LONGEST 0xffff
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
	return skb->pkt_type == PACKET_HOST && !skb->mark && !p->fragment && (!is_icmp(p) || p->echo) &&
	       p->l4 == L3 + (p->six ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) &&
	       is_routed(&p->tuple.source) && !may_be_ours(&p->tuple.source);
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

/* What the route depends on besides addresses and ports, as the stack has it. 0: the packet may not go on. */
static __always_inline int note_header(const struct __sk_buff *skb, const struct packet *p, struct bpf_fib_lookup *fib)
{
	const struct ipv6hdr *six = start(skb) + L3;
	const struct iphdr *four = start(skb) + L3;

	if (p->six) {
		if ((void *)(six + 1) > end(skb))
			return 0;
		fib->family = AF_INET6;
		fib->flowinfo = *(const __be32 *)six & bpf_htonl(0x0fffffff);
		return six->hop_limit > 1;
	}
	if ((void *)(four + 1) > end(skb))
		return 0;
	fib->family = AF_INET;
	fib->tos = four->tos;
	return four->ttl > 1;
}

/* Find the next hop of a packet once it has this tuple, and how it gets there; 0: the stack is to send it. */
static __always_inline int find_way(struct __sk_buff *skb, const struct packet *p, const struct tuple *to,
			       struct bpf_fib_lookup *fib)
{
	__u32 length = wire_length(skb, p), device;
	__u8 *way;

	*fib = (struct bpf_fib_lookup){ .ifindex = skb->ifindex,
					.l4_protocol = to->protocol,
					.sport = to->source_port,
					.dport = to->destination_port,
					.tot_len = length };
	if (!is_ordinary(skb, p) || length > LONGEST || !note_header(skb, p, fib))
		return 0;
	if (p->six) {
		__builtin_memcpy(fib->ipv6_src, &to->source, sizeof(to->source));
		__builtin_memcpy(fib->ipv6_dst, &to->destination, sizeof(to->destination));
	} else {
		fib->ipv4_src = to->source.word[3];
		fib->ipv4_dst = to->destination.word[3];
	}
	/* Too long for the way, an unknown neighbour, the node itself, no way at all: the stack has an answer. */
	if (bpf_fib_lookup(skb, fib, sizeof(*fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	device = fib->ifindex;
	way = bpf_map_lookup_elem(&ways, &device);
	return way ? *way : 0;
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

/* Hand a packet on to the next hop that was found. */
static __always_inline int hand_on(struct __sk_buff *skb, const struct packet *p, const struct bpf_fib_lookup *fib,
				   int way)
{
	struct bpf_redir_neigh hop = { .nh_family = fib->family };
	struct ethhdr *head;

	if (lower_hops(skb, p))
		return DROP;
	if (way == TO_NEIGHBOUR) {
		skb->tc_index = DONE;
		__builtin_memcpy(hop.ipv6_nh, fib->ipv6_dst, sizeof(hop.ipv6_nh));
		return bpf_redirect_neigh(fib->ifindex, &hop, sizeof(hop), 0);
	}
	head = start(skb);
	if ((void *)(head + 1) > end(skb))
		return DROP;
	__builtin_memcpy(head->h_dest, fib->dmac, ETH_ALEN);
	__builtin_memcpy(head->h_source, fib->smac, ETH_ALEN);
	return bpf_redirect_peer(fib->ifindex, 0);
}

/* Change the packet at work, which is of this kind of the flow of a row, as that says here and where it would leave, and
 * hand it on. LEAVE: the stack is to send it, and nothing is changed.
 */
GLOBAL int translate_and_hand_on(struct __sk_buff *skb, __u32 row, __u32 kind)
{
	struct flow *flow = flow_at(row);
	struct work *work = get_work();
	struct bpf_fib_lookup fib;
	int way;

	if (!packet_facts.host_routing || !flow || !work)
		return LEAVE;
	work->becomes.protocol = work->packet.tuple.protocol;
	fill_in(flow, translated_parts(flow->ports[NODE] ? kind | 2 : kind & 3, 0), &work->becomes); /* masqueraded */
	way = find_way(skb, &work->packet, &work->becomes, &fib);
	if (!way)
		return LEAVE;
	return rewrite(skb, &work->packet, &work->becomes) ? DROP : hand_on(skb, &work->packet, &fib, way);
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
	struct bpf_fib_lookup fib;
	int way;

	if (!packet_facts.host_routing || !work)
		return LEAVE;
	way = find_way(skb, &work->packet, &work->packet.tuple, &fib);
	if (!way || fib.ifindex == skb->ifindex)
		return LEAVE;
	if (way == TO_NEIGHBOUR && !is_native(&work->packet.tuple.destination))
		return LEAVE;
	return hand_on(skb, &work->packet, &fib, way);
}

/* Hand on a packet that nobody translates as it comes: but maybe as it goes, and no program would see it go. */
static __noinline int route_on(struct __sk_buff *skb, struct packet *p)
{
	struct work *work = get_work();
	struct flow *flow;
	__u32 element;

	if (!parse_ports(skb, p) || p->fragment || !work)
		return LEAVE;
	p->tuple.place = AS_IT_GOES;
	work->packet = *p;
	flow = find(&p->tuple, &element);
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
static __always_inline int pass(struct __sk_buff *skb, struct packet *p)
{
	return packet_facts.host_routing ? route_on(skb, p) : LEAVE;
}

#endif
