package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// BenchmarkReaders reads a set of 3,000 records of 350 bytes, in batches of 100, with this reader, kafka-go's and
// franz-go's. All figures are for one record.
func BenchmarkReaders(b *testing.B) {
	const batches, records = 30, 100
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.Snappy, recordbatch.LZ4, recordbatch.Zstd} {
		var set []byte
		for n := range batches {
			var payload []byte
			for i := range records {
				id := n*records + i
				body := bytes.Repeat(fmt.Appendf(nil, "%06x ", id*2654435761%0xffffff), 26)
				value := fmt.Sprintf(`{"id":"task-%07d","properties":{"hs_task_subject":"Call customer %d",`+
					`"hs_task_body":"%s","hs_task_status":"NOT_STARTED","hs_timestamp":"%d"}}`,
					id, id*7919%100003, body, 1_700_000_000_000+id)
				payload = append(payload, franz(int64(i), int32(i), fmt.Appendf(nil, "task-%07d", id), []byte(value))...)
			}
			set = append(set, seal(header{base: int64(n * records), attributes: int16(codec), lastDelta: records - 1,
				baseTime: 1_700_000_000_000, count: records}, compress(b, codec, payload))...)
		}
		run := func(name string, read func() int) {
			b.Run(fmt.Sprintf("%s/%s", codec, name), func(b *testing.B) {
				b.ReportAllocs()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				at := 0
				for at < b.N {
					n := read()
					if n != batches*records {
						b.Fatal(n)
					}
					at += n
				}
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(at), "allocs/record")
			})
		}
		run("recordbatch", func() (n int) {
			var buf recordbatch.Buffer
			for rest := set; ; {
				var batch recordbatch.Batch
				var err error
				if batch, rest, err = recordbatch.Next(rest); err != nil {
					return n
				}
				rs := batch.Records(1000)
				for {
					var r recordbatch.Record
					if err := rs.Next(&r); errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						b.Fatal(err)
					}
					if cap(buf.Bytes)-len(buf.Bytes) < r.Size {
						buf.Bytes = make([]byte, 0, 32<<10)
					}
					if err := rs.Read(&r, &buf); err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
		})
		sized := append(binary.BigEndian.AppendUint32(nil, uint32(len(set))), set...)
		run("kafka-go", func() (n int) {
			var rs protocol.RecordSet
			if _, err := rs.ReadFrom(bytes.NewBuffer(sized)); err != nil {
				b.Fatal(err)
			}
			var buf []byte
			for _, batch := range rs.Records.(*protocol.RecordStream).Records {
				for {
					r, err := batch.ReadRecord()
					if errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						b.Fatal(err)
					}
					for _, part := range []protocol.Bytes{r.Key, r.Value} { // copied out of the pages, as they must be
						if cap(buf)-len(buf) < part.Len() {
							buf = make([]byte, 0, 32<<10)
						}
						at := len(buf)
						buf = buf[:at+part.Len()]
						if _, err := io.ReadFull(part, buf[at:]); err != nil {
							b.Fatal(err)
						}
						_ = part.Close()
					}
					n++
				}
			}
			return n
		})
		run("franz-go", func() int {
			partition := kmsg.NewFetchResponseTopicPartition()
			partition.RecordBatches = set
			fetched, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &partition, decompressor, nil)
			return len(fetched.Records)
		})
	}
}
