package pace

import (
	"net/http"
	"strconv"
	"time"
)

// What headers may say. Whatever is beyond is a mistake of whoever wrote it, and changes nothing.
const (
	leastInterval, mostInterval = 1000, 3_600_000 // milliseconds
	mostLimit                   = 100_000         // requests in a window
	mostDaily                   = 100_000_000     // calls in a day

	tellAgain = time.Hour // about the same header
)

// word is what the headers of an answer say. A number is -1 where they say nothing, or what cannot be.
type word struct {
	limit, remaining      int           // of the window
	interval              time.Duration // the window; 0 where it is not said
	daily, dailyRemaining int
}

// read reads the headers. The log has what cannot be.
func (p *Pace) read(h http.Header, now time.Time) word {
	w := word{
		limit: p.number(h, "X-Hubspot-Ratelimit-Max", 1, mostLimit, now),
		daily: p.number(h, "X-Hubspot-Ratelimit-Daily", 1, mostDaily, now),
	}
	if ms := p.number(h, "X-Hubspot-Ratelimit-Interval-Milliseconds", leastInterval, mostInterval, now); ms > 0 {
		w.interval = time.Duration(ms) * time.Millisecond
	}
	w.remaining = p.number(h, "X-Hubspot-Ratelimit-Remaining", 0, max(w.limit, 0), now)
	w.dailyRemaining = p.number(h, "X-Hubspot-Ratelimit-Daily-Remaining", 0, max(w.daily, 0), now)
	return w
}

func (p *Pace) number(h http.Header, name string, least, most int, now time.Time) int {
	text := h.Get(name)
	if text == "" {
		return -1
	}
	n, err := strconv.Atoi(text)
	if err == nil && n >= least && n <= most {
		return n
	}
	if now.Sub(p.told[name]) >= tellAgain {
		p.told[name] = now
		p.log.Warn().Str("header", name).Bool("number", err == nil).Int("value", n).Int("least", least).Int("most", most).
			Msg("a header of HubSpot's answer cannot be right, and is left out of account; look at proxies in between")
	}
	return -1
}
