package offsetmap

import (
	"compress/flate"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
)

// Why Decode refuses a text. Any other error means damage.
var (
	ErrForeign = errors.New("the commit's metadata is not tasksink's")
	ErrNewer   = errors.New("the commit's metadata is of a newer format")
)

func damaged(what string) error { return errors.New("the commit's metadata is damaged: " + what) }

// Stored is a map as it was read back.
type Stored struct {
	Map
	Topic [16]byte // topic id; all zero: unknown, which is no topic's

	cluster [clusterLen]byte
	group   [groupLen]byte
}

// SameCluster tells whether the map was made in the cluster with this id. An empty id is unknown, and never the same.
func (s *Stored) SameCluster(cluster string) bool {
	return cluster != "" && s.cluster == clusterHash(cluster)
}

// SameGroup tells whether the map was made for the group.
func (s *Stored) SameGroup(group string) bool { return s.group == groupHash(group) }

// Decode reads metadata. The error is ErrForeign if tasksink did not write the text (nor "", which says nothing). It
// wraps ErrNewer if a newer tasksink wrote the text. Any other error says what is damaged.
func Decode(metadata string) (Stored, error) {
	number, rest, ok := cutVersion(metadata)
	if !ok {
		return Stored{}, ErrForeign
	}
	if number != version {
		return Stored{}, fmt.Errorf("%w: version %s; this tasksink reads version %s", ErrNewer, number, version)
	}
	if len(metadata) > maxText {
		return Stored{}, damaged("it is longer than Kafka's strings")
	}
	if strings.ContainsAny(rest, "\r\n") { // the library skips them
		return Stored{}, damaged("it is not base64url")
	}
	b, err := encoding.DecodeString(rest)
	if err != nil {
		return Stored{}, damaged("it is not base64url")
	}
	if len(b) < headLen+sumLen {
		return Stored{}, damaged("it is cut")
	}
	b, sum := b[:len(b)-sumLen], order.Uint32(b[len(b)-sumLen:])
	if checksum(b) != sum {
		return Stored{}, damaged("the checksum differs")
	}
	return decode(b)
}

// cutVersion splits a text of any version of the format. Versions begin with 1.
func cutVersion(metadata string) (number, rest string, ok bool) {
	rest, ok = strings.CutPrefix(metadata, program)
	if !ok {
		return "", "", false
	}
	number, rest, ok = strings.Cut(rest, ".")
	if !ok || number == "" || len(number) > 9 || number[0] == '0' || strings.Trim(number, "0123456789") != "" {
		return "", "", false
	}
	return number, rest, true
}

// checksum is that of the prefix and the bytes.
func checksum(b []byte) uint32 { return crc32.Update(prefixSum, crc32.IEEETable, b) }

var prefixSum = crc32.ChecksumIEEE([]byte(prefix))

// decode reads head and body.
func decode(b []byte) (s Stored, err error) {
	kind, b := b[0], b[1:]
	b = b[copy(s.cluster[:], b):]
	b = b[copy(s.group[:], b):]
	b = b[copy(s.Topic[:], b):]
	committed, epoch, body := order.Uint64(b), int32(order.Uint32(b[8:])), b[12:]
	if kind > kindBitmap|deflated {
		return Stored{}, damaged("the body is of an unknown kind")
	}
	if committed > math.MaxInt64 {
		return Stored{}, damaged("the committed offset is negative")
	}
	if epoch < -1 {
		return Stored{}, damaged("the leader epoch is negative")
	}
	if kind&deflated != 0 {
		if body, err = inflate(body); err != nil {
			return Stored{}, err
		}
	}
	s.Committed, s.Epoch = int64(committed), epoch
	if kind&kindBitmap != 0 {
		s.Settled, err = readBitmap(body, s.Committed)
	} else {
		s.Settled, err = readRuns(body, s.Committed)
	}
	if err != nil {
		return Stored{}, err
	}
	return s, nil
}

func inflate(body []byte) ([]byte, error) {
	from := strings.NewReader(string(body)) // a ByteReader, of which no more is read than the stream has
	r := flate.NewReader(from)
	out, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	switch {
	case err != nil:
		return nil, damaged("the body cannot be inflated")
	case len(out) > maxBody:
		return nil, damaged("the body inflates to more than 1 MiB")
	case from.Len() > 0:
		return nil, damaged("bytes follow the compressed body")
	}
	return out, nil
}
