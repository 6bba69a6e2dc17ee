// SPDX-License-Identifier: GPL-2.0-only
/* socklb: Services are resolved when a socket connects or sends, before the first packet exists.
 *
 * connect and sendmsg replace a Service address with a backend's; recvmsg and getpeername restore it, so that the
 * application sees what it asked for; sock_release frees the socket's record; bind keeps NodePorts free. A hook that
 * returns 0 makes the system call fail, 1 lets it continue.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

#include "translate.h"

char _license[] SEC("license") = "GPL";

static __always_inline struct address ipv6(const struct bpf_sock_addr *ctx)
{
	return (struct address){ { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] } };
}

static __always_inline void set_ipv6(struct bpf_sock_addr *ctx, const struct address *address)
{
	ctx->user_ip6[0] = address->word[0];
	ctx->user_ip6[1] = address->word[1];
	ctx->user_ip6[2] = address->word[2];
	ctx->user_ip6[3] = address->word[3];
}

static __always_inline int outbound4(struct bpf_sock_addr *ctx, enum hook hook, int connected)
{
	struct endpoint to = { ipv4(ctx->user_ip4), ctx->user_port };

	switch (decide(ctx, hook, &to, connected)) {
	case REFUSED:
		return fail(ECONNREFUSED);
	case TRANSLATED:
		ctx->user_ip4 = to.address.word[3];
		ctx->user_port = to.port;
		return 1;
	default:
		return 1;
	}
}

/* IPv6, and IPv4 given as ::ffff:a.b.c.d on an IPv6 socket: connect4 does not run for those. */
static __always_inline int outbound6(struct bpf_sock_addr *ctx, enum hook hook, int connected)
{
	struct endpoint to = { ipv6(ctx), ctx->user_port };

	switch (decide(ctx, hook, &to, connected)) {
	case REFUSED:
		return fail(ECONNREFUSED);
	case TRANSLATED:
		set_ipv6(ctx, &to.address);
		ctx->user_port = to.port;
		return 1;
	default:
		return 1;
	}
}

/* If the socket was given this backend, replace its address with the Service address; report it to watchers. */
static __always_inline int give_back(struct bpf_sock_addr *ctx, enum hook hook, struct endpoint *from)
{
	struct endpoint given = *from, nothing = {};
	int known = recall(ctx, &from->address, &from->port);

	observe(ctx, hook, known ? TRANSLATED : PASS, known ? GIVEN_BACK : NO_SUCH_RECORD, from,
		known ? &given : &nothing);
	return known;
}

static __always_inline int inbound4(struct bpf_sock_addr *ctx, enum hook hook)
{
	struct endpoint from = { ipv4(ctx->user_ip4), ctx->user_port };

	if (give_back(ctx, hook, &from)) {
		ctx->user_ip4 = from.address.word[3];
		ctx->user_port = from.port;
	}
	return 1;
}

static __always_inline int inbound6(struct bpf_sock_addr *ctx, enum hook hook)
{
	struct endpoint from = { ipv6(ctx), ctx->user_port };

	if (give_back(ctx, hook, &from)) {
		set_ipv6(ctx, &from.address);
		ctx->user_port = from.port;
	}
	return 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return outbound4(ctx, CONNECT4, 1);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return outbound6(ctx, CONNECT6, 1);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return outbound4(ctx, SENDMSG4, 0);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return outbound6(ctx, SENDMSG6, 0);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return inbound4(ctx, RECVMSG4);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return inbound6(ctx, RECVMSG6);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return inbound4(ctx, GETPEERNAME4);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return inbound6(ctx, GETPEERNAME6);
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	release_slot(bpf_get_socket_cookie(ctx), ctx->protocol);
	return 1;
}

/* Attached nowhere: the agent runs it for a socket that ended while no release hook ran (BPF_PROG_TEST_RUN). The socket's
 * cookie comes after the packet's Ethernet header.
 */
SEC("tc")
int end_socket(struct __sk_buff *skb)
{
	__u64 cookie;

	return bpf_skb_load_bytes(skb, ETH_HLEN, &cookie, sizeof(cookie)) ? 0 : release_slot_of(cookie);
}

/* NodePorts, and the ports of other Service addresses that the node has, belong to the Service. */
static __always_inline int bound(struct bpf_sock_addr *ctx, enum hook hook, const struct address *address)
{
	struct frontend_key key = { *address, ctx->user_port, ctx->protocol, 0 };
	struct endpoint at = { *address, key.port }, nothing = {};
	int taken = is_taken(ctx, &key);

	if (taken && CAN_SET_ERRNO)
		count_in_hook(PORT_IN_USE);
	observe(ctx, hook, taken && CAN_SET_ERRNO ? REFUSED : PASS, taken ? PORT_IN_USE : NO_SERVICE, &at, &nothing);
	return taken ? fail(EADDRINUSE) : 1;
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	struct address address = ipv4(ctx->user_ip4);

	return bound(ctx, BIND4, &address);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	struct address address = ipv6(ctx);

	return bound(ctx, BIND6, &address);
}
