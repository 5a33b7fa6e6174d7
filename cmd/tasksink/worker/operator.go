package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/consumer"
)

const (
	fileEvery   = time.Second            // between two looks at the file
	fileSettles = 500 * time.Millisecond // until the second look at a change: somebody may still be writing
	fileMost    = 1 << 20                // bytes
	mostNamed   = 10                     // lines or records that the log names at a time
	overdue     = 30 * time.Second       // from when on the log names a record that was not found
)

// deadLetterFile is --dead-letter-file: an operator lists records there that are to become dead letters now. It belongs
// to the goroutine of run.
type deadLetterFile struct {
	path   string
	topics []string
	// handOver makes dead letters of the records that listed likes, and returns them.
	handOver func(listed func(*consumer.Record) bool) []*consumer.Record
	log      zerolog.Logger

	seen    os.FileInfo // at the last look; nil: there was no file
	looked  bool
	read    bool   // what was seen is in force
	problem string // that was logged last
	lines   map[place]*line
}

// place names a record.
type place struct {
	topic     string
	partition int
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("%s/%d/%d", p.topic, p.partition, p.offset) }

// line is what became of a line of the file. It works once, until it is taken out of the file.
type line struct {
	since  time.Time
	letter *consumer.Record // on its way to the dead-letter topic
	done   bool
	warned bool
}

// run follows the file until ctx ends.
func (f *deadLetterFile) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := fileEvery
		if changed := f.look(); changed {
			wait = fileSettles
		}
		f.work()
		timer.Reset(wait)
	}
}

// look reads the file if it is another one than what is in force, and did not change since the last look: half a line
// would name another record. It tells whether the file changed.
func (f *deadLetterFile) look() (changed bool) {
	seen, err := os.Stat(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.complain(err.Error())
		return false
	}
	if !f.looked || !sameFile(f.seen, seen) {
		f.seen, f.looked, f.read = seen, true, false
		return true
	}
	if f.read {
		f.problem = ""
		return false
	}
	content, err := f.content()
	if after, _ := os.Stat(f.path); !sameFile(f.seen, after) {
		f.looked = false
		return true
	}
	if err != nil {
		f.complain(err.Error())
		return false
	}
	f.read, f.problem = true, ""
	if f.seen == nil {
		f.complain("it does not exist: nothing is listed until it does")
	}
	f.list(content)
	return false
}

// sameFile compares two looks. Kubernetes swaps a symbolic link, an editor renames.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// content reads the file that was seen; nothing if there is none.
func (f *deadLetterFile) content() (content []byte, err error) {
	switch {
	case f.seen == nil:
		return nil, nil
	case !f.seen.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case f.seen.Size() > fileMost:
		return nil, fmt.Errorf("it has %d bytes: %d are read at the most", f.seen.Size(), fileMost)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, fileMost))
}

// complain logs a problem once. What was listed before stays in force.
func (f *deadLetterFile) complain(problem string) {
	if problem == f.problem {
		return
	}
	f.problem = problem
	f.log.Warn().Str("file", f.path).Msg("the file of --dead-letter-file: " + problem)
}

// list puts the file's lines in force. The log never quotes a line: the file may be a wrong one, with a secret.
func (f *deadLetterFile) list(content []byte) {
	listed, wrong := map[place]*line{}, 0
	now := time.Now()
	n := 0
	for text := range bytes.Lines(bytes.TrimPrefix(content, []byte("\ufeff"))) {
		n++
		text := strings.TrimSpace(string(text))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		at, problem := f.parse(text)
		if problem != "" {
			if wrong++; wrong <= mostNamed {
				f.log.Warn().Str("file", f.path).Int("line", n).Msgf("the file of --dead-letter-file: line %d is left out: %s",
					n, problem)
			}
			continue
		}
		if listed[at] = f.lines[at]; listed[at] == nil {
			listed[at] = &line{since: now}
		}
	}
	f.lines = listed
	f.log.Info().Str("file", f.path).Int("records", len(listed)).Int("wrong_lines", wrong).
		Msg("the file of --dead-letter-file was read")
}

// parse reads topic/partition/offset. Topics hold no slash.
func (f *deadLetterFile) parse(text string) (at place, problem string) {
	const malformed = "write topic/partition/offset, such as tasks/0/5"
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return at, malformed
	}
	partition, err := strconv.ParseUint(parts[1], 10, 31)
	offset, err2 := strconv.ParseUint(parts[2], 10, 63)
	if err != nil || err2 != nil {
		return at, malformed
	}
	if !slices.Contains(f.topics, parts[0]) {
		return at, "its topic is not among --kafka-topics"
	}
	return place{parts[0], int(partition), int64(offset)}, ""
}

// work hands over the records that are listed and found, and follows what became of them.
func (f *deadLetterFile) work() {
	if !f.open() {
		return
	}
	for _, rec := range f.handOver(func(rec *consumer.Record) bool {
		l := f.lines[placeOf(rec)]
		return l != nil && !l.done && l.letter == nil
	}) {
		f.lines[placeOf(rec)].letter = rec
		f.log.Warn().Str("topic", rec.Topic).Int("partition", rec.Partition).Int64("offset", rec.Offset).
			Msgf("record %s: it becomes a dead letter, as an operator listed it", placeOf(rec))
	}
	now := time.Now()
	var missing []place
	for at, l := range f.lines {
		switch {
		case l.done:
		case l.letter == nil:
			if !l.warned && now.Sub(l.since) >= overdue {
				l.warned = true
				missing = append(missing, at)
			}
		case l.letter.Settled():
			l.done, l.letter = true, nil
		case l.letter.Gone(): // given up with its partition before Kafka had the letter
			l.letter = nil
		}
	}
	f.warn(missing)
}

// open tells whether a line did not work yet.
func (f *deadLetterFile) open() bool {
	for _, l := range f.lines {
		if !l.done {
			return true
		}
	}
	return false
}

func (f *deadLetterFile) warn(missing []place) {
	if len(missing) == 0 {
		return
	}
	var names []string
	for _, at := range missing[:min(len(missing), mostNamed)] {
		names = append(names, at.String())
	}
	slices.Sort(names)
	f.log.Warn().Strs("records", names).Int("count", len(missing)).Msgf("listed records were not found here within %v. "+
		"Another replica may have them; or they are settled, did not fail yet, wait behind an earlier record of their "+
		"object, or are in a request that is out. tasksink goes on looking", overdue)
}

func placeOf(rec *consumer.Record) place { return place{rec.Topic, rec.Partition, rec.Offset} }
