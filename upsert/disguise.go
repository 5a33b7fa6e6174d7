package upsert

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// byteOrderMark is U+FEFF in UTF-8. RFC 8259 forbids it before JSON, and an id that begins with it is another id.
const byteOrderMark = "\xef\xbb\xbf"

// compressions are those that programs apply to a value by themselves, by what their output begins with.
var compressions = []struct{ begin, name string }{
	{"\x1f\x8b", "gzip"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"\xff\x06\x00\x00sNaPpY", "snappy"},
	{"\x82SNAPPY\x00", "snappy"}, // as Java's SnappyOutputStream writes it
	{"\x04\x22\x4d\x18", "lz4"},
}

// disguise says what bytes that are no JSON are instead: the code of a dead letter, and a verb with what follows it.
// Both are empty if the bytes look like nothing that is known.
func disguise(b []byte) (code, what string) {
	if order := utf16Order(b); order != "" {
		return "UTF16", "is UTF-16 (" + order + "), not UTF-8"
	}
	if bytes.HasPrefix(b, []byte(byteOrderMark)) {
		return "BYTE_ORDER_MARK", "begins with a byte order mark"
	}
	for _, c := range compressions {
		if bytes.HasPrefix(b, []byte(c.begin)) {
			return "COMPRESSED", "is compressed with " + c.name
		}
	}
	if schema := registrySchema(b); schema != "" {
		return "SCHEMA_REGISTRY", "begins with the header of a schema registry, for " + schema
	}
	return "", ""
}

// utf16Order is the byte order of text in UTF-16, by its mark, or by the zeros in its first letters.
func utf16Order(b []byte) string {
	const look = 8
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return "little endian"
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return "big endian"
	case len(b) < 6 || len(b)%2 != 0:
		return ""
	}
	zeros := [2]int{}
	letters := min(len(b), look) / 2
	for i, c := range b[:2*letters] {
		if c == 0 {
			zeros[i%2]++
		}
	}
	switch zeros {
	case [2]int{0, letters}:
		return "little endian"
	case [2]int{letters, 0}:
		return "big endian"
	}
	return ""
}

// registrySchema names the schema in the header that a schema registry's serializers write before what they serialize:
// Confluent's, Apicurio's with ids of eight bytes, or that of AWS Glue. It is empty if there is no such header.
func registrySchema(b []byte) string {
	switch {
	case len(b) > 18 && b[0] == 3 && (b[1] == 0 || b[1] == 5):
		id := b[2:18]
		return fmt.Sprintf("schema %x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	case len(b) <= 5 || b[0] != 0:
		return ""
	}
	if id := int32(binary.BigEndian.Uint32(b[1:])); id > 0 { // a negative number is no id
		return fmt.Sprintf("schema %d", id)
	}
	if len(b) > 9 {
		if id := int64(binary.BigEndian.Uint64(b[1:])); id > 0 {
			return fmt.Sprintf("schema %d", id)
		}
	}
	return ""
}

// number names the number that a key of four or eight bytes, which is no text, is in Kafka's serializers.
func number(key []byte) string {
	if len(key) == 0 || key[0] != 0 && utf8.Valid(key) {
		return "" // text, although with a control character
	}
	switch len(key) {
	case 4:
		return fmt.Sprintf("the int32 %d", int32(binary.BigEndian.Uint32(key)))
	case 8:
		if utf16Order(key) != "" || avroString(key) {
			return ""
		}
		return fmt.Sprintf("the int64 %d", int64(binary.BigEndian.Uint64(key)))
	}
	return ""
}

// avroString tells whether a string in Avro, which begins with twice its length, stands behind a header and fills the
// rest.
func avroString(key []byte) bool {
	rest := string(key[5:])
	return registrySchema(key) != "" && int(rest[0]) == 2*(len(rest)-1) &&
		strings.IndexFunc(rest[1:], func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
