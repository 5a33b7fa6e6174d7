package hubspot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/oauth2"

	"github.com/tasksink/tasksink/internal/secret"
)

// OAuthConfig says how access tokens are got from HubSpot's OAuth 2.0 endpoint, which is on the API's host.
type OAuthConfig struct {
	Path         string // of the token endpoint
	ClientID     string
	ClientSecret *secret.Secret
	RefreshToken *secret.Secret
}

const (
	tokenLife  = 30 * time.Minute // of an access token, where HubSpot does not say
	tokenDoubt = time.Minute      // a 401 for a token that is older asks for another one; a newer one was just made
	// before refused credentials are offered again, if no 401 makes us look at the files before
	refusedPause = 30 * time.Second
	firstPause   = 250 * time.Millisecond
	outagePause  = 4 * time.Second  // the longest one while requests wait for a token that an outage withholds
	lastPause    = 60 * time.Second // the longest one otherwise
	tellEvery    = 10 * time.Second // between two lines in the log about the same trouble
)

// oauth keeps an access token, in memory only. One goroutine, that of run, gets a new one before the old one expires,
// so a request never waits for it unless there is no good one.
type oauth struct {
	cfg     OAuthConfig
	url     string
	http    *http.Client
	timeout time.Duration // of one attempt
	wake    chan struct{} // one place: get another token now

	// Of run's goroutine alone:
	renewed *secret.Secret // the refresh token that HubSpot sent in place of the file's; nil if it sent none
	file    *secret.Secret // what the file held then
	old     bool           // the file's is offered all the same: HubSpot refused the other one
	told    time.Time

	mu      sync.Mutex // guards what follows
	access  *secret.Secret
	scopes  []string // of access; empty if HubSpot did not say
	another bool     // HubSpot sent another refresh token than the file's
	got     time.Time
	until   time.Time // access is good before this
	doubted bool      // access met a 401 before its time, and another one was asked for: once is enough
	err     error     // of the last attempt to get one
	changed chan struct{}
}

