// SPDX-License-Identifier: GPL-2.0-only
/* socklb: Services are resolved when a socket connects or sends, before the first packet exists.
 *
 * connect and sendmsg swap a Service address for a backend's; recvmsg and getpeername put it back, so that the
 * application sees what it asked for; sock_release gives the socket's record back; bind keeps NodePorts free. A hook that
 * returns 0 fails the system call, 1 lets it go on.
 */
#include <linux/bpf.h>
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

static __always_inline int outbound4(struct bpf_sock_addr *ctx, int connected)
{
	struct request request = { ipv4(ctx->user_ip4), ctx->user_port };

	switch (translate(ctx, &request, connected)) {
	case REFUSED:
		return fail(ECONNREFUSED);
	case TRANSLATED:
		ctx->user_ip4 = request.address.word[3];
		ctx->user_port = request.port;
		return 1;
	default:
		return 1;
	}
}

/* IPv6, and IPv4 asked for as ::ffff:a.b.c.d on an IPv6 socket: connect4 does not run for those. */
static __always_inline int outbound6(struct bpf_sock_addr *ctx, int connected)
{
	struct request request = { ipv6(ctx), ctx->user_port };

	switch (translate(ctx, &request, connected)) {
	case REFUSED:
		return fail(ECONNREFUSED);
	case TRANSLATED:
		set_ipv6(ctx, &request.address);
		ctx->user_port = request.port;
		return 1;
	default:
		return 1;
	}
}

static __always_inline int inbound4(struct bpf_sock_addr *ctx)
{
	struct address address = ipv4(ctx->user_ip4);
	__be16 port = ctx->user_port;

	if (recall(ctx, &address, &port)) {
		ctx->user_ip4 = address.word[3];
		ctx->user_port = port;
	}
	return 1;
}

static __always_inline int inbound6(struct bpf_sock_addr *ctx)
{
	struct address address = ipv6(ctx);
	__be16 port = ctx->user_port;

	if (recall(ctx, &address, &port)) {
		set_ipv6(ctx, &address);
		ctx->user_port = port;
	}
	return 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return outbound4(ctx, 1);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return outbound6(ctx, 1);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return outbound4(ctx, 0);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return outbound6(ctx, 0);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return inbound4(ctx);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return inbound6(ctx);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return inbound4(ctx);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return inbound6(ctx);
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	release_slot(bpf_get_socket_cookie(ctx), ctx->protocol);
	return 1;
}

/* NodePorts, and the ports of other Service addresses that the node has, belong to the Service. */
static __always_inline int bound(struct bpf_sock_addr *ctx, const struct address *address)
{
	struct frontend_key key = { *address, ctx->user_port, ctx->protocol, 0 };

	return is_taken(ctx, &key) ? fail(EADDRINUSE) : 1;
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	struct address address = ipv4(ctx->user_ip4);

	return bound(ctx, &address);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	struct address address = ipv6(ctx);

	return bound(ctx, &address);
}
