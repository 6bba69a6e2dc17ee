//go:build tools

// Package programs keeps in go.mod and go.sum what the tests of test/e2e need, which no tool line names.
package programs

import _ "k8s.io/kubernetes/test/e2e"
