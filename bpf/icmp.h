/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets without ports of their own: ICMP errors, which quote the packet that caused them, and later fragments. */
#ifndef SOCKLB_ICMP_H
#define SOCKLB_ICMP_H

#include "ports.h"
#include "rewrite.h"

static __always_inline int is_error(const struct packet *p, __u8 type)
{
	if (p->six)
		return type < 128;
	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB ||
	       type == ICMP_SOURCE_QUENCH;
}

/* Read the quoted packet's tuple in reverse, as its answer would have it. */
static __noinline int parse_quoted(struct __sk_buff *skb, const struct packet *p, struct tuple *tuple, __u32 *l4)
{
	__u32 l3 = p->l4 + 8;
	__u64 behind;
	__u8 echo;
	__be16 ports[4];

	if (p->six) {
		struct ipv6hdr ip;

		if (l3 + sizeof(ip) >= MAX_L4 || bpf_skb_load_bytes(skb, l3, &ip, sizeof(ip)))
			return 0;
		tuple->source = ipv6(&ip.daddr);
		tuple->destination = ipv6(&ip.saddr);
		behind = ip.nexthdr << 8 | (l3 + sizeof(ip));
		if (is_extension(ip.nexthdr))
			behind = skip_extensions(skb, ip.nexthdr, l3 + sizeof(ip));
		if (!behind || behind >> 16 & FRAGMENT_PLACE)
			return 0;
		tuple->protocol = behind >> 8;
		*l4 = behind & 0xff;
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, l3, &ip, sizeof(ip)) || ip.frag_off & bpf_htons(FRAGMENT_PLACE))
			return 0;
		tuple->source = ipv4(ip.daddr);
		tuple->destination = ipv4(ip.saddr);
		tuple->protocol = ip.protocol;
		*l4 = l3 + ip.ihl * 4;
	}
	if (bpf_skb_load_bytes(skb, *l4, ports, sizeof(ports)))
		return 0;
	tuple->place = p->tuple.place;
	tuple->pad = 0;
	if (tuple->protocol == (p->six ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
		echo = echo_of(p->six, *(__u8 *)ports);
		tuple->source_port = echo == 2 ? ports[2] : 0;
		tuple->destination_port = echo == 1 ? ports[2] : 0;
		return echo;
	}
	tuple->source_port = ports[1];
	tuple->destination_port = ports[0];
	return tuple->protocol == IPPROTO_TCP || tuple->protocol == IPPROTO_UDP || tuple->protocol == IPPROTO_SCTP;
}

/* Translate the quoted packet, and update the ICMP checksum that covers it. The header checksum of a quoted IPv4 packet
 * compensates for its addresses; the checksum of its transport is left, because it is quoted only in part and cannot be
 * verified.
 */
static __noinline int rewrite_quoted(struct __sk_buff *skb, const struct packet *p, const struct tuple *from,
				     const struct tuple *to, __u32 l4)
{
	struct tuple sender = { to->destination, to->source, to->destination_port, to->source_port };
	__be16 both[2] = { sender.source_port, sender.destination_port };
	__u32 addresses = addresses_differ_by(from, to), ports = ports_differ_by(from, to);
	int echo = from->protocol == IPPROTO_ICMP || from->protocol == IPPROTO_ICMPV6;

	if (store_addresses(skb, p->six, p->l4 + 8, &sender, addresses))
		return -1;
	both[0] |= echo ? both[1] : 0;
	if (bpf_skb_store_bytes(skb, echo ? l4 + 4 : l4, both, echo ? 2 : 4, 0))
		return -1;
	if (p->six)
		bpf_l4_csum_replace(skb, p->l4 + 2, 0, addresses, 0);
	if (fold16(ports) != 0xffff)
		bpf_l4_csum_replace(skb, p->l4 + 2, 0, ports, 0);
	return 0;
}

/* An ICMP error goes to the sender of the packet that caused it, and quotes the packet as that sender knows it. */
GLOBAL int translate_error(struct __sk_buff *skb)
{
	struct work *work = get_work();
	struct tuple outer;
	__u32 element, l4, addresses;
	struct packet *p;
	struct flow *flow;
	__u8 type;

	if (!work)
		return TC_ACT_SHOT;
	p = &work->packet;
	outer = p->tuple;
	if (p->fragment || bpf_skb_load_bytes(skb, p->l4, &type, 1) || !is_error(p, type))
		return TC_ACT_UNSPEC;
	if (!parse_quoted(skb, p, &work->quoted, &l4))
		return TC_ACT_UNSPEC;
	flow = find(&work->quoted, &element);
	if (!flow)
		return TC_ACT_UNSPEC;
	becomes(flow, element & 3, &work->becomes);
	if (same_address(&outer.source, &work->quoted.source))
		outer.source = work->becomes.source;
	if (same_address(&outer.destination, &work->quoted.destination))
		outer.destination = work->becomes.destination;
	if (rewrite_quoted(skb, p, &work->quoted, &work->becomes, l4))
		return TC_ACT_SHOT;
	addresses = addresses_differ_by(&p->tuple, &outer);
	if (store_addresses(skb, p->six, L3, &outer, addresses))
		return TC_ACT_SHOT;
	if (p->six) {
		bpf_l4_csum_replace(skb, p->l4 + 2, 0, addresses, BPF_F_PSEUDO_HDR);
		bpf_csum_update(skb, addresses);
	}
	return TC_ACT_UNSPEC;
}

static __always_inline int begin_error(struct __sk_buff *skb, const struct packet *p)
{
	struct work *work = get_work();

	if (!work)
		return TC_ACT_UNSPEC;
	work->packet = *p;
	return translate_error(skb);
}

static __always_inline struct fragment fragment_of(const struct packet *p)
{
	return (struct fragment){ p->tuple.source, p->tuple.destination, p->id, p->tuple.protocol, p->tuple.place, 0 };
}

static __noinline void remember_fragments(const struct packet *p, __u32 element)
{
	struct fragment key = fragment_of(p);

	bpf_map_update_elem(&fragments, &key, &element, BPF_ANY);
}

/* Return the flow of a later fragment. */
static __noinline struct flow *find_fragments(const struct packet *p, __u32 *element)
{
	struct fragment key = fragment_of(p);
	__u32 *found = bpf_map_lookup_elem(&fragments, &key);

	if (!found)
		return NULL;
	*element = *(volatile __u32 *)found;
	return follow(*element, &p->tuple, 0);
}

#endif
