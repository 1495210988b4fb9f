package lineage
type Facts struct{}
