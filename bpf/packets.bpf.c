// SPDX-License-Identifier: GPL-2.0-only
/* socklb's packet path: traffic that no socket hook can see is translated at the node's devices.
 *
 * Destinations change as a packet comes in, sources as it leaves, and in between the node routes it like any other.
 * Other packets pass, for other programs to handle.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "packet_path.h"

char _license[] SEC("license") = "GPL";

#if ETHERNET
#define AT(program) program
#else
#define AT(program) program##_l3
#endif

/* Devices by which the node reaches others. */
SEC("tc")
int AT(uplink_in)(struct __sk_buff *skb)
{
	struct packet p;

	believe_nothing(skb);
	if (!parse_addresses(skb, &p, AS_IT_COMES))
		return LEAVE;
	if (!may_be_ours(&p.tuple.destination) && !may_be_masquerade(&p.tuple.destination) && !is_worlds(&p))
		return pass(skb, &p);
	return look_at(skb, &p, AT_UPLINK_IN);
}

SEC("tc")
int AT(uplink_out)(struct __sk_buff *skb)
{
	struct packet p;

	return !is_done(skb) && parse_addresses(skb, &p, AS_IT_GOES) ? look_at(skb, &p, AT_UPLINK_OUT) : LEAVE;
}

/* Devices of pods whose sockets no hook sees. */
SEC("tc")
int AT(pod_in)(struct __sk_buff *skb)
{
	struct packet p;

	believe_nothing(skb);
	return parse_addresses(skb, &p, AS_IT_COMES) ? look_at(skb, &p, AT_POD_IN) : LEAVE;
}

SEC("tc")
int AT(pod_out)(struct __sk_buff *skb)
{
	struct packet p;

	return !is_done(skb) && parse_addresses(skb, &p, AS_IT_GOES) ? look_at(skb, &p, AT_POD_OUT) : LEAVE;
}

/* With host routing: devices of pods that do not need our other programs. */
SEC("tc")
int AT(routed_in)(struct __sk_buff *skb)
{
	struct packet p;

	believe_nothing(skb);
	return parse_addresses(skb, &p, AS_IT_COMES) ? pass(skb, &p) : LEAVE;
}

/* Not attached: the agent runs it, with this after the packet's Ethernet header. */
struct to_reset {
	__u64 state;
	__u32 row;
};
SEC("tc")
int reset(struct __sk_buff *skb)
{
	struct to_reset wanted;

	return bpf_skb_load_bytes(skb, ETH_HLEN, &wanted, sizeof(wanted)) ? 0 : reset_flow(wanted.row, wanted.state);
}

#define SWEEP_SLICE 256 /* rows */

/* Return whether a row's flow is closed. The verifier does not follow the result of a global function: were it compared
 * in the loop below, Linux 5.10 would try each number of closed flows there may be, beyond its limit of instructions.
 */
GLOBAL int is_row_closed(__u32 row)
{
	return judge(row) == CLOSED;
}

/* Not attached: the agent runs it to free expired rows, and to mark again what the others need (BPF_PROG_TEST_RUN). The
 * first row of a slice comes after the packet's Ethernet header. The result is how many flows are closed, whose rows a
 * new flow may take, and in the low 16 bits how many rows were freed.
 */
SEC("tc")
int sweep(struct __sk_buff *skb)
{
	__u32 *first = start(skb) + ETH_HLEN, row;
	int forgotten = 0, closed = 0;

	if ((void *)(first + 1) > end(skb))
		return 0;
	row = *first;
	for (int i = 0; i < SWEEP_SLICE; i++) {
		forgotten += forget_flow(row + i, IF_OVER);
		note_again(row + i);
		closed += is_row_closed(row + i);
	}
	return closed << 16 | forgotten;
}