// newOAuth shares the transport with the API: the same host, proxy, TLS and connections.
func newOAuth(cfg Config, transport http.RoundTripper) (*oauth, error) {
	target, err := url.JoinPath(cfg.URL, cfg.OAuth.Path)
	if err != nil {
		return nil, fmt.Errorf("join %s and %s: %w", cfg.URL, cfg.OAuth.Path, err)
	}
	return &oauth{cfg: *cfg.OAuth, url: target, timeout: cfg.Timeout, wake: make(chan struct{}, 1),
		changed: make(chan struct{}),
		http: &http.Client{Transport: transport,
			// A redirect would send the client secret somewhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// bearer is the access token. It waits only while the first one is being got; without a good one it fails as the last
// attempt to get one did.
func (o *oauth) bearer(ctx context.Context) (string, error) {
	for {
		o.mu.Lock()
		access, good, err, changed := o.access, time.Now().Before(o.until), o.err, o.changed
		o.mu.Unlock()
		switch {
		case good:
			return access.Value(), nil
		case err != nil:
			return "", err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("wait for an access token: %w", ctx.Err())
		}
	}
}

// reload reads the files again after a 401. A token that has served for a while may have been revoked, too.
func (o *oauth) reload() (changed bool, err error) {
	clientSecret, err1 := o.cfg.ClientSecret.Reload()
	refreshToken, err2 := o.cfg.RefreshToken.Reload()
	o.mu.Lock()
	now := time.Now()
	revoked := now.Before(o.until) && now.Sub(o.got) > tokenDoubt && !o.doubted
	o.doubted = o.doubted || revoked
	o.mu.Unlock()
	changed = clientSecret || refreshToken || revoked
	if changed {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
	return changed, errors.Join(err1, err2)
}

// run gets tokens until ctx ends: the next one when three quarters of the present one's life are over, or when reload
// asks for it. What fails is tried again.
func (o *oauth) run(ctx context.Context, log zerolog.Logger) {
	for failed := 0; ; {
		life, err := o.refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if failed++; err == nil {
			failed = 0
		}
		o.tell(log, err)
		wake := o.wake
		if limited := (*limitation)(nil); errors.As(err, &limited) {
			wake = nil // nothing that happens here ends it
		}
		select {
		case <-time.After(o.pause(life, failed, err)):
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// pause is how long to wait before the next attempt, after failed ones in a row.
func (o *oauth) pause(life time.Duration, failed int, err error) time.Duration {
	var no *refusal
	var limited *limitation
	switch {
	case err == nil:
		return life * 3 / 4
	case errors.As(err, &no):
		return refusedPause
	case errors.As(err, &limited):
		return max(limited.after+rand.N(limited.after/10+1), pauseAfter(failed, lastPause))
	default:
		return min(pauseAfter(failed, lastPause), max(pauseAfter(failed, outagePause), o.left()))
	}
}

// left is how long the present token is still good.
func (o *oauth) left() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(0, time.Until(o.until))
}

func (o *oauth) tell(log zerolog.Logger, err error) {
	if err == nil || time.Since(o.told) < tellEvery {
		return
	}
	o.told = time.Now()
	log.Error().Err(err).Float64("present_token_seconds", o.left().Seconds()).Msg("no new access token; trying again")
}

// pauseAfter is how long to wait after the n-th failure in a row: exponential, with jitter over its upper half.
func pauseAfter(n int, longest time.Duration) time.Duration {
	d := min(longest, firstPause<<min(max(n-1, 0), 10))
	return d/2 + rand.N(d/2)
}

// refresh gets an access token, and tells how long it lives.
func (o *oauth) refresh(ctx context.Context) (life time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	offered := o.cfg.RefreshToken.Value()
	if o.file == nil || offered != o.file.Value() {
		o.file, o.renewed, o.old = secret.Text(offered), nil, false
	}
	if o.renewed != nil && !o.old {
		offered = o.renewed.Value()
	}
	endpoint := oauth2.Config{ClientID: o.cfg.ClientID, ClientSecret: o.cfg.ClientSecret.Value(),
		Endpoint: oauth2.Endpoint{TokenURL: o.url, AuthStyle: oauth2.AuthStyleInParams}} // HubSpot wants them in the form
	asked := time.Now()
	token, err := endpoint.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, o.http),
		&oauth2.Token{RefreshToken: offered}).Token()
	if err == nil {
		if life = time.Duration(token.ExpiresIn) * time.Second; life <= 0 || life > 24*time.Hour {
			life = tokenLife
		}
		if o.renewed, o.old = nil, false; token.RefreshToken != o.file.Value() {
			o.renewed = secret.Text(token.RefreshToken)
		}
	} else {
		err = explained(err)
		if no := (*refusal)(nil); errors.As(err, &no) {
			o.old = !o.old // should the refresh token be what is wrong, the other one may still do
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err = err; err == nil {
		o.access, o.got, o.until, o.doubted = secret.Text(token.AccessToken), asked, asked.Add(life), false
		o.scopes, o.another = scopesOf(token), token.RefreshToken != o.file.Value()
	}
	close(o.changed)
	o.changed = make(chan struct{})
	return life, err
}

// granted is what the present access token may do, and whether it came with another refresh token than the file's.
func (o *oauth) granted() (scopes []string, another bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.scopes, o.another
}

func scopesOf(token *oauth2.Token) (scopes []string) {
	list, _ := token.Extra("scopes").([]any)
	for _, scope := range list {
		if name, ok := scope.(string); ok {
			scopes = append(scopes, name)
		}
	}
	return scopes
}

// refusal is the token endpoint's word that what we offer is no good.
type refusal struct {
	status        int
	category      string // such as BAD_REFRESH_TOKEN or invalid_grant
	correlationID string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("HubSpot's token endpoint refuses: status %d, %s", r.status, r.category)
}

// answer is the refusal as an answer of the API, so that it is judged as one: a 401 for credentials, a 404 for a wrong
// path.
func (r *refusal) answer() Answer {
	status := http.StatusUnauthorized
	if r.status != http.StatusBadRequest && r.status != http.StatusForbidden {
		status = r.status
	}
	body, err := json.Marshal(map[string]string{"status": "error", "category": r.category,
		"correlationId": r.correlationID})
	if err != nil {
		body = nil // strings can always be written
	}
	return Answer{Status: status, Header: http.Header{}, Body: body, Login: true}
}

// limitation is the token endpoint's word that it is asked too often.
type limitation struct{ after time.Duration }

const longestPause = 15 * time.Minute // that a limitation may ask for

func (l *limitation) Error() string {
	return "get an access token: HubSpot's token endpoint limits how often it is asked (429)"
}

// answer is the limitation as an answer of the API.
func (l *limitation) answer() Answer {
	return Answer{Status: http.StatusTooManyRequests, Header: http.Header{}, Login: true}
}

var (
	codeName      = regexp.MustCompile(`^[A-Za-z][A-Za-z_]{2,59}$`)
	correlationID = regexp.MustCompile(`^[0-9a-fA-F-]{8,64}$`)
)

// ErrTokenEndpoint says that the token endpoint was reached, and served neither a token nor a refusal.
var ErrTokenEndpoint = errors.New("get an access token: HubSpot's token endpoint does not serve")

// explained says what went wrong without the answer's own text, which may quote what was sent.
func explained(err error) error {
	var answered *oauth2.RetrieveError
	if !errors.As(err, &answered) {
		var sent *url.Error
		if errors.As(err, &sent) {
			return fmt.Errorf("get an access token: %w", err)
		}
		return fmt.Errorf("%w: it gave an answer that cannot be read", ErrTokenEndpoint)
	}
	status := answered.Response.StatusCode
	switch {
	case status >= 200 && status < 300:
		status = http.StatusBadRequest // it carries an error all the same
	case status == http.StatusTooManyRequests:
		return &limitation{RetryAfter(answered.Response.Header, time.Now(), longestPause)}
	case status >= 500, status == http.StatusRequestTimeout:
		return fmt.Errorf("%w: it answered %d", ErrTokenEndpoint, status)
	}
	var body struct {
		Status        string `json:"status"`
		Category      string `json:"category"`
		CorrelationID string `json:"correlationId"`
	}
	no := &refusal{status: status, category: fmt.Sprintf("HTTP_%d", status)}
	if json.Unmarshal(answered.Body, &body) != nil {
		return no // a page
	}
	for _, name := range []string{answered.ErrorCode, body.Category, body.Status} { // the last one says most
		if codeName.MatchString(name) && name != "error" {
			no.category = name
		}
	}
	if correlationID.MatchString(body.CorrelationID) {
		no.correlationID = body.CorrelationID
	}
	return no
}
