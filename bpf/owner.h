/* SPDX-License-Identifier: GPL-2.0-only */
/* What only the kernel's own socket structure tells. Above all the owner: the release hook does not run for the
 * kernel's own sockets: NFS, SMB, Ceph and NVMe over TCP, and the subflows of MPTCP (`inet_release()` tests
 * sk_kern_sock). Their records must not be in a slot, but in sk_storage, which is freed with them.
 */
#ifndef SOCKLB_OWNER_H
#define SOCKLB_OWNER_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "types.h"

/* What the agent found in the kernel's BTF, set before the load. The verifier removes code that depends on a zero here,
 * including helpers that the kernel lacks.
 */
const volatile struct kernel_facts kernel_facts;

/* Linux 5.19, commit 3bc253c2e652; older headers lack its name. */
static void *(*const skc_to_mptcp_sock)(void *) = (void *)196;

/* Return a byte of the kernel's structure of a TCP socket, as it is: these hooks have the cast since 5.10 (commit
 * 1df8f55a37bd).
 */
static __always_inline __u8 tcp_byte(struct bpf_sock_addr *ctx, __u32 at)
{
	const volatile __u8 *tcp = (const void *)bpf_skc_to_tcp_sock(ctx->sk);

	return tcp ? tcp[at] : 0;
}

/* The same for any socket: for UDP over IPv4 there is no cast, and the helper that reads takes some 30 ns. */
static __always_inline __u8 byte_of(struct bpf_sock_addr *ctx, __u32 at)
{
	__u64 address = (__u64)ctx->sk;
	__u8 byte = 0;

	if (ctx->protocol == IPPROTO_TCP)
		return tcp_byte(ctx, at);
	/* The verifier forbids arithmetic on pointers to sockets. Negated, it is no pointer to the verifier; negated
	 * twice, its value is the same.
	 */
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

/* Whether the application chose the port that the TCP socket is bound to. A port that the kernel chose is not shared
 * with other sockets; a fresh socket has none.
 */
static __always_inline int has_chosen_port(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.bound_mask || !ctx->sk->src_port)
		return 0;
	return tcp_byte(ctx, kernel_facts.bound_byte) & kernel_facts.bound_mask;
}

/* Return the MPTCP socket of a subflow, or NULL: a subflow connects, but the application asks the MPTCP socket for its
 * peer.
 */
static __always_inline void *mptcp_of(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.mptcp || ctx->protocol != IPPROTO_TCP || !ctx->sk)
		return NULL;
	return skc_to_mptcp_sock(ctx->sk);
}

#endif
