/* SPDX-License-Identifier: GPL-2.0-only */
/* What only the kernel's own structure of a socket says. Above all whose it is: the release hook does not run for the kernel's own: NFS, SMB, Ceph and NVMe over TCP, and the subflows
 * of MPTCP (`inet_release()` asks sk_kern_sock). Their records are to have no slot, but sk_storage, which ends with them.
 */
#ifndef SOCKLB_OWNER_H
#define SOCKLB_OWNER_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

/* What the agent found in the kernel's BTF, written before the load. The verifier leaves out what depends on a zero here,
 * helpers that the kernel lacks included.
 */
const volatile struct kernel_facts kernel_facts;

/* Linux 5.19, commit 3bc253c2e652; older headers lack its name. */
static void *(*const skc_to_mptcp_sock)(void *) = (void *)196;

/* A byte of the kernel's structure of a TCP socket, read as it stands: these hooks have the cast since 5.10 (commit 1df8f55a37bd). */
static __always_inline __u8 tcp_byte(struct bpf_sock_addr *ctx, __u32 at)
{
	const volatile __u8 *tcp = (const void *)bpf_skc_to_tcp_sock(ctx->sk);

	return tcp ? tcp[at] : 0;
}

/* The same of any socket: for UDP over IPv4 there is no cast, and the helper that reads takes some 30 ns. */
static __always_inline __u8 byte_of(struct bpf_sock_addr *ctx, __u32 at)
{
	__u64 address = (__u64)ctx->sk;
	__u8 byte = 0;

	if (ctx->protocol == IPPROTO_TCP)
		return tcp_byte(ctx, at);
	/* No pointer to a socket may be calculated with. Negated, it is none for the verifier; twice, it is the same. */
	asm volatile("%0 = -%0\n\t%0 = -%0" : "+r"(address));
	bpf_probe_read_kernel(&byte, sizeof(byte), (const void *)(address + at));
	return byte;
}

static __always_inline int is_kernels_own(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.kern_sock_mask)
		return 0;
	return byte_of(ctx, kernel_facts.kern_sock_byte) & kernel_facts.kern_sock_mask;
}

/* Whether the option IPV6_V6ONLY is set. */
static __always_inline int is_ipv6_only(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.ipv6only_mask)
		return 0;
	return byte_of(ctx, kernel_facts.ipv6only_byte) & kernel_facts.ipv6only_mask;
}

/* Whether the application chose the port that the TCP socket is bound to. One that the kernel chose is no other socket's; a
 * fresh socket has none.
 */
static __always_inline int has_chosen_port(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.bound_mask || !ctx->sk->src_port)
		return 0;
	return tcp_byte(ctx, kernel_facts.bound_byte) & kernel_facts.bound_mask;
}

/* The MPTCP socket of a subflow, or NULL: a subflow connects, but the application asks the MPTCP socket for its peer. */
static __always_inline void *mptcp_of(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.mptcp || ctx->protocol != IPPROTO_TCP || !ctx->sk)
		return NULL;
	return skc_to_mptcp_sock(ctx->sk);
}

#endif
