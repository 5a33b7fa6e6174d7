package config

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/internal/secret"
)

const secretsEvery = 5 * time.Second // how often WatchSecrets looks

// secretFile is a setting that names a file with a secret.
type secretFile struct {
	flag, path string
	read       func(path string) (*secret.Secret, error)
}

func (c Config) kafkaSecrets() []secretFile {
	return []secretFile{{"--kafka-sasl-password-file", c.KafkaSASLPasswordFile, secret.PasswordFile}}
}

func (c Config) hubspotSecrets() []secretFile {
	return []secretFile{{"--hubspot-token-file", c.HubspotTokenFile, secret.File},
		{"--hubspot-oauth-client-secret-file", c.HubspotOAuthClientSecretFile, secret.File},
		{"--hubspot-oauth-refresh-token-file", c.HubspotOAuthRefreshTokenFile, secret.File}}
}

// readable refuses files that hold no secret, or one that cannot be right.
func readable(wrong func(string, ...any), files []secretFile) {
	for _, f := range files {
		if f.path == "" {
			continue
		}
		if _, err := f.read(f.path); err != nil {
			wrong("%s=%s: %v", f.flag, f.path, err)
		}
	}
}

// WatchSecrets logs when the new content of a secret's file cannot be used, until ctx ends: what the file held before
// stays in use then, and without the log nobody would learn why the new secret has no effect. What is wrong at one look
// only may be a file that is being written, and is not logged.
func (c Config) WatchSecrets(ctx context.Context, log zerolog.Logger) {
	type state struct {
		seen   string // what was wrong at the last look
		logged string
	}
	files := append(c.kafkaSecrets(), c.hubspotSecrets()...)
	states := make([]state, len(files))
	look := func(f secretFile, s *state) {
		_, err := f.read(f.path)
		switch {
		case err == nil && s.logged != "":
			log.Info().Msg(f.flag + ": the file holds a secret that can be used again")
			*s = state{}
		case err == nil:
			s.seen = ""
		case s.seen == err.Error() && s.logged != s.seen:
			log.Error().Err(err).Msg(f.flag + ": the file cannot be used; what it held before stays in use")
			s.logged = s.seen
		default:
			s.seen = err.Error()
		}
	}
	ticker := time.NewTicker(secretsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for i, f := range files {
			if f.path != "" {
				look(f, &states[i])
			}
		}
	}
}
