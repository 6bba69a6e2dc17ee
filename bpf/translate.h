/* SPDX-License-Identifier: GPL-2.0-only */
/* From the address that a socket asks for to the one that it is given. */
#ifndef SOCKLB_TRANSLATE_H
#define SOCKLB_TRANSLATE_H

#include <asm/socket.h>
#include <linux/errno.h>
#include <linux/in.h>

#include "address.h"
#include "choose.h"
#include "left_out.h"
#include "counts.h"
#include "observe.h"
#include "records.h"
#include "sets.h"

static __always_inline __u32 flags_of(const struct frontend *frontend)
{
	return *(const volatile __u64 *)&frontend->options >> 32;
}

static __always_inline int is_nodes_own(__u64 netns)
{
	__u32 first = 0;
	struct node *node = bpf_map_lookup_elem(&this_node, &first);

	return node && node->netns && node->netns == netns;
}

/* Whether an address is one of this node's: its own ones, and loopback for processes in the node's own network
 * namespace.
 */
static __always_inline int is_own(struct bpf_sock_addr *ctx, const struct address *address)
{
	if (is_loopback(address))
		return is_nodes_own(bpf_get_netns_cookie(ctx));
	return !!bpf_map_lookup_elem(&own_addrs, address);
}

/* A NodePort is stored once, under the unspecified address of its family. If only its own node serves it, it does not
 * apply at another node's address: the packets go there, and that node knows its backends.
 */
static __always_inline struct found find_node_port(struct bpf_sock_addr *ctx, const struct frontend_key *key)
{
	struct frontend_key any = *key;
	struct found found = { NULL, 0 };
	int own = is_own(ctx, &key->address);

	if (!own && !bpf_map_lookup_elem(&node_addrs, &key->address))
		return found;
	any.address = any_address(&key->address);
	found = find_frontend(&any);
	if (found.frontend && !own && flags_of(found.frontend) & OWN_NODE_ONLY)
		found.frontend = NULL;
	return found;
}

/* The application gets "connection refused", as from a host without a listener. Kernels before 6.1 do not let these
 * hooks choose the error, and would return EPERM; there the call continues untranslated, and the packet path refuses
 * it. (bpf_set_retval() exists since 5.18, but was opened to these hooks by the series "expose bpf_{g,s}et_retval to
 * more cgroup hooks".) Its number is given here because older headers lack its name.
 */
#ifndef CAN_SET_ERRNO
#define CAN_SET_ERRNO 1
#endif
static int (*const set_retval)(int) = (void *)187;

/* Return the hook's result that makes its system call fail with this error. */
static __always_inline int fail(int error)
{
	if (!CAN_SET_ERRNO)
		return 1;
	set_retval(-error);
	return 0;
}

/* Not to a Service. A connected socket has no other peer; one of the other peers of an unconnected one may have this
 * address.
 */
static __always_inline enum verdict pass(struct bpf_sock_addr *ctx, const struct frontend_key *asked, int connected)
{
	if (connected)
		forget(ctx);
	else
		forget_backend(ctx, &asked->address, asked->port);
	return PASS;
}

/* Whether other sockets may be bound to this one's port. Two of them, translated from two Services to the same backend,
 * would be the same connection to the kernel (EADDRNOTAVAIL); on the packet path they remain two. Before 6.1 the
 * options cannot be read.
 */
static __always_inline int may_share_port(struct bpf_sock_addr *ctx)
{
	int address = 1, port = 1;

	if (!has_chosen_port(ctx))
		return 0;
	if (CAN_SET_ERRNO) {
		bpf_getsockopt(ctx, SOL_SOCKET, SO_REUSEADDR, &address, sizeof(address));
		bpf_getsockopt(ctx, SOL_SOCKET, SO_REUSEPORT, &port, sizeof(port));
	}
	return address | port;
}

/* Kernels before 5.14 do not tell the agent the cookie of its own network namespace, the node's; they tell this hook.
 */
static __always_inline void tell_agent(struct bpf_sock_addr *ctx)
{
	__u32 first = 0;
	struct node *node;

	if (!kernel_facts.asking || kernel_facts.asking != bpf_get_socket_cookie(ctx))
		return;
	node = bpf_map_lookup_elem(&this_node, &first);
	if (node)
		node->netns = bpf_get_netns_cookie(ctx);
}

/* Whether the hooks do not serve a socket: a proxy in its pod, for example of a service mesh, must see the Service
 * address.
 */
static __always_inline int is_left_alone(struct bpf_sock_addr *ctx)
{
	return kernel_facts.leave_pods && !is_nodes_own(bpf_get_netns_cookie(ctx));
}

static __always_inline enum verdict because(enum reason *reason, enum reason why, enum verdict verdict)
{
	*reason = why;
	return verdict;
}

