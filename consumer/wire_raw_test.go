package consumer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// framed puts an answer's size before it.
func framed(size int, answer []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(size)), answer...)
}

// TestWireAnswerSize: an answer may come in pieces of any size. Its size is within the limit, and is not believed
// before the bytes have come.
func TestWireAnswerSize(t *testing.T) {
	whole := bytes.Repeat([]byte("answer"), 1<<20)
	for _, n := range []int{4, 5, 4096, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5 << 20} {
		got, err := readAnswer(iotest.HalfReader(bytes.NewReader(framed(n, whole[:n]))), nil, n)
		if err != nil || !bytes.Equal(got, whole[:n]) {
			t.Errorf("%d bytes: %d came, %v", n, len(got), err)
		}
	}
	for _, size := range []int{-1 << 31, -1, 0, 3, 1001} {
		if _, err := readAnswer(bytes.NewReader(framed(size, whole)), nil, 1000); !errors.Is(err, errAnswer) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	for _, n := range []int{0, 1, 1 << 20, 3 << 20} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readAnswer(bytes.NewReader(framed(answerLimit, whole[:n])), nil, answerLimit)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, io.ErrUnexpectedEOF) || took > uint64(2<<20+5*n) {
			t.Errorf("%d bytes of 100 MiB: %v, and %d bytes of memory", n, err, took)
		}
	}
}

// TestWireBuffer: a buffer that is large enough is used.
func TestWireBuffer(t *testing.T) {
	buffer := make([]byte, 10, 100)
	got, err := readAnswer(bytes.NewReader(framed(100, make([]byte, 100))), buffer, 1000)
	if err != nil || len(got) != 100 || &got[0] != &buffer[0] {
		t.Errorf("%d bytes in another buffer, %v", len(got), err)
	}
	got, err = readAnswer(bytes.NewReader(framed(101, make([]byte, 101))), buffer, 1000)
	if err != nil || len(got) != 101 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// scripted is a broker at the other end of a pipe that speaks versions 0 to newest of everything, and answers each
// other request with answer, behind the correlation id plus skew.
func scripted(t *testing.T, newest int16, skew int32, answer []byte) io.ReadWriter {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	_ = ours.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		for {
			var size [4]byte
			if _, err := io.ReadFull(theirs, size[:]); err != nil {
				return
			}
			req := make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(theirs, req); err != nil {
				return
			}
			id := int32(binary.BigEndian.Uint32(req[4:])) + skew
			body := answer
			if protocol.ApiKey(binary.BigEndian.Uint16(req)) == protocol.ApiVersions {
				res := kmsg.NewPtrApiVersionsResponse()
				for _, a := range apis {
					res.ApiKeys = append(res.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(a.api.key), MaxVersion: newest})
				}
				body, id = res.AppendTo(nil), id-skew
			}
			b := append(binary.BigEndian.AppendUint32(nil, uint32(id)), body...)
			if _, err := theirs.Write(framed(len(b), b)); err != nil {
				return
			}
		}
	}()
	return ours
}

// TestWireExchange: the newest version that the broker speaks is taken, and an answer to another request is refused.
func TestWireExchange(t *testing.T) {
	ask := func(newest int16, skew int32) (protocol.Message, error) {
		req := rawRequest{api: epochAPI, newest: epochAPI.newest, clientID: "tasksink", correlation: 7,
			spoken: &spokenVersions{},
			write:  func(f *requestFields, version int16) { writeEpochs(f, version, someEpochs) }}
		return req.RawExchange(scripted(t, newest, skew, encoded(epochAPI, min(newest, 3), epochResponse())))
	}
	for newest, want := range map[int16]int16{2: 2, 3: 3, 9: 3} {
		msg, err := ask(newest, 0)
		if err != nil {
			t.Errorf("a broker that speaks up to %d: %v", newest, err)
			continue
		}
		answer := msg.(rawAnswer)
		if ends, err := decodeEpochs(answer); answer.version != want || err != nil || len(ends) != 2 {
			t.Errorf("a broker that speaks up to %d: version %d, %v, %v", newest, answer.version, ends, err)
		}
	}
	if _, err := ask(1, 0); !errors.Is(err, kafka.UnsupportedVersion) {
		t.Errorf("a broker that is too old: %v", err)
	}
	if _, err := ask(3, 1); !errors.Is(err, errAnswer) {
		t.Errorf("another request's answer: %v", err)
	}
}

// TestWireForgets: what a broker speaks is asked once for each connection, and forgotten with it.
func TestWireForgets(t *testing.T) {
	var spoken spokenVersions
	known := func() int {
		spoken.mu.Lock()
		defer spoken.mu.Unlock()
		return len(spoken.byConn)
	}
	func() {
		rw := scripted(t, 3, 0, nil)
		conn := protocol.NewConn(rw.(net.Conn), "tasksink")
		for range 2 {
			if _, err := spoken.of(conn, "tasksink"); err != nil {
				t.Fatal(err)
			}
			_ = conn.Close() // a second question would have no answer
		}
		if known() != 1 {
			t.Errorf("%d connections are known", known())
		}
		runtime.KeepAlive(conn)
	}()
	for deadline := time.Now().Add(10 * time.Second); known() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a closed connection is still known")
		}
		runtime.GC()
	}
}
