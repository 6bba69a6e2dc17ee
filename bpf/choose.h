/* SPDX-License-Identifier: GPL-2.0-only */
/* Which backend of a set a socket gets. */
#ifndef SOCKLB_CHOOSE_H
#define SOCKLB_CHOOSE_H

#include <linux/in.h>

#include "address.h"
#include "maps.h"
#include "records.h"

#define NS_PER_SECOND 1000000000ULL
/* Enough to search a set of 2^18 - 1 backends: a cluster has 150,000 pods at most. */
#define SEARCH_STEPS 18
#define NO_ROW (~(__u32)0)

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

/* 1 if a < b, else 0, without a branch: each would multiply the paths of the loop below. */
static __always_inline __u64 less(__u64 a, __u64 b)
{
	return ((~a & b) | (~(a ^ b) & (a - b))) >> 63;
}

/* 1 if the backend comes before another one, else 0. */
static __always_inline __u64 comes_before(const struct backend *backend, __u64 high, __u64 low, __u32 port)
{
	__u64 its_high = high_half(&backend->address), its_low = low_half(&backend->address);
	__u64 its_port = bpf_ntohs(backend->port), before;

	barrier_var(its_port); /* else the compiler knows its range, and a branch that compares as well */
	before = less(its_low, low) | (~less(low, its_low) & less(its_port, port));
	return less(its_high, high) | (~less(high, its_high) & before);
}

/* The row of a set where a backend stands or would stand, NO_ROW behind the last. Rows are in ascending order; address
 * and port are in native byte order here.
 *
 * A global function, so that the verifier walks the loop once and by itself: inlined, its paths multiply with those of
 * every hook (134,000 instructions walked in each of four hooks, instead of some 13,000). Linux 5.6 (commit
 * 51c39bb1d5d1) has such functions; since 5.10 (commit f782e2c300a7) they may give any number.
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

/* The backend and its row, if it is one of the set. */
static __always_inline struct backend *search(struct set set, const struct address *address, __be16 port, __u32 *row)
{
	__u32 found = row_of(set.base, set.count, high_half(address), low_half(address), bpf_ntohs(port));
	struct backend *backend = found == NO_ROW ? NULL : backend_at(found);

	if (!backend || !is_backend(backend, address, port))
		return NULL;
	*row = found;
	return backend;
}

/* What this UDP socket was given here before, if it still serves: other endpoints may come and go without moving it. */
static __always_inline struct backend *given_before(struct bpf_sock_addr *ctx, struct set set, struct peer *asked,
						    int *remembered)
{
	int newest = 0;
	struct peer *known = known_peer(ctx, asked, &newest);
	struct backend *backend;

	if (!known)
		return NULL;
	asked->note = known->note;
	backend = asked->note - set.base < set.count ? backend_at(asked->note) : NULL;
	if (backend && is_backend(backend, &known->backend, known->backend_port)) {
		*remembered = newest;
		return backend;
	}
	return search(set, &known->backend, known->backend_port, &asked->note);
}

/* Any, for UDP by the socket's cookie: they are sequential, so they are spread by Fibonacci hashing (multiply by
 * 2^64 / phi, keep the high half), and a socket whose record was lost keeps its backend as long as the set stands.
 */
static __always_inline struct backend *any(struct bpf_sock_addr *ctx, struct set set, __u32 *row)
{
	__u32 draw = ctx->protocol == IPPROTO_UDP ? (bpf_get_socket_cookie(ctx) * 0x9e3779b97f4a7c15ULL) >> 32
						  : bpf_get_prandom_u32();

	*row = set.base + draw % set.count;
	return backend_at(*row);
}

static __always_inline __u64 load_of(const struct backend *backend)
{
	__u32 number = backend->load;
	__u64 *load = bpf_map_lookup_elem(&loads, &number);

	return number && load ? *(volatile __u64 *)load : 0;
}

/* The less loaded of two, which is far better than one and needs no look at all of them ("the power of two choices"). */
static __always_inline struct backend *less_loaded(struct bpf_sock_addr *ctx, struct set set, __u32 *row)
{
	struct backend *one = any(ctx, set, row), *other;
	__u32 other_row;

	if (set.count < 2)
		return one;
	other_row = set.base + (*row - set.base + 1 + bpf_get_prandom_u32() % (set.count - 1)) % set.count;
	other = backend_at(other_row);
	if (one && other && load_of(other) < load_of(one)) {
		*row = other_row;
		return other;
	}
	return one;
}

static __always_inline struct backend *choose_freely(struct bpf_sock_addr *ctx, __u64 options, struct set set,
						     struct peer *asked, int *remembered)
{
	struct backend *backend = NULL;

	if (ctx->protocol == IPPROTO_UDP)
		backend = given_before(ctx, set, asked, remembered);
	else if (options >> 32 & LEAST_LOADED)
		return less_loaded(ctx, set, &asked->note);
	return backend ? backend : any(ctx, set, &asked->note);
}

/* What this pod was given last, if that is not too long ago and still serves. Whoever reads a torn value gets an address
 * that is no backend of the set, or one that is.
 */
static __always_inline struct backend *given_last(const struct client *client, __u64 seconds, struct set set,
						  __u32 *row)
{
	struct affine *last = bpf_map_lookup_elem(&affinity, client);
	struct address address;

	if (!last || last->client.netns != client->netns || last->client.row != client->row ||
	    bpf_ktime_get_ns() - last->seen > seconds * NS_PER_SECOND)
		return NULL;
	address = last->address;
	return search(set, &address, last->port, row);
}

/* Session affinity: a pod is a client, and so are all processes of the node's own network together. */
static __always_inline struct backend *choose_for_client(struct bpf_sock_addr *ctx, const struct found *found,
							 __u64 options, struct set set, struct peer *asked)
{
	struct client client = { bpf_get_netns_cookie(ctx), found->row, 0 };
	struct backend *backend = given_last(&client, options & 0xffffffff, set, &asked->note);
	struct affine now = { client, bpf_ktime_get_ns() };
	int remembered = 0;

	if (!backend)
		backend = choose_freely(ctx, options, set, asked, &remembered);
	if (backend) {
		now.address = backend->address;
		now.port = backend->port;
		bpf_map_update_elem(&affinity, &client, &now, BPF_ANY);
	}
	return backend;
}

/* A backend for what was `asked`, whose note is filled in; none if nobody serves. `remembered`: the socket's newest record
 * says so already.
 */
static __always_inline struct backend *choose(struct bpf_sock_addr *ctx, const struct found *found, struct peer *asked,
					      int *remembered)
{
	__u64 word = *(volatile __u64 *)&found->frontend->set;
	__u64 options = *(volatile __u64 *)&found->frontend->options;
	struct set set = { word >> 32, word };
	struct backend *backend;

	if (!set.count)
		return NULL;
	if (options & 0xffffffff)
		backend = choose_for_client(ctx, found, options, set, asked);
	else
		backend = choose_freely(ctx, options, set, asked, remembered);
	if (backend && ctx->protocol == IPPROTO_TCP)
		asked->note = options >> 32 & LEAST_LOADED ? backend->load : 0;
	return backend;
}

#endif
