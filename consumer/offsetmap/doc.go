// Package offsetmap writes into an offset commit's metadata which offsets beyond the committed one are settled, and
// reads that back.
//
// Kafka's commit is one number for each partition, and requests complete out of order. The next owner of the partition
// reads the map and skips what is settled already.
//
// # Use
//
//	var e offsetmap.Encoder
//	text, left := e.Encode(place, m, 4096) // 4,096: the broker's offset.metadata.max.bytes
//	...
//	stored, err := offsetmap.Decode(text)
//	if err == nil && stored.SameCluster(cluster) && stored.SameGroup(group) && ... {
//
// # Promises
//
//   - A text is ASCII, and not longer than the limit. What does not fit is left out from the far end.
//   - A text that was damaged or cut is refused: it ends with a CRC-32 of all that precedes.
//   - What Decode returns has the form that Map describes, whatever the text was.
//   - Decode never inflates more than 1 MiB, and returns at most 262,144 spans. Encode writes no more than that.
//   - An Encoder keeps its buffers. Encode allocates the text and nothing else. It compresses a body only if the raw
//     form is longer than 200 bytes, so an ordinary commit takes about a microsecond.
//
// # Not here
//
// The package does not decide whether a map is believed. It cannot: it knows neither the commit beside the text nor the
// topic's present id. docs/commit-metadata.md has the rules, and the format byte by byte.
//
// # Testing
//
// Random maps go there and back under random limits. Each byte of a text is replaced by each other byte. The texts in
// testdata are the format: every later version of tasksink must read them. So must the reader in the page, which is in
// Python. FuzzDecode gives a right checksum to the bytes that it makes up.
package offsetmap
