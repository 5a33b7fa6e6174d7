// Package recordbatch reads the records of a Kafka fetch answer: record batches of format v2, with every codec.
//
// # Use
//
// A fetch answer holds one record set for each partition. A set is a row of batches:
//
//	for {
//		batch, rest, err := recordbatch.Next(set) // io.EOF: the set is read; ErrPartial: the broker cut the last batch
//		...
//		records := batch.Records(1000) // give no record more than 1,000 headers
//		for {
//			err := records.Next(&rec) // the record's offset, time and size; io.EOF: the batch is read
//			...
//			err = records.Read(&rec, &buf) // its key, value and headers, if the caller wants them
//		}
//		set = rest
//	}
//
// A caller that stops before the end of a batch calls Records.Close. Neither type is safe for concurrent use.
//
// # Promises
//
//   - Next checks a batch's length, magic, CRC-32C and attributes before it returns the batch. Records checks each
//     record as it reads the record; of one that is not read, only its length, time and offset. What is wrong is a
//     *CorruptError, never a panic.
//   - Records inflates a batch while it reads, and never holds a whole batch. However much the batch inflates, a
//     decoder takes at most 9 MiB (zstd), 4 MiB (lz4), 17 MiB (snappy) or 100 KiB (gzip). A batch that cannot be
//     inflated with that, because its bytes refer more than 8 MiB back, is a *CorruptError that says so.
//   - The caller knows the size of a record before the record takes memory, and how many headers it has before they do.
//   - Every count and length is checked against the bytes that are left of its record, and a record's length against
//     the most that the rest of the batch can inflate to. So an allocation is never larger than the input justifies.
//   - Offsets ascend within a batch, and none exceeds the batch's LastOffset.
//   - No goroutine is started. Decoders are pooled.
//
// # Not here
//
// Formats v0 and v1 are an *OldFormatError. Aborted transactions are the caller's to leave out, by Batch.ProducerID.
// The checksums inside lz4 and zstd frames are not verified, as the CRC-32C covers the same bytes. A batch is one lz4
// or zstd frame, as producers write it, and needs no dictionary.
//
// # Testing
//
// Golden batches come from kafka-go's and franz-go's encoders. Every byte of a small batch is flipped; hostile batches
// have a right CRC. FuzzReaders compares this reader with kafka-go's and franz-go's: what all three accept, they must
// read alike. A test measures the heap under batches that inflate to 40 MiB.
package recordbatch
