/* SPDX-License-Identifier: GPL-2.0-only */
/* The backend that a socket was given, so that the application continues to see the Service address.
 *
 * A record is in the slot table, or in sk_storage if the slot belongs to another live socket or the release hook does
 * not run (owner.h). The newest record of a socket is in front; an unconnected UDP socket that talks to several
 * Services keeps older ones behind it. The kernel runs the hooks of one socket under that socket's lock, so only the
 * slot itself is contended.
 *
 * Nothing here can fail a connection: without memory a record is lost, not the connect().
 */
#ifndef SOCKLB_RECORDS_H
#define SOCKLB_RECORDS_H

#include <linux/in.h>

#include "address.h"
#include "service_maps.h"
#include "socket_maps.h"
#include "owner.h"

static __always_inline int same_frontend(const struct peer *a, const struct peer *b)
{
	return a->frontend_port == b->frontend_port && same_address(&a->frontend, &b->frontend);
}

/* Return zero if two records have the same backend, or the same frontend. */
static __always_inline __u32 differ_in_backend(const struct peer *a, const struct peer *b)
{
	return (a->backend_port ^ b->backend_port) | differ(&a->backend, &b->backend);
}

static __always_inline __u32 differ_in_frontend(const struct peer *a, const struct peer *b)
{
	return (a->frontend_port ^ b->frontend_port) | differ(&a->frontend, &b->frontend);
}

static __always_inline int same_peer(const struct peer *a, const struct peer *b)
{
	return !(differ_in_backend(a, b) | differ_in_frontend(a, b));
}

/* Whether a socket knows the backend of `peer` under another Service address: an answer could then not be attributed.
 */
static __always_inline int is_known_otherwise(const struct peer *known, const struct peer *peer)
{
	return !differ_in_backend(known, peer) && differ_in_frontend(known, peer);
}

/* Whether the packet path serves this Service address when a hook lets it pass. Not loopback: it never passes a device.
 */
static __always_inline int packets_serve(const struct address *frontend)
{
	return kernel_facts.packets && !is_loopback(frontend);
}

static __always_inline struct bookkeeping *books(void)
{
	__u32 first = 0;

	return bpf_map_lookup_elem(&bookkeeping, &first);
}

/* Count a connection. Only connections whose record has a slot are counted: only then does the release surely find what
 * it counted.
 */
static __always_inline void count(__u32 note, __u32 protocol, __u64 one)
{
	__u64 *load;

	if (protocol != IPPROTO_TCP || !note)
		return;
	load = bpf_map_lookup_elem(&loads, &note);
	if (load)
		__sync_fetch_and_add(load, one);
}

#if SOCKET_SLOTS
static __always_inline struct socket_slot *slot_of(__u64 cookie)
{
	__u32 index = cookie & (SOCKET_SLOTS - 1);

	return bpf_map_lookup_elem(&sockets, &index);
}

/* Return the socket's record in the slot table, if it has one. */
static __always_inline struct peer *slot_record(struct bpf_sock_addr *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct socket_slot *slot = slot_of(cookie);

	return slot && slot->cookie == cookie ? &slot->peer : NULL;
}

/* The same, and if it has none, claim a free one. */
static __always_inline struct peer *claim_slot(struct bpf_sock_addr *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct socket_slot *slot = slot_of(cookie);

	if (!slot)
		return NULL;
	if (slot->cookie == cookie)
		return &slot->peer;
	if (slot->cookie || is_kernels_own(ctx) || __sync_val_compare_and_swap(&slot->cookie, 0, cookie))
		return NULL;
	__builtin_memset(&slot->peer, 0, sizeof(slot->peer));
	return &slot->peer;
}

/* Free a socket's slot; return whether it had one. The release hook and the agent may do so at once (end_socket): one of
 * them counts the connection out.
 */
