package hubspot

import (
	"net/http"
	"strconv"
	"time"
)

// RetryAfter reads Retry-After, in seconds or as a date, as far as most allows; 0 if it is absent or malformed.
func RetryAfter(h http.Header, now time.Time, most time.Duration) time.Duration {
	v := h.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		d = time.Duration(min(max(n, 0), int64(most/time.Second))) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), most)
}
