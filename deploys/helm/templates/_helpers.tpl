{{/*
The objects come from files/kubernetes and files/monitoring, which are links to the folders of kustomize. What is defined
here changes an object in place and prints nothing, unless it says otherwise.
*/}}

{{/* (list ROOT OBJECT): names the release's namespace and the labels that kustomization.yaml gives too. */}}
{{- define "socklb.belongs" -}}
{{- $root := index . 0 }}
{{- $object := index . 1 }}
{{- $labels := dict "app.kubernetes.io/part-of" "socklb" "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $object.metadata "labels" (merge (default dict $object.metadata.labels) $labels) }}
{{- if not (hasPrefix "Cluster" $object.kind) }}
{{- $_ := set $object.metadata "namespace" $root.Release.Namespace }}
{{- end }}
{{- range $object.subjects }}
{{- $_ := set . "namespace" $root.Release.Namespace }}
{{- end }}
{{- end }}

{{/* (list ROOT DAEMONSET): what values say of the pods of both DaemonSets. */}}
{{- define "socklb.pods" -}}
{{- $values := (index . 0).Values }}
{{- include "socklb.belongs" . }}
{{- $template := (index . 1).spec.template }}
{{- $_ := set $template.metadata "labels" (merge $template.metadata.labels (index . 1).metadata.labels) }}
{{- $pod := $template.spec }}
{{- range $key := list "priorityClassName" "tolerations" "nodeSelector" "imagePullSecrets" }}
{{- if index $values $key }}
{{- $_ := set $pod $key (index $values $key) }}
{{- else }}
{{- $_ := unset $pod $key }}
{{- end }}
{{- end }}
{{- range concat (default list $pod.initContainers) $pod.containers }}
{{- $_ := set . "image" (include "socklb.image" (index $ 0)) }}
{{- $_ := set . "imagePullPolicy" $values.image.pullPolicy }}
{{- if and $values.capabilities .securityContext.capabilities.add }}
{{- $_ := set .securityContext.capabilities "add" $values.capabilities }}
{{- end }}
{{- end }}
{{- range $pod.volumes }}
{{- if eq .name "cgroup" }}
{{- $_ := set .hostPath "path" $values.cgroup }}
{{- end }}
{{- end }}
{{- end }}

{{/* Prints it. */}}
{{- define "socklb.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{/* Prints the port of probes. Beside a kube-proxy it is not 10256, which is that one's. */}}
{{- define "socklb.healthPort" -}}
{{ default (ternary 10256 10356 .Values.kubeProxyReplacement) .Values.healthPort | int }}
{{- end }}

{{/* Prints it. */}}
{{- define "socklb.metricsAddress" -}}
{{- if kindIs "invalid" .Values.metricsAddress -}}
127.0.0.1:{{ ternary 10249 10349 .Values.kubeProxyReplacement }}
{{- else -}}
{{ .Values.metricsAddress }}
{{- end }}
{{- end }}

{{/* Prints the resources that a size stands for, as YAML; of "small" are those in daemonset.yaml. */}}
{{- define "socklb.resources" -}}
{{- if .Values.resources }}
{{- toYaml .Values.resources }}
{{- else if eq .Values.size "medium" -}}
requests: {cpu: 100m, memory: 320Mi}
limits: {memory: 2Gi}
{{- else if eq .Values.size "large" -}}
requests: {cpu: 250m, memory: 1Gi}
limits: {memory: 4Gi}
{{- end }}
{{- end }}

{{/* Prints socklb.toml. What JSON calls a string, a number or a list of strings is the same in TOML. */}}
{{- define "socklb.toml" -}}
{{- $values := .Values -}}
# Made by Helm from the release's values.
api_servers = {{ toRawJson $values.apiServers }}
packet_path = {{ toRawJson $values.kubeProxyReplacement }}
pod_cidrs = {{ toRawJson $values.podCIDRs }}
native_cidrs = {{ toRawJson $values.nativeCIDRs }}
node_routes = {{ toRawJson $values.nodeRoutes }}
host_routing = {{ toRawJson $values.hostRouting }}
pod_sockets = {{ toRawJson $values.podSockets }}
bypass_pods = {{ toRawJson $values.bypassPods }}
bypass_cgroups = {{ toRawJson $values.bypassCgroups }}
external_ips = {{ toRawJson $values.externalIPs }}
{{- with $values.uplinks }}
uplinks = {{ toRawJson . }}
{{- end }}
max_frontends = {{ toRawJson $values.maxFrontends }}
max_backends = {{ toRawJson $values.maxBackends }}
max_flows = {{ toRawJson $values.maxFlows }}
{{- with $values.metricsServices }}
metrics_services = {{ toRawJson . }}
{{- end }}
log_level = {{ toRawJson $values.logLevel }}
health_address = "[::]:{{ include "socklb.healthPort" . }}"
metrics_address = {{ include "socklb.metricsAddress" . | toRawJson }}

# Where the DaemonSet mounts the node's own directories.
bpffs = "/host/bpf"
cgroup = "/host/cgroup"
{{ end }}
