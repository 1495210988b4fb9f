// Package ledger counts. Real producers and real RQ workers run against a real Redis,
// every execution of every job is written down outside of it, an outage comes, and rqvault
// puts back what it says is lost. Then the ledger says for each job what really became of
// it: whether it ever ran, whether one that had ended ran again, whether the order held.
// All of it is tests; docs/recovery.md has the table that they make.
package ledger
