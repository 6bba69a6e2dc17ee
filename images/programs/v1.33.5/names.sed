# What images.toml says of the present version, as `kubeadm config images list` of v1.33.5 prints it. coredns and pause are the
# present ones under the names of that version; containerd's configuration names the present pause.
s/:v1\.34\.4"/:v1.33.5"/
s/etcd:3\.6\.5-0"/etcd:3.5.21-0"/
s/coredns:v1\.12\.1"/coredns:v1.12.0"/
s/"registry\.k8s\.io\/pause:3\.10\.1"/&, "registry.k8s.io\/pause:3.10"/
