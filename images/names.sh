# shellcheck shell=sh disable=SC2034 # read by the scripts of this folder
# What the scripts of this folder call things, and the folder where they keep what is slow to make. Sourced by them.
version=v1.34.4
suite=bookworm
python_version=3.11 # that suite's
go_release=go1.25.5
node_image=socklb/node:$version
cache=${SOCKLB_CACHE:-${HOME:-/root}/.cache/socklb}
kubernetes=$cache/kubernetes-${version#v}