static __always_inline int release_slot(__u64 cookie, __u32 protocol)
{
	struct socket_slot *slot = slot_of(cookie);
	__u32 note;

	if (!slot || slot->cookie != cookie)
		return 0;
	note = slot->peer.note;
	if (__sync_val_compare_and_swap(&slot->cookie, cookie, 0) != cookie)
		return 0;
	count(note, protocol, -1);
	return 1;
}

/* The same for a socket that is gone: its record says of which protocol it was. Version 0.2 wrote no OF_UDP; its UDP
 * sockets must not bring a count below zero.
 */
static __always_inline int release_slot_of(__u64 cookie)
{
	struct socket_slot *slot = slot_of(cookie);
	__u64 *load;
	__u32 note;

	if (!slot || !cookie)
		return 0;
	note = slot->peer.note;
	load = bpf_map_lookup_elem(&loads, &note);
	return release_slot(cookie, load && *load ? IPPROTO_TCP : IPPROTO_UDP);
}
#else
static __always_inline struct peer *slot_record(struct bpf_sock_addr *ctx)
{
	return NULL;
}

static __always_inline struct peer *claim_slot(struct bpf_sock_addr *ctx)
{
	return NULL;
}

static __always_inline int release_slot(__u64 cookie, __u32 protocol)
{
	return 0;
}

static __always_inline int release_slot_of(__u64 cookie)
{
	return 0;
}
#endif

/* Return the socket's records outside the slot table. The kernel need not be asked if no record was ever there. */
static __always_inline struct more_peers *more_of(struct bpf_sock_addr *ctx)
{
	struct bookkeeping *kept = books();
	struct bpf_sock *sk = ctx->sk;

	return kept && kept->spilled && sk ? bpf_sk_storage_get(&more_peers, sk, NULL, 0) : NULL;
}

