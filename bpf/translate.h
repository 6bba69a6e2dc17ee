/* SPDX-License-Identifier: GPL-2.0-only */
/* From what a socket asks for to where it goes. */
#ifndef SOCKLB_TRANSLATE_H
#define SOCKLB_TRANSLATE_H

#include <linux/errno.h>
#include <linux/in.h>

#include "address.h"
#include "maps.h"
#include "records.h"

/* A lookup may hand us an element that was re-filled for another frontend; the row then carries another key. The next
 * lookup finds the truth of that moment; it takes a second replacement within nanoseconds to need a third.
 */
#ifndef LOOKUP_TRIES
#define LOOKUP_TRIES 3
#endif

enum verdict { PASS, TRANSLATED, REFUSED };

/* What a hook hands in and gets back. */
struct request {
	struct address address;
	__be16 port;
};

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

static __always_inline struct frontend *find_frontend(const struct frontend_key *key)
{
#pragma unroll
	for (int i = 0; i < LOOKUP_TRIES; i++) {
		__u32 *row = bpf_map_lookup_elem(&frontends, key), index;
		struct frontend *frontend;

		if (!row)
			return NULL;
		index = *(volatile __u32 *)row;
		frontend = bpf_map_lookup_elem(&frontend_rows, &index);
		if (frontend && same_key(&frontend->key, key))
			return frontend;
	}
	return NULL;
}

/* A NodePort that every node serves alike is kept once, under the unspecified address of its family. */
static __always_inline struct frontend *find_node_port(const struct frontend_key *key)
{
	struct frontend_key any = *key;

	if (!bpf_map_lookup_elem(&node_addrs, &key->address))
		return NULL;
	any.address = any_address(&key->address);
	return find_frontend(&any);
}

/* UDP sockets keep their backend as long as the set stands: cookies are sequential, so they are spread by Fibonacci
 * hashing (multiply by 2^64 / phi, keep the high half). TCP takes any.
 */
static __always_inline __u32 draw(struct bpf_sock_addr *ctx)
{
	if (ctx->protocol == IPPROTO_UDP)
		return (bpf_get_socket_cookie(ctx) * 0x9e3779b97f4a7c15ULL) >> 32;
	return bpf_get_prandom_u32();
}

static __always_inline struct backend *choose(struct bpf_sock_addr *ctx, const struct frontend *frontend)
{
	__u64 set = *(volatile __u64 *)&frontend->set;
	__u32 count = set, index;

	if (!count)
		return NULL;
	index = (set >> 32) + draw(ctx) % count;
	return bpf_map_lookup_elem(&backends, &index);
}

/* The application is told "connection refused", as by a host without a listener. Kernels before 6.1 keep the choice from
 * these hooks, and it is told EPERM there. (bpf_set_retval() exists since 5.18, but was opened to sock_addr hooks by the
 * series "expose bpf_{g,s}et_retval to more cgroup hooks".) Its number stands here because older headers lack its name.
 */
#ifndef CAN_SET_ERRNO
#define CAN_SET_ERRNO 1
#endif
static int (*const set_retval)(int) = (void *)187;

static __always_inline void refuse(void)
{
	if (CAN_SET_ERRNO)
		set_retval(-ECONNREFUSED);
}

static __always_inline enum verdict pass(struct bpf_sock_addr *ctx, int connected)
{
	if (connected)
		forget(ctx);
	return PASS;
}

/* Swap a Service address for a backend's. `connected` is true in connect(), false for a single datagram. */
static __always_inline enum verdict translate(struct bpf_sock_addr *ctx, struct request *request, int connected)
{
	struct frontend_key key = { request->address, request->port, ctx->protocol, 0 };
	struct frontend *frontend;
	struct backend *backend;
	struct peer peer;

	if (key.protocol != IPPROTO_TCP && key.protocol != IPPROTO_UDP)
		return PASS;
	if (!may_be_ours(&key.address))
		return pass(ctx, connected);
	frontend = find_frontend(&key);
	if (!frontend)
		frontend = find_node_port(&key);
	if (!frontend)
		return bpf_map_lookup_elem(&service_addrs, &key.address) ? REFUSED : pass(ctx, connected);
	backend = choose(ctx, frontend);
	if (!backend)
		return REFUSED;
	peer = (struct peer){ key.address, backend->address, key.port, backend->port };
	remember(ctx, &peer, connected);
	request->address = peer.backend;
	request->port = peer.backend_port;
	return TRANSLATED;
}

#endif
