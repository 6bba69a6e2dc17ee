/* SPDX-License-Identifier: GPL-2.0-only */
/* SCTP's checksum is a CRC32c of the whole packet, without a pseudo-header. It is linear: other ports change it by the
 * CRC of the changed bits followed by zeros, so the rest of the packet need not be read. n zeros multiply by x^8n,
 * which is a product of at most 16 powers.
 */
#ifndef SOCKLB_SCTP_H
#define SOCKLB_SCTP_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"

#define CRC32C 0x82f63b78 /* its polynomial; bit 31 is x^0 */
#define X8 0x00800000

/* Return the product of two polynomials. A branch would double the paths at each of its bits. */
GLOBAL __u32 product(__u32 a, __u32 b)
{
	__u32 sum = 0;

	for (int i = 0; i < 32; i++) {
		sum ^= b & -(a >> 31);
		a <<= 1;
		b = b >> 1 ^ (CRC32C & -(b & 1));
	}
	return sum;
}

/* Return by how much a CRC changes if a word, the first of `length` bytes, changes by these bits. */
GLOBAL __u32 crc_change(__u32 bits, __u32 length)
{
	__u32 power = X8;

	for (int i = 0; i < 16; i++) {
		__u32 wanted = -(length >> i & 1), moved = product(power, bits);

		bits = (moved & wanted) | (bits & ~wanted);
		power = product(power, power);
	}
	return bits;
}

/* Return the number of bytes from L4 to the end of the packet, without Ethernet's padding. */
static __always_inline __u32 length_behind(struct __sk_buff *skb, const struct packet *p)
{
	__be16 length = 0;

	bpf_skb_load_bytes(skb, L3 + (p->six ? 4 : 2), &length, sizeof(length));
	return L3 + (p->six ? sizeof(struct ipv6hdr) : 0) + bpf_ntohs(length) - p->l4;
}

/* Store other ports. A checksum of zero is computed later, by the device or before it. The length of a fragmented
 * packet is unknown: it may continue with unchanged ports only.
 */
static __always_inline int rewrite_sctp(struct __sk_buff *skb, const struct packet *p, const __be16 *both)
{
	struct {
		__le32 ports, tag, checksum;
	} head;
	__u32 ports;

	if (both[0] == p->tuple.source_port && both[1] == p->tuple.destination_port)
		return 0;
	if (p->fragment || bpf_skb_load_bytes(skb, p->l4, &head, sizeof(head)))
		return -1;
	__builtin_memcpy(&ports, both, sizeof(ports));
	if (head.checksum)
		head.checksum ^= crc_change(head.ports ^ ports, length_behind(skb, p));
	head.ports = ports;
	return bpf_skb_store_bytes(skb, p->l4, &head, sizeof(head), 0);
}

#endif
