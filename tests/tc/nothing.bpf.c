// SPDX-License-Identifier: GPL-2.0-only
/* Programs that count the packets they see, and leave them to whoever comes next. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

#define COUNTS(name, row)                                        \
	SEC("tc")                                                \
	int name(struct __sk_buff *skb)                          \
	{                                                        \
		__u32 key = row;                                 \
		__u64 *count = bpf_map_lookup_elem(&seen, &key); \
                                                                 \
		if (count)                                       \
			__sync_fetch_and_add(count, 1);          \
		return TC_ACT_UNSPEC;                            \
	}

COUNTS(uplink_in, 0)
COUNTS(uplink_out, 1)
