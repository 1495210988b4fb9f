package rdb

import "hash/crc64"

// jones is the reflected Jones polynomial ad93d23594c935a9 that Redis uses, in the
// bit order of hash/crc64. crc64("123456789") is e9c6d914c4b8d9ca.
var jones = crc64.MakeTable(0x95AC9329AC4BC9B5)

// crcUpdate carries a checksum over more bytes. Redis starts from zero and does not
// invert; hash/crc64 inverts at both ends, so both inversions are undone here.
func crcUpdate(crc uint64, p []byte) uint64 {
	return ^crc64.Update(^crc, jones, p)
}
