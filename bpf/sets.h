/* SPDX-License-Identifier: GPL-2.0-only */
/* A frontend and its set of backends, as in the tables: for both hooks and packet path. */
#ifndef SOCKLB_SETS_H
#define SOCKLB_SETS_H

#include "address.h"
#include "service_maps.h"

/* Enough to search a set of 2^18 - 1 backends: a cluster has 150,000 pods at most. */
#define SEARCH_STEPS 18
#define NO_ROW (~(__u32)0)
/* libbpf 0.5, which Ubuntu 22.04 has, lacks it. */
#ifndef barrier_var
#define barrier_var(variable) asm volatile("" : "+r"(variable))
#endif

/* A frontend as it was when it was looked up. */
struct found {
	struct frontend *frontend;
	__u32 row;
};

/* One published set. */
struct set {
	__u32 base;
	__u32 count;
};

static __always_inline struct backend *backend_at(__u32 row)
{
	return bpf_map_lookup_elem(&backends, &row);
}

static __always_inline __u64 high_half(const struct address *a)
{
	return bpf_be64_to_cpu(*(const __u64 *)&a->word[0]);
}

static __always_inline __u64 low_half(const struct address *a)
{
	return bpf_be64_to_cpu(*(const __u64 *)&a->word[2]);
}

static __always_inline int is_backend(const struct backend *backend, const struct address *address, __be16 port)
{
	return backend->port == port && same_address(&backend->address, address);
}

/* Return 1 if a < b, else 0, without a branch: each would multiply the paths of the loop below. */
static __always_inline __u64 less(__u64 a, __u64 b)
{
	return ((~a & b) | (~(a ^ b) & (a - b))) >> 63;
}

/* Return 1 if the backend comes before another one, else 0. */
static __always_inline __u64 comes_before(const struct backend *backend, __u64 high, __u64 low, __u32 port)
{
	__u64 its_high = high_half(&backend->address), its_low = low_half(&backend->address);
	__u64 its_port = bpf_ntohs(backend->port), before;

	barrier_var(its_port); /* otherwise the compiler knows its range, and compares with a branch */
	before = less(its_low, low) | (~less(low, its_low) & less(its_port, port));
	return less(its_high, high) | (~less(high, its_high) & before);
}

/* Return the row of a set where a backend is or would be, NO_ROW after the last. Rows are in ascending order; address
 * and port are in native byte order here.
 *
 * A global function, so that the verifier walks the loop once and separately: inlined, its paths multiply with those of
 * every hook (134,000 instructions walked in each of four hooks, instead of some 13,000). Linux 5.6 (commit
 * 51c39bb1d5d1) has such functions; since 5.10 (commit f782e2c300a7) they may return any number.
 */
__attribute__((noinline)) __u32 row_of(__u32 base, __u32 count, __u64 high, __u64 low, __u32 port)
{
	__u32 first = base, end = base + count;

	for (int i = 0; i < SEARCH_STEPS && first < end; i++) {
		__u32 middle = first + (end - first) / 2, mask;
		struct backend *backend = backend_at(middle);

		if (!backend)
			return NO_ROW;
		mask = -(__u32)comes_before(backend, high, low, port);
		first = (first & ~mask) | ((middle + 1) & mask);
		end = (end & mask) | (middle & ~mask);
	}
	return first < base + count ? first : NO_ROW;
}

/* Return the backend and its row, if it is in the set. */
static __always_inline struct backend *search(struct set set, const struct address *address, __be16 port, __u32 *row)
{
	__u32 found = row_of(set.base, set.count, high_half(address), low_half(address), bpf_ntohs(port));
	struct backend *backend = found == NO_ROW ? NULL : backend_at(found);

	if (!backend || !is_backend(backend, address, port))
		return NULL;
	*row = found;
	return backend;
}

static __always_inline __u64 load_of(const struct backend *backend)
{
	__u32 number = backend->load;
	__u64 *load = bpf_map_lookup_elem(&loads, &number);

	return number && load ? *(volatile __u64 *)load : 0;
}

/* A lookup may return an element that was reused for another frontend; the row then has another key. The next lookup
 * finds the current state; a third is needed only after a second replacement within nanoseconds.
 */
#ifndef LOOKUP_TRIES
#define LOOKUP_TRIES 3
#endif

static __always_inline int may_be_ours(const struct address *address)
{
	__u32 bit = filter_bit(address), word = bit / 64;
	__u64 *bits = bpf_map_lookup_elem(&address_filter, &word);

	return bits && *bits >> (bit & 63) & 1;
}

static __always_inline int same_key(const struct frontend_key *a, const struct frontend_key *b)
{
	return same_address(&a->address, &b->address) && a->port == b->port && a->protocol == b->protocol;
}

/* Return the frontend of a key, or none (its pointer is NULL). */
static __always_inline struct found find_frontend(const struct frontend_key *key)
{
	struct found found = { NULL, 0 };

#pragma unroll
	for (int i = 0; i < LOOKUP_TRIES; i++) {
		__u32 *row = bpf_map_lookup_elem(&frontends, key);
		struct frontend *frontend;

		if (!row)
			return found;
		found.row = *(volatile __u32 *)row;
		frontend = bpf_map_lookup_elem(&frontend_rows, &found.row);
		if (frontend && same_key(&frontend->key, key)) {
			found.frontend = frontend;
			return found;
		}
	}
	return found;
}

#endif
