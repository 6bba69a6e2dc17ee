/* SPDX-License-Identifier: GPL-2.0-only */
/* The answer to a packet for which there is no backend, or none any more: a TCP reset, or an ICMP error "port
 * unreachable". The packet is rewritten into it and sent back.
 *
 * Packets with IP options or extension headers are dropped instead. The checksum of a packet from this very host may
 * not be complete yet (CHECKSUM_PARTIAL): its field holds the sum of the pseudo-header, and the device adds the rest
 * later.
 */
#ifndef SOCKLB_REFUSE_H
#define SOCKLB_REFUSE_H

#include "ports.h"
#include "rewrite.h"

#define TTL 64
#define QUOTED 8 /* bytes after the IP header of the packet that an ICMP error quotes */

struct tcp_reset {
	__be16 source, destination;
	__be32 sequence, acknowledged;
	__u8 length, flags;
	__be16 window, check, urgent;
};

struct icmp_error {
	__u8 type, code;
	__be16 check;
	__be32 unused;
};

/* Return the sum of the pseudo-header, which is the same in both directions. The words of a mapped IPv4 address add
 * nothing.
 */
static __always_inline __u16 pseudo_sum(const struct tuple *tuple, __u8 protocol, __u16 length)
{
	const __u32 *word = tuple->source.word;
	__u64 sum = bpf_htons(length) + bpf_htons(protocol);

#pragma unroll
	for (int i = 0; i < 8; i++)
		sum += word[i];
	return fold16(fold32(sum));
}

static __always_inline __u32 sum_of(const void *from, __u32 size)
{
	return bpf_csum_diff(NULL, 0, (__be32 *)from, size, 0);
}

/* Write the IP header of an answer. */
static __noinline int store_ip(struct __sk_buff *skb, const struct packet *p, __u32 protocol, __u32 length)
{
	if (p->six) {
		struct ipv6hdr ip = {
			.version = 6, .payload_len = bpf_htons(length), .nexthdr = protocol, .hop_limit = TTL
		};

		__builtin_memcpy(&ip.saddr, &p->tuple.destination, sizeof(ip.saddr));
		__builtin_memcpy(&ip.daddr, &p->tuple.source, sizeof(ip.daddr));
		return bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0);
	}
	struct iphdr ip = { .version = 4,
			    .ihl = 5,
			    .tot_len = bpf_htons(sizeof(ip) + length),
			    .frag_off = bpf_htons(0x4000),
			    .ttl = TTL,
			    .protocol = protocol,
			    .saddr = p->tuple.destination.word[3],
			    .daddr = p->tuple.source.word[3] };

	ip.check = ~fold16(sum_of(&ip, sizeof(ip)));
	return bpf_skb_store_bytes(skb, L3, &ip, sizeof(ip), 0);
}

