# Saves what etcd has: save.sh NODE FOLDER KEPT. It writes FOLDER/TIME.db and leaves the newest KEPT of such files.
# etcdctl is in the container of etcd, which shares only etcd's own folder with the machine.
set -eu
node=$1 folder=$2 kept=$3
pki=/etc/kubernetes/pki/etcd
partial=/var/lib/etcd/socklb-snapshot.partial

in_etcd() {
    kubectl --kubeconfig /etc/kubernetes/admin.conf --namespace kube-system exec "etcd-$node" -- "$@"
}

umask 077
mkdir -p "$folder"
trap 'rm -f "$partial"' EXIT
in_etcd etcdctl --endpoints https://127.0.0.1:2379 --cacert $pki/ca.crt --cert $pki/healthcheck-client.crt \
    --key $pki/healthcheck-client.key snapshot save $partial >/dev/null
in_etcd etcdutl snapshot status $partial >/dev/null # its checksum
mv "$partial" "$folder/$(date -u +%Y%m%dT%H%M%SZ).db"
ls "$folder"/*.db | sort -r | tail -n +$((kept + 1)) | xargs --no-run-if-empty rm
