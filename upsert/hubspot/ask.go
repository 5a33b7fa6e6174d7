package hubspot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// What HubSpot does beside taking tasks. Each question is one request, which counts as one of the account's calls and
// stays out of the pace. Only PostTo can change something there.

// Get reads what is at a path, which may carry a query, on HubSpot's host. As with Post, where HubSpot's token endpoint
// refuses an access token, that is the answer.
func (c *Client) Get(ctx context.Context, path string) (Answer, error) {
	return c.ask(ctx, http.MethodGet, path, nil)
}

// PostTo sends a body to a path on HubSpot's host. As with Post, of an error it is not known what HubSpot did with the
// request, and where HubSpot's token endpoint refuses an access token, that is the answer.
func (c *Client) PostTo(ctx context.Context, path string, body []byte) (Answer, error) {
	return c.ask(ctx, http.MethodPost, path, body)
}

// tokenInfo tells what a private app's token, or a service key, may do. It wants the token in the body, too.
const tokenInfo = "/oauth/v2/private-apps/get/access-token-info"

// Scopes asks HubSpot what the token may do. known is false where HubSpot does not tell.
func (c *Client) Scopes(ctx context.Context) (scopes []string, known bool, err error) {
	if c.oauth != nil {
		scopes, _ = c.oauth.granted()
		return scopes, len(scopes) > 0, nil
	}
	body, err := json.Marshal(map[string]string{"tokenKey": c.cfg.Token.Value()})
	if err != nil {
		return nil, false, fmt.Errorf("make the request: %w", err)
	}
	res, err := c.ask(ctx, http.MethodPost, tokenInfo, body)
	if err != nil {
		return nil, false, err
	}
	defer res.Release()
	var told struct {
		Scopes []string `json:"scopes"`
	}
	if res.Status != http.StatusOK || json.Unmarshal(res.Body, &told) != nil {
		return nil, false, nil
	}
	return told.Scopes, len(told.Scopes) > 0, nil
}

// Replaced tells whether HubSpot sent another refresh token in place of the one that was configured, which may be of no
// more use then.
func (c *Client) Replaced() bool {
	if c.oauth == nil {
		return false
	}
	_, another := c.oauth.granted()
	return another
}

func (c *Client) ask(ctx context.Context, method, path string, body []byte) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	path, query, _ := strings.Cut(path, "?")
	target, err := url.JoinPath(c.cfg.URL, path)
	if err != nil {
		return Answer{}, fmt.Errorf("join %s and %s: %w", c.cfg.URL, path, err)
	}
	if query != "" {
		target += "?" + query
	}
	req, refused, err := c.authorize(ctx, method, target, bytes.NewReader(body))
	switch {
	case refused != nil:
		return *refused, nil
	case err != nil:
		return Answer{}, fmt.Errorf("ask HubSpot: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		c.fresh(err)
		return Answer{}, fmt.Errorf("ask HubSpot: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	return c.read(ctx, res, AnswerBound(0, len(body)))
}
