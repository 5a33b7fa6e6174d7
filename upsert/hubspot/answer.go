package hubspot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

const (
	answerBytes = 1 << 20   // that the body of an answer may have, unpacked
	inputBytes  = 128 << 10 // that it may have besides for each input of its request: a result of the largest task
)

// AnswerBound is how many bytes the answer to a request with so many inputs may have, unpacked. HubSpot echoes what was
// sent, so the answer to a request of more than 1 MiB, which has a single large input, may be as long.
func AnswerBound(inputs, sent int) int { return max(answerBytes, sent) + inputs*inputBytes }

// ErrTooLong says that an answer's body is longer than its bound. What follows the bound was not read.
var ErrTooLong = errors.New("the body is too long")

// Answer is an HTTP answer, read to its end. Release ends its use.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Login  bool // HubSpot's token endpoint refused an access token: nothing was sent

	room    func(bytes int64)
	counted int64         // bytes that room counts for the body
	long    chan struct{} // has a place for each long answer
	placed  bool          // one of them is this answer's
}

// Release gives the body's bytes back. They will be another request's, or another answer's.
func (a Answer) Release() {
	release(a.Body)
	a.count(0)
	if a.placed {
		<-a.long
	}
}

const (
	largestKept = 1 << 20   // bytes of a buffer that is used again
	longAnswer  = 512 << 10 // bytes of a body from which on it needs a place
	mostLong    = 3         // such answers that are in memory at a time
	uncounted   = 64 << 10  // bytes of a body up to which Config.Room does not count it
	firstRead   = 4 << 10   // bytes of a buffer that no answer has used before
)

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Buffer returns an empty buffer for a request's body. Post takes it back.
func Buffer() []byte { return (*buffers.Get().(*[]byte))[:0] }

func release(b []byte) {
	if cap(b) > 0 && cap(b) <= largestKept {
		buffers.Put(&b)
	}
}

// read reads an answer whose body has at most bound bytes.
func (c *Client) read(ctx context.Context, res *http.Response, bound int) (Answer, error) {
	a := Answer{Status: res.StatusCode, Header: res.Header, Body: Buffer(), room: c.cfg.Room, long: c.long}
	if err := a.read(ctx, res.Body, res.ContentLength, bound); err != nil {
		a.Release()
		c.fresh(err)
		return Answer{}, fmt.Errorf("read HubSpot's answer: %w", err)
	}
	return a, nil
}

// read reads the body, of which so many bytes are announced; -1 if that is not known.
func (a *Answer) read(ctx context.Context, r io.Reader, announced int64, bound int) error {
	if announced > int64(bound) {
		return fmt.Errorf("%w: %d bytes, and %d are the most", ErrTooLong, announced, bound)
	}
	if err := a.grow(ctx, int(max(announced, 0))+1); err != nil { // one byte more shows the end
		return err
	}
	for {
		n, err := r.Read(a.Body[len(a.Body):cap(a.Body)])
		a.Body = a.Body[:len(a.Body)+n]
		switch {
		case len(a.Body) > bound:
			return fmt.Errorf("%w: more than %d bytes", ErrTooLong, bound)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case len(a.Body) == cap(a.Body):
			size := bound + 1
			if 2*cap(a.Body) < bound {
				size = 2 * cap(a.Body)
			}
			if err := a.grow(ctx, size); err != nil {
				return err
			}
		case len(a.Body) > uncounted:
			a.count(cap(a.Body)) // the buffer was as large before
		}
	}
}

// grow makes room for a body of so many bytes. A long one waits until few others are read: a few bytes on the wire may
// unpack to as many as the bound allows.
func (a *Answer) grow(ctx context.Context, size int) error {
	if size = max(size, firstRead); size <= cap(a.Body) {
		return nil
	}
	if size > longAnswer && !a.placed {
		select {
		case a.long <- struct{}{}:
			a.placed = true
		case <-ctx.Done():
			return fmt.Errorf("wait until other long answers are read: %w", context.Cause(ctx))
		}
	}
	if size > uncounted {
		a.count(size)
	}
	larger := append(make([]byte, 0, size), a.Body...)
	release(a.Body)
	a.Body = larger
	return nil
}

// count makes room count the given bytes for the body, and no longer what it counted before.
func (a *Answer) count(bytes int) {
	if more := int64(bytes) - a.counted; a.room != nil && more != 0 {
		a.room(more)
		a.counted += more
	}
}
