/* SPDX-License-Identifier: GPL-2.0-only */
/* What a new flow is planned from: the current packet, the node's routes, and a free port of the node. */
#ifndef SOCKLB_PORTS_H
#define SOCKLB_PORTS_H

#include "flow_rows.h"

#define AF_INET 2
#define AF_INET6 10
/* Ports for masquerading: neither NodePorts nor ports that the kernel gives to the node's own sockets. */
#define LOW_PORTS 1024
#define LOW_COUNT (30000 - LOW_PORTS)
#define HIGH_PORTS 61000
#define HIGH_COUNT (65536 - HIGH_PORTS)
#define PORT_TRIES 32

/* Constants that the agent sets before the load. */
const volatile struct packet_facts packet_facts;

/* Where a packet is seen. */
enum met { AT_UPLINK_IN, AT_UPLINK_OUT, AT_POD_IN, AT_POD_OUT };

/* Return the device by which the current packet would leave: with `back` to its sender, else to the backend. 0: it
 * stays, or there is no route.
 */
GLOBAL __u32 route(struct __sk_buff *skb, int back)
{
	struct bpf_fib_lookup fib = { .ifindex = skb->ifindex };
	struct work *work = get_work();
	const struct address *from, *to;
	long found;

	if (!work)
		return 0;
	from = back ? &work->packet.tuple.destination : &work->packet.tuple.source;
	to = back ? &work->packet.tuple.source : &work->plan.backend;
	fib.l4_protocol = work->packet.tuple.protocol;
	if (work->packet.six) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, from, sizeof(*from));
		__builtin_memcpy(fib.ipv6_dst, to, sizeof(*to));
	} else {
		fib.family = AF_INET;
		fib.ipv4_src = from->word[3];
		fib.ipv4_dst = to->word[3];
	}
	found = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH ||
	    found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return fib.ifindex;
	return 0;
}

/* Whether a socket of the node would receive packets from the backend to the port of the flow of a row. */
GLOBAL int is_sockets(struct __sk_buff *skb, __u32 row)
{
	struct flow *flow = flow_at(row);
	struct bpf_sock_tuple at = {};
	struct bpf_sock *sk;
	__u32 size = sizeof(at.ipv6);

	if (!flow)
		return 1;
	if (is_ipv4(&flow->ends[NODE])) {
		at.ipv4.saddr = flow->ends[BACKEND].word[3];
		at.ipv4.daddr = flow->ends[NODE].word[3];
		at.ipv4.sport = flow->ports[BACKEND];
		at.ipv4.dport = flow->ports[NODE];
		size = sizeof(at.ipv4);
	} else {
		__builtin_memcpy(at.ipv6.saddr, &flow->ends[BACKEND], 16);
		__builtin_memcpy(at.ipv6.daddr, &flow->ends[NODE], 16);
		at.ipv6.sport = flow->ports[BACKEND];
		at.ipv6.dport = flow->ports[NODE];
	}
	if (flow->protocol == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(skb, &at, size, BPF_F_CURRENT_NETNS, 0);
	else if (flow->protocol == IPPROTO_UDP)
		sk = bpf_sk_lookup_udp(skb, &at, size, BPF_F_CURRENT_NETNS, 0);
	else
		return 0;
	if (!sk)
		return 0;
	bpf_sk_release(sk);
	return 1;
}

/* Return a port for masquerading. */
GLOBAL __u32 port_number(__u32 number)
{
	number %= LOW_COUNT + HIGH_COUNT;
	return bpf_htons(number < LOW_COUNT ? LOW_PORTS + number : HIGH_PORTS - LOW_COUNT + number);
}

/* Find a port for the answers: adding its element to the index reserves it. `keep`: the client's own port if possible.
 */
GLOBAL int take_port(struct __sk_buff *skb, __u32 row, int keep)
{
	struct flow *flow = flow_at(row);
	__u32 number = bpf_get_prandom_u32();

	if (!flow)
		return 0;
	for (int i = 0; i < PORT_TRIES; i++, number += 7) {
		int own = keep && !i;

		flow->ports[NODE] = own ? flow->ports[CLIENT] : port_number(number);
		if (own && bpf_ntohs(flow->ports[NODE]) < LOW_PORTS)
			continue;
		if (!is_sockets(skb, row) && link_tuple(row, 1))
			return 1;
	}
	return 0;
}

/* Index the backend's answers to the client for the flow of a row. If they would be taken for those of another flow of
 * this client, the backend sees another port.
 */
GLOBAL int take_way(__u32 row)
{
	struct flow *flow = flow_at(row);
	__u32 number = bpf_get_prandom_u32();

	if (!flow)
		return 0;
	for (int i = 0; i < PORT_TRIES; i++, number += 7) {
		if (i)
			flow->ports[ON_THE_WAY] = port_number(number);
		if (link_tuple(row, 3))
			return 1;
	}
	return 0;
}

#endif
