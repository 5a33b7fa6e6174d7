package hubspot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

const (
	accountInfo  = "/account-info/v3/details"
	zoneAskAgain = time.Minute
)

// FindZone asks HubSpot for the account's time zone until it knows, and hands it to found. It gives up when HubSpot
// refuses to tell, as it does where the token lacks the right to ask: then the day's end is seen when it comes.
func (c *Client) FindZone(ctx context.Context, found func(*time.Location), log zerolog.Logger) {
	for {
		zone, final, err := c.zone(ctx)
		switch {
		case err == nil:
			log.Info().Stringer("zone", zone).Msg("the account's day ends at midnight in this time zone")
			found(zone)
			return
		case final:
			log.Info().Err(err).Msg("the account's time zone is unknown: the end of its day is assumed at midnight UTC, " +
				"until it is seen; --hubspot-timezone tells it")
			return
		}
		select {
		case <-time.After(zoneAskAgain):
		case <-ctx.Done():
			return
		}
	}
}

// zone asks once; final tells that asking again is no use.
func (c *Client) zone(ctx context.Context) (zone *time.Location, final bool, err error) {
	res, err := c.Get(ctx, accountInfo)
	if err != nil {
		return nil, false, fmt.Errorf("ask HubSpot for the account: %w", err)
	}
	defer res.Release()
	if res.Status != http.StatusOK {
		refused := res.Status == http.StatusForbidden || res.Status == http.StatusNotFound ||
			res.Status == http.StatusBadRequest
		return nil, refused, fmt.Errorf("ask HubSpot for the account: status %d", res.Status)
	}
	var account struct {
		TimeZone string `json:"timeZone"`
	}
	if err := json.Unmarshal(res.Body, &account); err != nil {
		return nil, true, fmt.Errorf("read HubSpot's account info: %w", err)
	}
	if account.TimeZone == "" {
		return nil, true, errors.New("HubSpot's account info names no time zone")
	}
	zone, err = time.LoadLocation(account.TimeZone)
	return zone, true, err
}
