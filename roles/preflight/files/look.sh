# Prints what preflight judges, one per line: a key, a tab, a value. It runs on the machine and changes nothing.
say() { printf '%s\t%s\n' "$1" "$2"; }
each() { while read -r line; do say "$1" "$line"; done; }
here() { [ -e "$1" ] && echo "$1"; }

say hostname "$(hostname)"
say os "$(. /etc/os-release && echo "$ID $VERSION_ID")"
say suite "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")"
say kernel "$(uname -r)"
say init "$(cat /proc/1/comm)"
say btf "$(here /sys/kernel/btf/vmlinux)"
say cgroup2 "$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)"
say bpffs "$(awk '$3 == "bpf" && $2 == "/sys/fs/bpf" { print $2; exit }' /proc/mounts)"
for folder in /opt /usr/local/bin; do # where the roles put programs
    findmnt --noheadings --output TARGET,OPTIONS --target "$folder"
done | awk '("," $2 ",") ~ /,noexec,/ { print $1 }' | sort -u | each noexec
say memory_kib "$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
say disk_kib "$(df -Pk /var/lib | awk 'NR == 2 { print $4 }')"
say time "$(date +%s)"
say synchronised "$(timedatectl show --property NTPSynchronized --value 2>/dev/null)"
say machine_id "$(cat /etc/machine-id 2>/dev/null)"
for python in python3 $(seq -f python3.%g 11 30); do
    "$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
done | sort -u | each python
say recorded "$(here /var/lib/socklb/machine/before)"
say member "$(here /etc/kubernetes/kubelet.conf)$(here /var/lib/rancher)"
say kubelet "$([ ! -e /etc/kubernetes/kubelet.conf ] || kubelet --version 2>/dev/null | cut -d ' ' -f 2)"
say kube_proxy "$(ps -eo args | awk '$1 ~ /(^|\/)kube-proxy$/ { print $1; exit }')"
say firewalld "$(systemctl is-active firewalld 2>/dev/null | grep -x active)"
say ufw "$(ufw status 2>/dev/null | grep -x 'Status: active')"
awk 'NR > 1 { print $1 }' /proc/swaps | each swap
ls /etc/cni/net.d 2>/dev/null | grep -E '\.(conf|conflist|json)$' | each cni
awk '$1 == "nameserver" { print $2 }' /etc/resolv.conf 2>/dev/null | each nameserver
ip -o address show scope global | awk '{ print $4 }' | each address
{ ip -4 route show; ip -6 route show; } | awk '$1 ~ /\// { print $1, $3 == "" ? "" : $0 }' | awk '{ print $1 }' | each route
for link in /sys/class/net/*; do
    # Only devices of hardware or of a virtual machine: bridges and veths of pods are not network cards.
    [ ! -e "$link/device" ] || cat "$link/address"
done | each mac
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { split($2, at, ":"); print at[2] }' | sort -u | each listens_hex
firewall-cmd --list-ports 2>/dev/null | tr ' ' '\n' | grep . | each opened
ufw status 2>/dev/null | awk '$2 == "ALLOW" { print $1 }' | each opened
true