static __always_inline struct more_peers *make_more(struct bpf_sock_addr *ctx)
{
	struct more_peers *more = more_of(ctx);
	struct bookkeeping *kept = books();
	struct bpf_sock *sk = ctx->sk;
	void *mptcp;

	if (more || !kept || !sk)
		return more;
	__sync_fetch_and_add(&kept->spilled, 1);
	mptcp = mptcp_of(ctx);
	if (mptcp)
		more = bpf_sk_storage_get(&more_peers, mptcp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	else
		more = bpf_sk_storage_get(&more_peers, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!more)
		__sync_fetch_and_add(&kept->lost, 1);
	return more;
}

/* Keep `old` behind the front record: in the place of `now` if that is there already, else in the next one. If that is
 * in use and `needed`, return 0.
 */
static __always_inline int keep_behind(struct more_peers *more, const struct peer *now, const struct peer *old,
				       int needed)
{
	struct peer *place;

	for (int i = 0; i < OLDER_PEERS; i++) {
		if (same_peer(&more->behind[i], now)) {
			more->behind[i] = *old;
			return 1;
		}
	}
	place = &more->behind[more->next & (OLDER_PEERS - 1)];
	if (needed && place->backend_port)
		return 0;
	more->next++;
	*place = *old;
	return 1;
}

static __always_inline int any_known_otherwise(const struct more_peers *more, const struct peer *peer)
{
	for (int i = 0; i < OLDER_PEERS; i++) {
		if (is_known_otherwise(&more->behind[i], peer))
			return 1;
	}
	return 0;
}

/* Whether the old records of an unconnected socket leave room for `peer` in front. They do not if its answers could not
 * be distinguished from another's, or if the oldest record would be lost: then the packet path serves it, under the
 * right address.
 */
static __always_inline int make_way(struct bpf_sock_addr *ctx, struct peer *front, struct more_peers *more,
				    const struct peer *peer)
{
	int exact = packets_serve(&peer->frontend);

	if (exact && is_known_otherwise(front, peer))
		return 0;
	if (!more)
		more = front->backend_port ? make_more(ctx) : more_of(ctx);
	if (!more)
		return 1;
	if (exact && any_known_otherwise(more, peer))
		return 0;
	return !front->backend_port || keep_behind(more, peer, front, exact);
}

/* Make `peer` the socket's newest peer; `connected` sockets have no other. 0: not possible, left to the packet path. */
static __always_inline int remember(struct bpf_sock_addr *ctx, const struct peer *peer, int connected)
{
	struct peer *slot = claim_slot(ctx), *front = slot;
	struct more_peers *more = NULL;

	if (!front) {
		more = make_more(ctx);
		if (!more)
			return 1;
		front = &more->front;
	}
	if (!connected && !same_peer(front, peer) && !make_way(ctx, front, more, peer))
		return 0;
	if (slot) {
		count(slot->note, ctx->protocol, -1);
		count(peer->note, ctx->protocol, 1);
	}
	*front = *peer;
	return 1;
}

static __always_inline void forget_if_to(struct peer *known, const struct address *address, __be16 port)
{
	if (known->backend_port == port && same_address(&known->backend, address))
		known->backend_port = known->frontend_port = 0;
}

/* An unconnected socket sends to this address itself: from now on its answers do not belong to a Service. A connected
 * one gets here as well, for its peer: an IPv6 socket at an IPv4-mapped address, whenever it sends.
 */
static __always_inline void forget_backend(struct bpf_sock_addr *ctx, const struct address *address, __be16 port)
{
	struct peer *front = slot_record(ctx);
	struct bpf_sock *sk = ctx->sk;
	struct more_peers *more;

	if (!sk || sk->state == BPF_TCP_ESTABLISHED)
		return;
	more = more_of(ctx);
	if (front)
		forget_if_to(front, address, port);
	if (!more)
		return;
	forget_if_to(&more->front, address, port);
	for (int i = 0; i < OLDER_PEERS; i++)
		forget_if_to(&more->behind[i], address, port);
}

/* The socket does not use a Service from now on: its peer is the address it asked for. */
static __always_inline void forget(struct bpf_sock_addr *ctx)
{
	struct bookkeeping *kept = books();
	struct bpf_sock *sk = ctx->sk;
	void *mptcp;

	release_slot(bpf_get_socket_cookie(ctx), ctx->protocol);
	if (!kept || !kept->spilled || !sk)
		return;
	bpf_sk_storage_delete(&more_peers, sk);
	mptcp = mptcp_of(ctx);
	if (mptcp)
		bpf_sk_storage_delete(&more_peers, mptcp);
}

/* Return the record of this socket for the frontend in `asked`. `newest`: it is in front of all others. */
static __always_inline struct peer *known_peer(struct bpf_sock_addr *ctx, const struct peer *asked, int *newest)
{
	struct peer *front = slot_record(ctx);
	struct more_peers *more;

	if (front && same_frontend(front, asked)) {
		*newest = 1;
		return front;
	}
	more = more_of(ctx);
	if (!more)
		return NULL;
	if (same_frontend(&more->front, asked))
		return &more->front;
	for (int i = 0; i < OLDER_PEERS; i++) {
		if (same_frontend(&more->behind[i], asked))
			return &more->behind[i];
	}
	return NULL;
}

static __always_inline int restore(const struct peer *peer, struct address *address, __be16 *port)
{
	if (peer->backend_port != *port || !same_address(&peer->backend, address))
		return 0;
	*port = peer->frontend_port;
	*address = peer->frontend;
	return 1;
}

/* If the socket was given this backend, replace its address with the Service address. */
static __always_inline int recall(struct bpf_sock_addr *ctx, struct address *address, __be16 *port)
{
	struct peer *front = slot_record(ctx);
	struct more_peers *more;

	if (front && restore(front, address, port))
		return 1;
	more = more_of(ctx);
	if (!more)
		return 0;
	if (restore(&more->front, address, port))
		return 1;
	for (int i = 0; i < OLDER_PEERS; i++) {
		if (restore(&more->behind[i], address, port))
			return 1;
	}
	return 0;
}

#endif
