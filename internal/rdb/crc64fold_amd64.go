package rdb

import "golang.org/x/sys/cpu"

// canFold reports whether fold can be called.
var canFold = cpu.X86.HasPCLMULQDQ

// fold carries block over each block of p, whose length is a multiple of foldBlock and not
// zero: both halves of each sixteen bytes are multiplied by their key and added to the
// bytes that stand there in p.
//
//go:noescape
func fold(block *[foldBlock]byte, keys *[2]uint64, p []byte)
