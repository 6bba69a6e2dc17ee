/* SPDX-License-Identifier: GPL-2.0-only */
/* Which backend of a set a socket gets. */
#ifndef SOCKLB_CHOOSE_H
#define SOCKLB_CHOOSE_H

#include <linux/in.h>

#include "address.h"
#include "decision.h"
#include "records.h"
#include "sets.h"
#include "socket_maps.h"

#define NS_PER_SECOND 1000000000ULL

/* How a backend was chosen. `remembered`: the socket's newest record already says so. */
struct choice {
	int remembered;
	enum reason how;
};

/* Return the backend that this UDP socket was given before, if it still serves: changes of other endpoints do not move
 * the socket.
 */
static __always_inline struct backend *given_before(struct bpf_sock_addr *ctx, struct set set, struct peer *asked,
						    struct choice *choice)
{
	int newest = 0;
	struct peer *known = known_peer(ctx, asked, &newest);
	struct backend *backend;

	if (!known)
		return NULL;
	choice->how = KEPT;
	asked->note = known->note & ~OF_UDP;
	backend = asked->note - set.base < set.count ? backend_at(asked->note) : NULL;
	if (backend && is_backend(backend, &known->backend, known->backend_port)) {
		choice->remembered = newest;
		return backend;
	}
	return search(set, &known->backend, known->backend_port, &asked->note);
}

/* Return any backend; for UDP by the socket's cookie: cookies are sequential, so they are spread by Fibonacci hashing
 * (multiply by 2^64 / phi, keep the high half), and a socket whose record was lost keeps its backend as long as the set
 * does not change.
 */
static __always_inline struct backend *any(struct bpf_sock_addr *ctx, struct set set, __u32 *row)
{
	__u32 draw = ctx->protocol == IPPROTO_UDP ? (bpf_get_socket_cookie(ctx) * 0x9e3779b97f4a7c15ULL) >> 32
						  : bpf_get_prandom_u32();

	*row = set.base + draw % set.count;
	return backend_at(*row);
}

/* Return the less loaded of two, which is far better than a single one and does not look at all of them ("the power of
 * two choices").
 */
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
						     struct peer *asked, struct choice *choice)
{
	struct backend *backend = NULL;

	if (ctx->protocol == IPPROTO_UDP) {
		backend = given_before(ctx, set, asked, choice);
	} else if (options >> 32 & LEAST_LOADED) {
		choice->how = BY_LOAD;
		return less_loaded(ctx, set, &asked->note);
	}
	if (backend)
		return backend;
	choice->how = BY_RANDOM;
	return any(ctx, set, &asked->note);
}

/* Return the backend that this pod was given last, if that is not too long ago and it still serves. A torn read gives
 * an address that either is a backend of the set or is not.
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

/* Session affinity: each pod is a client, and all processes of the node's own network namespace together are one. */
static __always_inline struct backend *choose_for_client(struct bpf_sock_addr *ctx, const struct found *found,
							 __u64 options, struct set set, struct peer *asked,
							 struct choice *choice)
{
	struct client client = { bpf_get_netns_cookie(ctx), found->row, 0 };
	struct backend *backend = given_last(&client, options & 0xffffffff, set, &asked->note);
	struct affine now = { client, bpf_ktime_get_ns() };

	choice->how = BY_AFFINITY;
	if (!backend)
		backend = choose_freely(ctx, options, set, asked, choice);
	choice->remembered = 0;
	if (backend) {
		now.address = backend->address;
		now.port = backend->port;
		bpf_map_update_elem(&affinity, &client, &now, BPF_ANY);
	}
	return backend;
}

/* Return a backend for `asked`, whose note is filled in; NULL if there is none. */
static __always_inline struct backend *choose(struct bpf_sock_addr *ctx, const struct found *found, struct peer *asked,
					      struct choice *choice)
{
	__u64 word = *(volatile __u64 *)&found->frontend->set;
	__u64 options = *(volatile __u64 *)&found->frontend->options;
	struct set set = { word >> 32, word };
	struct backend *backend;

	if (!set.count)
		return NULL;
	if (options & 0xffffffff)
		backend = choose_for_client(ctx, found, options, set, asked, choice);
	else
		backend = choose_freely(ctx, options, set, asked, choice);
	if (backend && ctx->protocol == IPPROTO_TCP)
		asked->note = options >> 32 & LEAST_LOADED ? backend->load : 0;
	else
		asked->note |= OF_UDP;
	return backend;
}

#endif