/* Replace a Service address with a backend's. `connected` is true in connect(), false for a single datagram. */
static __always_inline enum verdict translate(struct bpf_sock_addr *ctx, struct endpoint *to, int connected,
					      enum reason *reason)
{
	struct frontend_key key = { destination(&to->address), to->port, ctx->protocol, 0 };
	struct peer peer = { .frontend = key.address, .frontend_port = key.port };
	struct choice choice = { 0, BY_RANDOM };
	struct backend *backend;
	struct found found;

	if (key.protocol != IPPROTO_TCP && key.protocol != IPPROTO_UDP)
		return because(reason, OTHER_PROTOCOL, PASS);
	if (connected)
		tell_agent(ctx);
	if (is_left_alone(ctx))
		return because(reason, LEFT_ALONE, pass(ctx, &key, connected));
	if (!may_be_ours(&key.address) && !(is_loopback(&key.address) && is_own(ctx, &key.address)))
		return because(reason, NO_SERVICE, pass(ctx, &key, connected));
	if (is_left_out())
		return because(reason, LEFT_OUT, pass(ctx, &key, connected));
	found = find_frontend(&key);
	if (!found.frontend)
		found = find_node_port(ctx, &key);
	if (!found.frontend) {
		if (bpf_map_lookup_elem(&service_addrs, &key.address))
			return because(reason, NO_SUCH_PORT, REFUSED);
		return because(reason, NO_SERVICE, pass(ctx, &key, connected));
	}
	if (flags_of(found.frontend) & GUARDED) /* a socket has no address yet; the packet path checks it */
		return because(reason, SOURCE_RANGES, pass(ctx, &key, connected));
	backend = choose(ctx, &found, &peer, &choice);
	if (!backend)
		return because(reason, NO_ENDPOINT, REFUSED);
	if (key.protocol == IPPROTO_TCP && may_share_port(ctx) && packets_serve(&key.address))
		return because(reason, SHARED_PORT, pass(ctx, &key, connected));
	peer.backend = backend->address;
	peer.backend_port = backend->port;
	if (!choice.remembered && !remember(ctx, &peer, connected))
		return because(reason, SAME_BACKEND, PASS);
	to->address = peer.backend;
	to->port = peer.backend_port;
	if (kernel_facts.count_connects && connected && !(flags_of(found.frontend) & LENT))
		count_connect(&peer, key.protocol);
	return because(reason, choice.how, TRANSLATED);
}

/* The same, and report it to watchers. A call that the kernel does not let us refuse continues. */
static __always_inline enum verdict decide(struct bpf_sock_addr *ctx, enum hook hook, struct endpoint *to,
					   int connected)
{
	struct endpoint asked = *to, nothing = {};
	enum reason reason;
	enum verdict verdict = translate(ctx, to, connected, &reason);
	enum verdict seen = verdict == REFUSED && !CAN_SET_ERRNO ? PASS : verdict;

	if (seen == REFUSED)
		count_in_hook(reason);
	observe(ctx, hook, seen, reason, &asked, verdict == TRANSLATED ? to : &nothing);
	return verdict;
}

/* Whether a frontend does not belong to the process that wants to listen at its address. A server of the Service
 * itself, in the node's own network namespace, may listen: clients are sent to it.
 */
static __always_inline int is_held(const struct found *found, const struct frontend_key *at)
{
	struct set set;
	__u64 word;
	__u32 row;

	if (!found->frontend || flags_of(found->frontend) & (MAY_BE_BOUND | GUARDED))
		return 0;
	word = *(volatile __u64 *)&found->frontend->set;
	set = (struct set){ word >> 32, word };
	return !search(set, &at->address, at->port, &row);
}

/* Whether a port that a process of the node wants to listen at belongs to a Service: clients would never reach the
 * process. A port that the kernel chooses is not checked: it cannot be made to choose another one.
 */
static __always_inline int is_taken(struct bpf_sock_addr *ctx, const struct frontend_key *key)
{
	struct frontend_key any = *key;
	struct found found;

	if (!key->port || !is_nodes_own(bpf_get_netns_cookie(ctx)))
		return 0;
	if (bpf_map_lookup_elem(&service_addrs, &key->address)) /* NodeLocal DNSCache has kube-dns' on a device */
		return 0;
	found = find_frontend(key);
	if (is_held(&found, key))
		return 1;
	if (is_unspecified(&key->address)) {
		if (is_ipv4(&key->address) || is_ipv6_only(ctx))
			return 0;
		any.address = ipv4(0); /* :: is for IPv4 too */
	} else {
		if (!is_loopback(&key->address) && !bpf_map_lookup_elem(&own_addrs, &key->address))
			return 0;
		any.address = any_address(&key->address);
	}
	found = find_frontend(&any);
	return is_held(&found, key);
}

#endif
