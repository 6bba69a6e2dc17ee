/* SPDX-License-Identifier: GPL-2.0-only */
/* A packet, and what identifies its flow. */
#ifndef SOCKLB_PACKET_H
#define SOCKLB_PACKET_H

#include <stddef.h>
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "address.h"

#ifndef ETHERNET
#define ETHERNET 1 /* 0: for devices whose packets begin with the IP header, such as tunnels */
#endif
#define L3 (ETHERNET ? ETH_HLEN : 0)
#define LO 1 /* in every network namespace */
#define MAX_L4 256 /* no L4 header begins after this byte */
#define MAX_EXTENSIONS 6
#define MORE_FRAGMENTS 0x2000
#define FRAGMENT_PLACE 0x1fff

/* <linux/icmp.h> brings in the C library. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_PORT_UNREACH 3

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16
#define SCTP_INIT 1
#define SCTP_ABORT 6
#define SCTP_SHUTDOWN 7
#define SCTP_SHUTDOWN_COMPLETE 14

/* A function that the verifier walks separately, once. It may take the packet and numbers, but no pointers (kernels
 * before 5.12); everything else is in `work`.
 */
#define GLOBAL __attribute__((noinline))

struct packet {
	struct tuple tuple;
	__u32 l4; /* offset of its header */
	__be32 id; /* of a fragment */
	__u16 fragment; /* as in IPv4: the fragment's offset, and MORE_FRAGMENTS; 0: not a fragment */
	__u8 six;
	__u8 flags; /* of TCP, or of an SCTP chunk in their terms */
	__u8 echo; /* ICMP: 1 an echo request, 2 a reply; 0 anything else */
};

static __always_inline int is_later_fragment(const struct packet *p)
{
	return p->fragment & FRAGMENT_PLACE;
}

static __always_inline void *start(const struct __sk_buff *skb)
{
	return (void *)(long)skb->data;
}

static __always_inline void *end(const struct __sk_buff *skb)
{
	return (void *)(long)skb->data_end;
}

static __always_inline struct address ipv6(const struct in6_addr *a)
{
	const __be32 *word = (const __be32 *)a;

	return (struct address){ { word[0], word[1], word[2], word[3] } };
}

/* Make headers accessible to the program; a driver may have left them in pages. */
static __always_inline void pull(struct __sk_buff *skb, __u32 length)
{
	if (start(skb) + length > end(skb))
		bpf_skb_pull_data(skb, skb->len < length ? skb->len : length);
}

static __always_inline int is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_FRAGMENT;
}

/* Skip the extension headers of IPv6, which begin at `l4`: return a fragment's id << 32 | fragment << 16 | protocol <<
 * 8 | offset of its header. 0: there are too many.
 */
GLOBAL __u64 skip_extensions(struct __sk_buff *skb, __u32 protocol, __u32 l4)
{
	struct {
		__u8 next, length;
		__be16 place;
		__be32 id;
	} head;
	__u32 fragment = 0, id = 0;

	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		if (!is_extension(protocol) || fragment & FRAGMENT_PLACE)
			break;
		if (bpf_skb_load_bytes(skb, l4, &head, sizeof(head)))
			return 0;
		if (protocol == IPPROTO_FRAGMENT) {
			fragment = bpf_ntohs(head.place) >> 3 | (bpf_ntohs(head.place) & 1) << 13;
			id = head.id;
			head.length = 0;
		}
		protocol = head.next;
		l4 += (head.length + 1) * 8;
	}
	if (l4 >= MAX_L4)
		return 0;
	return (__u64)id << 32 | fragment << 16 | protocol << 8 | l4;
}

static __always_inline int parse4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr *ip = start(skb) + L3;

	if ((void *)(ip + 1) > end(skb) || ip->version != 4 || ip->ihl < 5)
		return 0;
	p->tuple.source = ipv4(ip->saddr);
	p->tuple.destination = ipv4(ip->daddr);
	p->tuple.protocol = ip->protocol;
	p->l4 = L3 + ip->ihl * 4;
	p->id = ip->id;
	p->fragment = bpf_ntohs(ip->frag_off) & (MORE_FRAGMENTS | FRAGMENT_PLACE);
	return 1;
}