static __always_inline int swap_macs(struct __sk_buff *skb)
{
	__u8 macs[2 * ETH_ALEN], turned[2 * ETH_ALEN];

	if (!ETHERNET)
		return 0;
	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return -1;
	__builtin_memcpy(turned, macs + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(turned + ETH_ALEN, macs, ETH_ALEN);
	return bpf_skb_store_bytes(skb, 0, turned, sizeof(turned), 0);
}

GLOBAL int make_reset(struct __sk_buff *skb)
{
	struct work *work = get_work();
	struct tcp_reset tcp;
	struct packet *p;
	__u16 length, pseudo;

	if (!work)
		return -1;
	p = &work->packet;
	length = skb->len - p->l4;

	if (bpf_skb_load_bytes(skb, p->l4, &tcp, sizeof(tcp)))
		return -1;
	pseudo = pseudo_sum(&p->tuple, p->tuple.protocol, sizeof(tcp));
	length = tcp.check == pseudo_sum(&p->tuple, p->tuple.protocol, length);
	/* RFC 9293, 3.10.7.1: the sequence number is the acknowledgment number of the packet. */
	tcp = (struct tcp_reset){ .source = tcp.destination,
				  .destination = tcp.source,
				  .sequence = tcp.flags & ACK ? tcp.acknowledged : 0,
				  .acknowledged = tcp.flags & ACK ? 0 : bpf_htonl(bpf_ntohl(tcp.sequence) + 1),
				  .length = sizeof(tcp) / 4 << 4,
				  .flags = tcp.flags & ACK ? RST : RST | ACK };
	tcp.check = length ? pseudo : ~fold16(fold32((__u64)sum_of(&tcp, sizeof(tcp)) + pseudo));
	if (bpf_skb_change_tail(skb, p->l4 + sizeof(tcp), 0) || bpf_skb_store_bytes(skb, p->l4, &tcp, sizeof(tcp), 0))
		return -1;
	return store_ip(skb, p, IPPROTO_TCP, sizeof(tcp));
}

/* Return the sum of the quoted bytes, as it will be when their own checksum is complete: a datagram with a correct
 * checksum adds up to the negative sum of its pseudo-header.
 */
static __always_inline __u32 quoted_sum(const struct packet *p, const __u8 *quoted, __u32 header, __u16 length)
{
	__u16 check = *(__u16 *)(quoted + header + 6);

	if (p->tuple.protocol == IPPROTO_UDP && check == pseudo_sum(&p->tuple, p->tuple.protocol, length))
		return sum_of(quoted, header) + (__u16)~check;
	return sum_of(quoted, header + QUOTED);
}

GLOBAL int make_unreachable4(struct __sk_buff *skb)
{
	__u8 quoted[sizeof(struct iphdr) + QUOTED] __attribute__((aligned(8)));
	struct icmp_error icmp = { .type = ICMP_DEST_UNREACH, .code = ICMP_PORT_UNREACH };
	struct work *work = get_work();
	struct packet *p;
	__u32 sum;

	if (!work)
		return -1;
	p = &work->packet;
	if (bpf_skb_load_bytes(skb, L3, quoted, sizeof(quoted)))
		return -1;
	sum = quoted_sum(p, quoted, sizeof(struct iphdr), skb->len - p->l4);
	icmp.check = ~fold16(fold32((__u64)sum + sum_of(&icmp, sizeof(icmp))));
	if (bpf_skb_change_tail(skb, L3 + sizeof(quoted), 0) ||
	    bpf_skb_adjust_room(skb, sizeof(struct iphdr) + sizeof(icmp), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, L3 + sizeof(struct iphdr), &icmp, sizeof(icmp), 0))
		return -1;
	return store_ip(skb, p, IPPROTO_ICMP, sizeof(icmp) + sizeof(quoted));
}

GLOBAL int make_unreachable6(struct __sk_buff *skb)
{
	__u8 quoted[sizeof(struct ipv6hdr) + QUOTED] __attribute__((aligned(8)));
	struct icmp_error icmp = { .type = ICMPV6_DEST_UNREACH, .code = ICMPV6_PORT_UNREACH };
	struct work *work = get_work();
	struct packet *p;
	__u64 sum;

	if (!work)
		return -1;
	p = &work->packet;
	if (bpf_skb_load_bytes(skb, L3, quoted, sizeof(quoted)))
		return -1;
	sum = quoted_sum(p, quoted, sizeof(struct ipv6hdr), skb->len - p->l4);
	sum += sum_of(&icmp, sizeof(icmp)) +
	       (__u64)pseudo_sum(&p->tuple, IPPROTO_ICMPV6, sizeof(icmp) + sizeof(quoted));
	icmp.check = ~fold16(fold32(sum));
	if (bpf_skb_change_tail(skb, L3 + sizeof(quoted), 0) ||
	    bpf_skb_adjust_room(skb, sizeof(struct ipv6hdr) + sizeof(icmp), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, L3 + sizeof(struct ipv6hdr), &icmp, sizeof(icmp), 0))
		return -1;
	return store_ip(skb, p, IPPROTO_ICMPV6, sizeof(icmp) + sizeof(quoted));
}

/* Rewrite the packet into its own refusal. 0: done. */
GLOBAL int make_refusal(struct __sk_buff *skb)
{
	struct work *work = get_work();
	struct packet *p;

	if (!work)
		return -1;
	p = &work->packet;
	if (p->fragment || p->l4 != L3 + (p->six ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)))
		return -1;
	count(REFUSED_PACKETS);
	if (p->tuple.protocol == IPPROTO_TCP)
		return make_reset(skb) || swap_macs(skb);
	return (p->six ? make_unreachable6(skb) : make_unreachable4(skb)) || swap_macs(skb);
}

#endif
