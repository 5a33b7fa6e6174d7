// Package hubspot asks HubSpot: one request, one answer.
//
// # Promises
//
// A Client never repeats a request by itself, and follows no redirect. Each attempt ends in time, wherever it hangs. A
// request that may not leave any more is cut short, so that HubSpot cannot take it for a whole one. An answer's body is
// read up to a bound, and no further. Access tokens are replaced before they expire. No error, no log line and no
// printed value shows a token or a secret.
//
// # Use
//
// New, and KeepToken in a goroutine of its own until the last request is answered. Post sends a batch; Get, Scopes and
// FindZone ask about the account; PostTo serves HubSpot's other endpoints. Release each Answer after use: its bytes
// serve again. The package knows neither Kafka nor tasks. What an answer means for the records of its request is for
// package upsert to say.
//
// # Tests
//
// The tests run a Client against real HTTP servers that hang, abort, redirect and answer at length. The stories of an
// app whose tokens expire or are revoked stand in package upsert, where a worker lives through them.
package hubspot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/internal/secret"
)

// Config says where HubSpot is, and how to log in.
type Config struct {
	URL, Path string
	Timeout   time.Duration  // of one attempt, from dialling to the last byte of the answer
	Token     *secret.Secret // the bearer token; not used with OAuth
	OAuth     *OAuthConfig   // nil: Token is used
	UserAgent string
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error) // nil: net.Dialer's

	// Room counts the memory of answers that are longer than 64 KiB. It gets the bytes by which a buffer grows, and less
	// than 0 when they are given back. It must not block. nil: nobody counts.
	Room func(bytes int64)
}

// Client sends single requests to HubSpot. It never repeats one by itself, and follows no redirect.
type Client struct {
	cfg       Config
	target    string
	transport *http.Transport
	oauth     *oauth        // nil: the token is the one that was configured
	long      chan struct{} // has a place for each long answer
}

// New returns a Client; it does not connect yet.
func New(cfg Config) (*Client, error) {
	target, err := url.JoinPath(cfg.URL, cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("join %s and %s: %w", cfg.URL, cfg.Path, err)
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: min(5*time.Second, cfg.Timeout), KeepAlive: 15 * time.Second}).DialContext
	}
	c := &Client{cfg: cfg, target: target, long: make(chan struct{}, mostLong), transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dial,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   min(5*time.Second, cfg.Timeout),
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		ResponseHeaderTimeout: cfg.Timeout,
		// A dead connection must not outlive the outage that killed it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}}
	if cfg.OAuth != nil {
		if c.oauth, err = newOAuth(cfg, c.transport); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Endpoint is the URL that Post sends to.
func (c *Client) Endpoint() string { return c.target }

// Timeout is how long one attempt may take.
func (c *Client) Timeout() time.Duration { return c.cfg.Timeout }

// KeepToken keeps a good access token at hand until ctx ends, where OAuth makes them expire; until it is called no
// request leaves. With a token that was configured it has nothing to do.
func (c *Client) KeepToken(ctx context.Context, log zerolog.Logger) {
	if c.oauth != nil {
		c.oauth.run(ctx, log)
	}
}

// FixedToken tells whether the token cannot change while the process runs.
func (c *Client) FixedToken() bool { return c.oauth == nil && c.cfg.Token.Fixed() }

// ReloadToken reads the credentials again, and tells whether there is hope for another answer.
func (c *Client) ReloadToken() (changed bool, err error) {
	if c.oauth != nil {
		return c.oauth.reload()
	}
	return c.cfg.Token.Reload()
}

// authorize makes a request that carries the token. Where HubSpot's token endpoint refuses one, refused is its answer.
func (c *Client) authorize(ctx context.Context, method, target string, body io.Reader) (
	req *http.Request, refused *Answer, err error) {
	var token string
	if c.oauth == nil {
		token = c.cfg.Token.Value()
	} else if token, err = c.oauth.bearer(ctx); err != nil {
		if no := (interface{ answer() Answer })(nil); errors.As(err, &no) {
			answer := no.answer()
			return nil, &answer, nil
		}
		return nil, nil, err
	}
	if req, err = http.NewRequestWithContext(ctx, method, target, body); err != nil {
		return nil, nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	if c.cfg.UserAgent != "" {
		req.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	return req, nil, nil
}

// Close closes the idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// ErrWithheld says that a request was not sent, because it might not be any more.
var ErrWithheld = errors.New("the request was withheld")

// Post sends one request and reads its answer. It asks may as the body leaves, and calls written when it has left,
// perhaps from another goroutine. Of an error other than ErrWithheld it is not known what HubSpot did with the request.
// The body is Post's from then on: its bytes serve again when the last of them has left. An answer with a body of more
// than bound bytes is ErrTooLong. Where HubSpot's token endpoint refuses an access token, that is the answer, and
// nothing was sent.
func (c *Client) Post(ctx context.Context, body []byte, bound int, may func() bool, written func()) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { written() }})
	payload := &revocableBody{may: may, body: body, left: body}
	// The transport repeats a request by itself if a reused connection turns out dead before a byte was written;
	// without GetBody, which a plain reader does not set, it repeats nothing that may have been sent.
	req, refused, err := c.authorize(ctx, http.MethodPost, c.target, payload)
	if req == nil {
		_ = payload.Close()
		if refused != nil {
			return *refused, nil
		}
		return Answer{}, fmt.Errorf("send to HubSpot: %w", err)
	}
	req.ContentLength = int64(len(body))
	req.Header.Set("Content-Type", "application/json")
	res, err := c.transport.RoundTrip(req)
	if err == nil {
		defer func() { _ = res.Body.Close() }()
	}
	if payload.withheld.Load() {
		return Answer{}, ErrWithheld
	}
	if err != nil {
		c.fresh(err)
		return Answer{}, fmt.Errorf("send to HubSpot: %w", err)
	}
	return c.read(ctx, res, bound)
}

// revocableBody is a body that stays incomplete if it may not leave. The transport may close it in one goroutine while
// another still reads it, and its bytes serve another request afterwards.
type revocableBody struct {
	may      func() bool
	withheld atomic.Bool

	mu         sync.Mutex
	body, left []byte
	closed     bool
}

func (b *revocableBody) Read(p []byte) (int, error) {
	// When all of it has left, HubSpot takes the request for a whole one, and its answer counts.
	if b.waits() && !b.may() {
		b.withheld.Store(true)
		return 0, ErrWithheld
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case len(b.left) == 0:
		return 0, io.EOF
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// waits tells whether bytes are left to send.
func (b *revocableBody) waits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.left) > 0
}

// Close gives the bytes back.
func (b *revocableBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	release(b.body)
	b.body, b.left, b.closed = nil, nil, true
	return nil
}

// fresh makes the next attempt dial anew after one that timed out: its connection may be dead without a sign.
func (c *Client) fresh(err error) {
	if timeout := net.Error(nil); errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) &&
		timeout.Timeout() {
		c.transport.CloseIdleConnections()
	}
}
