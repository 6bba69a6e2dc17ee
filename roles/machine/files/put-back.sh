# Restores a machine to the state that record.sh found: put-back.sh STATE "PATH..." (these are kept). What is removed
# already is not an error: after an interrupted run, the same command continues.
set -u
state=$1 keep=$2
before=$state/before
[ -d "$before" ] || exit 0

main() {
    agent_gone
    kubernetes_gone
    rules_gone
    packages_gone
    accounts_gone
    files_back
    sysctls_back
    systemctl daemon-reload
    rm -rf "$state"
    rmdir --ignore-fail-on-non-empty /var/lib/socklb
}

agent_gone() {
    systemctl disable --now --quiet socklb-agent 2>/dev/null
    systemctl stop --quiet unhooked.slice 2>/dev/null
    [ ! -x /opt/socklb/bin/socklb ] || must /opt/socklb/bin/socklb cleanup
}

kubernetes_gone() {
    if command -v kubeadm >/dev/null && [ -e /var/lib/kubelet/config.yaml ]; then
        kubeadm reset --force --cleanup-tmp-dir >/dev/null 2>&1 || echo "kubeadm reset failed; the rest is removed here" >&2
    fi
    systemctl disable --now --quiet kubelet 2>/dev/null
    grep -qx containerd "$before/packages" && return
    systemctl disable --now --quiet containerd 2>/dev/null
    systemctl kill --kill-whom=all --signal=KILL containerd 2>/dev/null # shims outlive it, and keep the containers
    systemctl stop kubepods.slice 2>/dev/null
    for mount in $(awk '{ print $5 }' /proc/self/mountinfo | grep -E '^(/run/containerd|/var/lib/kubelet|/var/lib/containerd)/' | sort -r); do
        umount --lazy "$mount"
    done
    ip netns list 2>/dev/null | awk '$1 ~ /^cni-/ { print $1 }' | xargs --no-run-if-empty -n 1 ip netns delete
}

# From kubelet and a kube-proxy; nft made their tables for programs that were installed with ours.
rules_gone() {
    for family in iptables ip6tables; do
        command -v $family-save >/dev/null || continue
        $family-save 2>/dev/null | grep -q KUBE- && $family-save | grep -v KUBE- | $family-restore
    done
    command -v nft >/dev/null || return
    nft list tables | sort | comm -23 - "$before/tables.sorted" | grep -E '^table ip6? (filter|nat|mangle)$' | while read -r table; do
        nft delete $table
    done
}

packages_gone() {
    dpkg --configure -a >/dev/null 2>&1 # an interrupted installation
    dpkg-query --show --showformat '${db:Status-Abbrev}\t${binary:Package}\n' | sed -n 's/^.. *\t//p' | sort | comm -23 - "$before/packages" |
        DEBIAN_FRONTEND=noninteractive xargs --no-run-if-empty apt-get purge --yes --quiet=2 >/dev/null || fail "apt-get purge failed"
    rm -f /var/lib/apt/lists/*_var_lib_socklb_*
}

# Of packages that are gone; purging does not remove them all.
accounts_gone() {
    for accounts in passwd:userdel group:groupdel; do
        file=${accounts%:*}
        [ -e "$before/$file" ] || continue # a record of an earlier version
        awk -F : '$3 < 1000 { print $1 }' "/etc/$file" | sort | comm -23 - "$before/$file" |
            xargs --no-run-if-empty --max-args=1 "${accounts#*:}"
    done
}

files_back() {
    xargs --no-run-if-empty rm -rf <"$before/absent"
    grep -vxF "$(printf '%s\n' $keep)" "$before/absent-folders" | xargs --no-run-if-empty rm -rf
    # Only the files: the folders around them exist, and the record's own folder is for root only.
    tar -C "$before/files" -cf - . | tar -C / -xpf - --no-overwrite-dir
}

sysctls_back() {
    sed 's/ = /=/' "$before/sysctls" | while read -r setting; do
        sysctl --quiet --write "$setting"
    done
}

must() {
    "$@" >/dev/null || fail "exit code $? from $*"
}

fail() {
    echo "put-back.sh: $1" >&2
    exit 1
}

sort "$before/tables" >"$before/tables.sorted"
main
