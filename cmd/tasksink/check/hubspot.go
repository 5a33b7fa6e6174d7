package check

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

const (
	accountPath = "/account-info/v3/details"
	maxSkew     = time.Minute // between HubSpot's clock and ours
)

// hubspotLook is what the looks at HubSpot share.
type hubspotLook struct {
	cfg     config.Config
	waiting *waiting
	client  *hubspot.Client
	calls   atomic.Int64 // that it made
}

// failure is HubSpot's word for what it refuses.
type failure struct {
	Category   string `json:"category"`
	PolicyName string `json:"policyName"`
	Errors     []struct {
		Context struct {
			Scopes []string `json:"requiredGranularScopes"`
		} `json:"context"`
	} `json:"errors"`
}

func lookAtHubSpot(ctx context.Context, cfg config.Config, w *waiting) []Row {
	h, failed, closed := connect(ctx, cfg, w)
	if h == nil {
		return []Row{failed}
	}
	defer closed()
	rows, _ := h.rows(ctx)
	return rows
}

// connect makes what the looks at HubSpot share. Where it cannot, h is nil, and failed says why. The access token stays
// good until closed is called, also after the end of ctx.
func connect(ctx context.Context, cfg config.Config, w *waiting) (h *hubspotLook, failed Row, closed func()) {
	client, err := cfg.Client(nil)
	if err != nil {
		return nil, Row{Check: "settings", Result: Failed, Seen: err.Error(),
			Remedy: "correct the file that the setting names"}, nil
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() { client.KeepToken(ctx, zerolog.Nop()) })
	return &hubspotLook{cfg: cfg, waiting: w, client: client}, Row{}, func() {
		stop()
		keeper.Wait()
		client.Close()
	}
}

// rows are what the looks see, and the account that they see it in.
func (h *hubspotLook) rows(ctx context.Context) ([]Row, account) {
	rows, account := h.accountRows(ctx)
	if !account.serves {
		for _, check := range []string{"scope", "id property", "quota"} {
			rows = append(rows, skip(check, "", "HubSpot does not serve us so far"))
		}
		return append(rows, account.clock), account
	}
	var scope, quota Row
	var properties []Row
	var all sync.WaitGroup
	all.Go(func() { scope = h.scopeRow(ctx) })
	all.Go(func() { properties = h.propertyRows(ctx) })
	all.Go(func() { quota = h.quotaRow(ctx, account) })
	all.Wait()
	return slices.Concat(rows, []Row{scope}, properties, []Row{quota, account.clock}), account
}

// get asks HubSpot one question.
func (h *hubspotLook) get(ctx context.Context, name, path string) (hubspot.Answer, failure, error) {
	ctx, done := within(ctx, h.waiting, name)
	defer done()
	h.calls.Add(1)
	res, err := h.client.Get(ctx, path)
	var f failure
	if err == nil && res.Status != http.StatusOK {
		_ = json.Unmarshal(res.Body, &f) // a page says nothing
	}
	return res, f, err
}

// account is the first answer.
type account struct {
	serves  bool   // us: the token is good
	id      string // empty if HubSpot does not say
	header  http.Header
	limited failure // of a 429
	clock   Row
}