static __always_inline int parse6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr *ip = start(skb) + L3;
	__u64 behind;

	if ((void *)(ip + 1) > end(skb))
		return 0;
	p->tuple.source = ipv6(&ip->saddr);
	p->tuple.destination = ipv6(&ip->daddr);
	p->tuple.protocol = ip->nexthdr;
	p->l4 = L3 + sizeof(*ip);
	p->six = 1;
	if (!is_extension(ip->nexthdr))
		return 1;
	behind = skip_extensions(skb, ip->nexthdr, L3 + sizeof(*ip));
	p->id = behind >> 32;
	p->fragment = behind >> 16;
	p->tuple.protocol = behind >> 8;
	p->l4 = behind & 0xff;
	return behind != 0;
}

/* Read the addresses of a packet; 0 if it is not IP, or is tagged for a VLAN's device. */
static __always_inline int parse_addresses(struct __sk_buff *skb, struct packet *p, __u8 place)
{
	p->tuple.source_port = p->tuple.destination_port = p->tuple.pad = 0;
	p->tuple.place = place;
	p->six = p->flags = p->fragment = p->echo = 0;
	p->id = 0;
	if (skb->vlan_present)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		pull(skb, L3 + sizeof(struct iphdr));
		return parse4(skb, p);
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		pull(skb, L3 + sizeof(struct ipv6hdr));
		return parse6(skb, p);
	}
	return 0;
}

/* Return what an SCTP packet does, in terms of TCP. */
static __always_inline __u8 sctp_flags(__u8 chunk)
{
	switch (chunk) {
	case SCTP_INIT:
		return SYN;
	case SCTP_SHUTDOWN:
	case SCTP_SHUTDOWN_COMPLETE:
		return FIN | ACK;
	case SCTP_ABORT:
		return RST;
	default:
		return ACK;
	}
}

static __always_inline int is_icmp(const struct packet *p)
{
	return p->tuple.protocol == (p->six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

/* Return 1 for an echo request, 2 for a reply. */
static __always_inline __u8 echo_of(int six, __u8 type)
{
	if (six)
		return type == ICMPV6_ECHO_REQUEST ? 1 : type == ICMPV6_ECHO_REPLY ? 2 : 0;
	return type == ICMP_ECHO ? 1 : type == ICMP_ECHOREPLY ? 2 : 0;
}

/* Read the ports, or their substitute. 0: a protocol that is not handled. A later fragment has none. */
static __always_inline int parse_ports(struct __sk_buff *skb, struct packet *p)
{
	__u8 protocol = p->tuple.protocol;
	__u32 l4 = p->l4;
	__u8 *head;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP && !is_icmp(p))
		return 0;
	if (is_later_fragment(p))
		return 1;
	if (l4 >= MAX_L4)
		return 0;
	pull(skb, l4 + (protocol == IPPROTO_UDP || is_icmp(p) ? 8 : protocol == IPPROTO_TCP ? 20 : 16));
	head = start(skb) + l4;
	if ((void *)head + 8 > end(skb))
		return 0;
	if (is_icmp(p)) {
		p->echo = echo_of(p->six, head[0]);
		if (p->echo == 1)
			p->tuple.source_port = *(__be16 *)(head + 4);
		else if (p->echo == 2)
			p->tuple.destination_port = *(__be16 *)(head + 4);
		return 1;
	}
	p->tuple.source_port = *(__be16 *)head;
	p->tuple.destination_port = *(__be16 *)(head + 2);
	if (protocol == IPPROTO_UDP)
		return 1;
	if ((void *)head + 14 > end(skb))
		return 0;
	p->flags = protocol == IPPROTO_TCP ? head[13] : sctp_flags(head[12]);
	return 1;
}

#endif
