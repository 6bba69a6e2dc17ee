"""Kubernetes' own tests of Services, by upstream's files; one world of pods and servers for all of them."""