// accountRows look whether HubSpot can be reached, and takes the token.
func (h *hubspotLook) accountRows(ctx context.Context) (rows []Row, seen account) {
	asked := time.Now()
	res, f, err := h.get(ctx, "HubSpot", accountPath)
	took := time.Since(asked)
	row := Row{Check: "HubSpot", Subject: h.cfg.HubspotURL, Result: Failed}
	seen = account{header: res.Header, limited: f, clock: clockRow(res.Header, asked.Add(took/2))}
	if errors.Is(err, hubspot.ErrTokenEndpoint) {
		row.Result, row.Seen = OK, "answers"
		return []Row{row, {"token", h.tokenFrom(), Failed, err.Error(),
				"see https://status.hubspot.com and --hubspot-oauth-path, and wait: tasksink goes on by itself when HubSpot does"}},
			seen
	}
	if err != nil {
		row.Seen, row.Remedy = plain(err), h.unreached(err)
		return []Row{row, skip("token", h.tokenFrom(), "HubSpot is not reached")}, seen
	}
	row.Result, row.Seen = OK, "answers"
	token := Row{Check: "token", Subject: h.tokenFrom(), Result: OK, Seen: "is good"}
	switch {
	case res.Status == http.StatusOK:
		var who struct {
			PortalID json.Number `json:"portalId"`
			TimeZone string      `json:"timeZone"`
		}
		if json.Unmarshal(res.Body, &who) == nil && who.PortalID != "" {
			seen.id = who.PortalID.String()
			token.Seen = "is good for account " + seen.id
			row.Seen += ", time zone " + who.TimeZone
		}
		if set := h.cfg.HubspotTimezone; set != "auto" && who.TimeZone != "" && set != who.TimeZone {
			row.Result, row.Seen = Warning, "answers, time zone "+who.TimeZone+"; --hubspot-timezone="+set
			row.Remedy = "leave --hubspot-timezone out, or set it to " + who.TimeZone +
				": the day's calls count from that midnight"
		}
	case res.Status == http.StatusUnauthorized:
		token.Result, token.Seen = Failed, "HubSpot refuses it: "+cmp.Or(f.Category, "status 401")
		token.Remedy = h.renewed(f.Category)
		return []Row{row, token}, seen
	case res.Status == http.StatusForbidden && f.Category != "":
		// The token is good, only the account's details are not for it.
	case res.Status == http.StatusTooManyRequests:
		// So is it here; the quota's row says more.
	case res.Status >= 500:
		row.Result, row.Seen = Failed, fmt.Sprintf("answers with status %d: an outage", res.Status)
		row.Remedy = "see https://status.hubspot.com, and wait: tasksink goes on by itself when HubSpot does"
		return []Row{row, skip("token", h.tokenFrom(), "HubSpot does not serve")}, seen
	default:
		row.Result, row.Seen = Failed, fmt.Sprintf("answers with status %d, which HubSpot does not", res.Status)
		row.Remedy = "check --hubspot-url (and --hubspot-oauth-path, with OAuth): is it https://api.hubapi.com, or a proxy " +
			"for it?"
		return []Row{row, skip("token", h.tokenFrom(), "it may not be HubSpot that answers")}, seen
	}
	if h.client.Replaced() {
		token.Result, token.Seen = Warning, token.Seen+"; HubSpot sent another refresh token in place of the file's"
		token.Remedy = "should a start be refused, install the app in the account again, and put its refresh token into " +
			"the file that --hubspot-oauth-refresh-token-file names"
	}
	seen.serves = true
	return []Row{row, token}, seen
}

// tokenFrom is the setting that the token comes from.
func (h *hubspotLook) tokenFrom() string {
	return cmp.Or(h.cfg.HubspotTokenFile, h.cfg.HubspotOAuthRefreshTokenFile, "--hubspot-token")
}

func (h *hubspotLook) renewed(category string) string {
	if h.cfg.HubspotToken != "" {
		return "set --hubspot-token to a valid token: HubSpot, " + keyPlace
	}
	return hubspot.AuthRemedy(category, false)
}

func (h *hubspotLook) unreached(err error) string {
	host := h.cfg.HubspotURL
	if u, parsed := url.Parse(h.cfg.HubspotURL); parsed == nil {
		host = u.Host
	}
	var (
		name      *net.DNSError
		authority x509.UnknownAuthorityError
		noTLS     tls.RecordHeaderError
		wrong     *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &name):
		return "correct --hubspot-url, let this machine resolve " + host + ", or set HTTPS_PROXY"
	case errors.As(err, &authority):
		return "if a proxy opens TLS on the way, add its authority to this machine's (SSL_CERT_FILE names a file of them); " +
			"else check --hubspot-url"
	case errors.As(err, &wrong):
		return "check --hubspot-url, and the clock of this machine: " + wrong.Err.Error()
	case errors.As(err, &noTLS):
		return "check --hubspot-url: no TLS is spoken there"
	default:
		return "let this machine through to " + host + " (firewall, NetworkPolicy), set HTTPS_PROXY, or correct --hubspot-url"
	}
}

// clockRow compares this machine's clock with HubSpot's, which tells full seconds. now is when HubSpot will have looked
// at it.
func clockRow(header http.Header, now time.Time) Row {
	theirs, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return skip("clock", "this machine's", "no answer of HubSpot's tells the time")
	}
	skew := now.Sub(theirs.Add(500 * time.Millisecond)).Round(time.Second)
	row := Row{"clock", "this machine's", OK, "agrees with HubSpot's", ""}
	if skew.Abs() <= 2*time.Second {
		return row
	}
	row.Seen = fmt.Sprintf("%v ahead of HubSpot's", skew)
	if skew < 0 {
		row.Seen = fmt.Sprintf("%v behind HubSpot's", -skew)
	}
	if skew.Abs() > maxSkew {
		row.Result, row.Remedy = Warning, "set this machine's clock by NTP (timedatectl set-ntp true): certificates, "+
			"tokens and the day's calls depend on it"
	}
	return row
}
