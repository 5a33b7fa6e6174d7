package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// account is the bench's end of a simulated HubSpot.
type account struct {
	process *process
	url     string
	control string
}

// openAccount starts a simulator of its own for one run.
func openAccount(ctx context.Context, limit int, latency time.Duration) (*account, error) {
	p, lines, err := startRole(ctx, "simulator", 2)
	if err != nil {
		return nil, err
	}
	a := &account{process: p, url: lines[0], control: lines[1]}
	if err := a.set(ctx, change{Limit: &limit, Latency: &latency}); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *account) close() { a.process.kill() }

func (a *account) set(ctx context.Context, c change) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return a.ask(ctx, http.MethodPost, "/account", body, nil)
}

func (a *account) counts(ctx context.Context) (c counts, err error) {
	return c, a.ask(ctx, http.MethodGet, "/counts", nil, &c)
}

func (a *account) log(ctx context.Context) (l accountLog, err error) {
	return l, a.ask(ctx, http.MethodGet, "/log", nil, &l)
}

func (a *account) ask(ctx context.Context, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.control+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the simulator: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the simulator for %s: %s", path, res.Status)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("read the simulator's %s: %w", path, err)
	}
	return nil
}
