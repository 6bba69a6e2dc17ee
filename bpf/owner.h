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

/* No pointer to a socket may be calculated with. Its value is read back from where it stands on the stack. */
static __always_inline int has_bit(struct bpf_sock_addr *ctx, __u32 at, __u32 mask)
{
	struct bpf_sock *volatile sk = ctx->sk;
	__u64 address = 0;
	__u8 byte = 0;

	bpf_probe_read_kernel(&address, sizeof(address), (const void *)&sk);
	bpf_probe_read_kernel(&byte, sizeof(byte), (const void *)(address + at));
	return byte & mask;
}

static __always_inline int is_kernels_own(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.kern_sock_mask)
		return 0;
	return has_bit(ctx, kernel_facts.kern_sock_byte, kernel_facts.kern_sock_mask);
}

/* Whether the option IPV6_V6ONLY is set. */
static __always_inline int is_ipv6_only(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.ipv6only_mask)
		return 0;
	return has_bit(ctx, kernel_facts.ipv6only_byte, kernel_facts.ipv6only_mask);
}

/* Whether the application chose the port that the socket is bound to. One that the kernel chose is no other socket's. */
static __always_inline int has_chosen_port(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.bound_mask)
		return 0;
	return has_bit(ctx, kernel_facts.bound_byte, kernel_facts.bound_mask);
}

/* The MPTCP socket of a subflow, or NULL: a subflow connects, but the application asks the MPTCP socket for its peer. */
static __always_inline void *mptcp_of(struct bpf_sock_addr *ctx)
{
	if (!kernel_facts.mptcp || ctx->protocol != IPPROTO_TCP || !ctx->sk)
		return NULL;
	return skc_to_mptcp_sock(ctx->sk);
}

#endif
