// Package soak lets the daemon run for as long as one likes, with two sources and two
// replicas, while everything that it needs fails again and again; and then settles the
// accounts: every time done or accounted for, none done twice, none at once, the alarms
// that should have come and no others, retention as the policy says, memory flat. It is
// tests only: make soak, and a short form among all tests.
package soak
