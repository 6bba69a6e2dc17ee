// SPDX-License-Identifier: GPL-2.0-only
/* Hooks that do nothing: the cost of the call and of the kernel's counting. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

#define EMPTY(section, name, context)         \
	SEC("cgroup/" section)                \
	int name(struct context *ctx)         \
	{                                     \
		return 1;                     \
	}

EMPTY("connect4", connect4, bpf_sock_addr)
EMPTY("connect6", connect6, bpf_sock_addr)
EMPTY("sendmsg4", sendmsg4, bpf_sock_addr)
EMPTY("sendmsg6", sendmsg6, bpf_sock_addr)
EMPTY("recvmsg4", recvmsg4, bpf_sock_addr)
EMPTY("recvmsg6", recvmsg6, bpf_sock_addr)
EMPTY("getpeername4", getpeername4, bpf_sock_addr)
EMPTY("getpeername6", getpeername6, bpf_sock_addr)
EMPTY("sock_release", sock_release, bpf_sock)
EMPTY("bind4", bind4, bpf_sock_addr)
EMPTY("bind6", bind6, bpf_sock_addr)
