/* SPDX-License-Identifier: GPL-2.0-only */
/* Addresses in the tables' format. Everything here is in network byte order. */
#ifndef SOCKLB_ADDRESS_H
#define SOCKLB_ADDRESS_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

struct endpoint {
	struct address address;
	__be16 port;
};

static __always_inline struct address ipv4(__be32 ip)
{
	return (struct address){ { 0, 0, bpf_htonl(0xffff), ip } };
}

static __always_inline int is_ipv4(const struct address *a)
{
	return !a->word[0] && !a->word[1] && a->word[2] == bpf_htonl(0xffff);
}

/* The unspecified address of the same family, under which NodePorts are stored. */
static __always_inline struct address any_address(const struct address *a)
{
	return (struct address){ { 0, 0, is_ipv4(a) ? bpf_htonl(0xffff) : 0, 0 } };
}

/* 127.0.0.0/8 and ::1. */
static __always_inline int is_loopback(const struct address *a)
{
	if (is_ipv4(a))
		return (a->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !(a->word[0] | a->word[1] | a->word[2]) && a->word[3] == bpf_htonl(1);
}

static __always_inline int is_unspecified(const struct address *a)
{
	return !(a->word[0] | a->word[1] | a->word[3]) && (!a->word[2] || a->word[2] == bpf_htonl(0xffff));
}

/* Return zero if two addresses are the same. There are no branches between the words: each would double the paths that
 * the verifier walks.
 */
static __always_inline __u32 differ(const struct address *a, const struct address *b)
{
	return (a->word[3] ^ b->word[3]) | (a->word[2] ^ b->word[2]) | (a->word[1] ^ b->word[1]) |
	       (a->word[0] ^ b->word[0]);
}

static __always_inline int same_address(const struct address *a, const struct address *b)
{
	return !differ(a, b);
}

/* Return the last word of a socket's actual destination: the kernel takes the unspecified address for this host,
 * 127.0.0.1 or ::1. Global for the verifier's sake, like row_of().
 */
__attribute__((noinline)) __u32 last_word_of(__u32 word0, __u32 word1, __u32 word2, __u32 word3)
{
	if (word0 | word1 | word3)
		return word3;
	if (word2 == bpf_htonl(0xffff))
		return bpf_htonl(0x7f000001);
	return word2 ? 0 : bpf_htonl(1);
}

static __always_inline struct address destination(const struct address *a)
{
	const __be32 *word = a->word;

	if (word[3]) /* nearly always: a call costs some 10 ns */
		return *a;
	return (struct address){ { word[0], word[1], word[2], last_word_of(word[0], word[1], word[2], word[3]) } };
}

#endif
