/* SPDX-License-Identifier: GPL-2.0-only */
/* Rewrite a packet to another tuple, with all checksums. */
#ifndef SOCKLB_REWRITE_H
#define SOCKLB_REWRITE_H

#include "packet.h"
#include "sctp.h"

static __always_inline __u32 fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static __always_inline __u16 fold16(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Return by how much a checksum changes when the addresses of one tuple are replaced by another's. */
static __always_inline __u32 addresses_differ_by(const struct tuple *from, const struct tuple *to)
{
	const __u32 *old = from->source.word, *new = to->source.word;
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < 8; i++)
		sum += (__u64)(__u32)~old[i] + new[i];
	return fold32(sum);
}

static __always_inline __u32 ports_differ_by(const struct tuple *from, const struct tuple *to)
{
	return (__u32)(__u16)~from->source_port + (__u16)~from->destination_port + to->source_port +
	       to->destination_port;
}

/* Store the addresses, and for IPv4 the header checksum. */
static __always_inline int store_addresses(struct __sk_buff *skb, int six, __u32 l3, const struct tuple *to, __u32 sum)
{
	__be32 both[2] = { to->source.word[3], to->destination.word[3] };

	if (six)
		return bpf_skb_store_bytes(skb, l3 + offsetof(struct ipv6hdr, saddr), &to->source, 32, 0);
	if (bpf_l3_csum_replace(skb, l3 + offsetof(struct iphdr, check), 0, sum, 0))
		return -1;
	return bpf_skb_store_bytes(skb, l3 + offsetof(struct iphdr, saddr), both, sizeof(both), 0);
}

/* The part after the first ten bytes of an IPv4 header without options. */
struct heads {
	__u16 check;
	__be32 addresses[2];
	__be16 ports[2];
} __attribute__((packed, aligned(2)));

/* Whether a packet is like nearly all packets, so that one store changes everything except the transport checksum: two
 * helper calls less, some 50 ns.
 */
static __always_inline int has_plain_heads(const struct packet *p)
{
	return !p->six && p->l4 == L3 + sizeof(struct iphdr) && !is_later_fragment(p) &&
	       (p->tuple.protocol == IPPROTO_TCP || p->tuple.protocol == IPPROTO_UDP);
}

static __always_inline int store_heads(struct __sk_buff *skb, const struct tuple *to, __u32 sum)
{
	struct iphdr *ip = start(skb) + L3;
	struct heads heads = { 0,
			       { to->source.word[3], to->destination.word[3] },
			       { to->source_port, to->destination_port } };

	if ((void *)(ip + 1) > end(skb))
		return -1;
	heads.check = ~fold16(fold16((__u16)~ip->check + (sum & 0xffff)) + (sum >> 16));
	return bpf_skb_store_bytes(skb, L3 + offsetof(struct iphdr, check), &heads, sizeof(heads), 0);
}

/* Change a packet's tuple into another one, and every checksum that depends on it. 0: done.
 *
 * The addresses change a checksum over the pseudo-header even if the device computes the rest (CHECKSUM_PARTIAL); the
 * ports only change a complete one. If the device has summed a received packet (CHECKSUM_COMPLETE), the helper
 * subtracts the pseudo-header's difference from that sum: this is right for IPv4, where the header's own checksum
 * compensates for the addresses, and wrong for IPv6, where it is undone. (Linux 6.16 has the flag BPF_F_IPV6 for that.)
 */
static __noinline int rewrite(struct __sk_buff *skb, const struct packet *p, const struct tuple *to)
{
	__u32 addresses = addresses_differ_by(&p->tuple, to), ports = ports_differ_by(&p->tuple, to), l4 = p->l4;
	__be16 both[2] = { to->source_port, to->destination_port };
	__u32 at, mangled = 0;
	int plain = has_plain_heads(p);

	if (plain ? store_heads(skb, to, addresses) : store_addresses(skb, p->six, L3, to, addresses))
		return -1;
	if (is_later_fragment(p))
		return 0;
	switch (p->tuple.protocol) {
	case IPPROTO_TCP:
		at = l4 + 16;
		break;
	case IPPROTO_UDP:
		at = l4 + 6;
		mangled = BPF_F_MARK_MANGLED_0;
		break;
	case IPPROTO_SCTP:
		return rewrite_sctp(skb, p, both);
	default:
		at = l4 + 2;
		both[0] |= both[1]; /* one of them is an echo's identifier, the other is zero */
		if (bpf_skb_store_bytes(skb, l4 + 4, both, sizeof(both[0]), 0))
			return -1;
		goto checksum;
	}
	if (!plain && bpf_skb_store_bytes(skb, l4, both, sizeof(both), 0))
		return -1;
checksum:
	if (p->six || p->tuple.protocol != IPPROTO_ICMP) {
		bpf_l4_csum_replace(skb, at, 0, addresses, BPF_F_PSEUDO_HDR | mangled);
		if (p->six)
			bpf_csum_update(skb, addresses);
	}
	if (fold16(ports) != 0xffff)
		bpf_l4_csum_replace(skb, at, 0, ports, mangled);
	return 0;
}

#endif
