package worker

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/tracing"
	"github.com/tasksink/tasksink/upsert"
)

// Config is every setting: a flag, an environment variable and a key of the YAML file, in this order of precedence.
type Config struct {
	KafkaBrokers                 []string      `group:"Kafka" placeholder:"HOST:PORT" help:"Brokers to ask first. Required."`
	KafkaTopics                  []string      `group:"Kafka" default:"tasks" help:"Topics to consume."`
	KafkaGroup                   string        `group:"Kafka" default:"tasksink" help:"Consumer group."`
	KafkaTLS                     bool          `group:"Kafka" name:"kafka-tls" help:"Use TLS."`
	KafkaTLSCA                   string        `group:"Kafka" name:"kafka-tls-ca" placeholder:"FILE" help:"Certificates to trust, PEM; default: the system's. Implies --kafka-tls. Read again for each connection, like the two below."`
	KafkaTLSCert                 string        `group:"Kafka" name:"kafka-tls-cert" placeholder:"FILE" help:"Own certificate, PEM. Implies --kafka-tls."`
	KafkaTLSKey                  string        `group:"Kafka" name:"kafka-tls-key" placeholder:"FILE" help:"Its key, PEM."`
	KafkaTLSServerName           string        `group:"Kafka" name:"kafka-tls-server-name" placeholder:"NAME" help:"Name to expect in the brokers' certificates; default: the host dialled."`
	KafkaSASLMechanism           string        `group:"Kafka" name:"kafka-sasl-mechanism" placeholder:"NAME" help:"plain, scram-sha-256 or scram-sha-512; default: none."`
	KafkaSASLUsername            string        `group:"Kafka" name:"kafka-sasl-username" placeholder:"NAME" help:"User name."`
	KafkaSASLPasswordFile        string        `group:"Kafka" name:"kafka-sasl-password-file" placeholder:"FILE" help:"File with the password; read again for each connection."`
	KafkaSASLPassword            Secret        `group:"Kafka" name:"kafka-sasl-password" placeholder:"PASSWORD" help:"The password itself; a file is safer."`
	DLQTopic                     string        `group:"Kafka" name:"dlq-topic" placeholder:"TOPIC" help:"Dead-letter topic; default: the record's topic with .dlq behind it."`
	HubspotURL                   string        `group:"HubSpot" name:"hubspot-url" default:"https://api.hubapi.com" help:"Where HubSpot is."`
	HubspotPath                  string        `group:"HubSpot" name:"hubspot-path" default:"/crm/v3/objects/tasks/batch/upsert" help:"The endpoint; dated versions are at /crm/objects/2026-03/tasks/batch/upsert and the like."`
	HubspotTokenFile             string        `group:"HubSpot" name:"hubspot-token-file" placeholder:"FILE" help:"File with the access token; read again when it changes, and on a 401. This, --hubspot-token or --hubspot-oauth-client-id is required."`
	HubspotToken                 Secret        `group:"HubSpot" name:"hubspot-token" placeholder:"TOKEN" help:"The access token itself; a file is safer."`
	HubspotOAuthClientID         string        `group:"HubSpot" name:"hubspot-oauth-client-id" placeholder:"ID" help:"OAuth app, instead of a token; access tokens are then got with the refresh token."`
	HubspotOAuthClientSecretFile string        `group:"HubSpot" name:"hubspot-oauth-client-secret-file" placeholder:"FILE" help:"File with the app's client secret; read again for each access token, and on a 401."`
	HubspotOAuthRefreshTokenFile string        `group:"HubSpot" name:"hubspot-oauth-refresh-token-file" placeholder:"FILE" help:"File with the refresh token of the app's installation in the account; read again for each access token, and on a 401."`
	HubspotOAuthPath             string        `group:"HubSpot" name:"hubspot-oauth-path" default:"/oauth/v3/token" help:"The token endpoint, on the host of --hubspot-url."`
	HubspotIDProperty            string        `group:"HubSpot" name:"hubspot-id-property" placeholder:"NAME" help:"Task property with unique values that ids belong to, for events that name none."`
	HubspotRate                  Rate          `group:"HubSpot" name:"hubspot-rate" default:"auto" help:"The account's requests per 10 s: auto follows HubSpot's headers, N is N until they say less, 0 is unlimited."`
	HubspotDaily                 Rate          `group:"HubSpot" name:"hubspot-daily" default:"auto" help:"The account's calls a day: auto follows HubSpot's headers, N caps them, 0 is no daily limit."`
	HubspotTimezone              string        `group:"HubSpot" name:"hubspot-timezone" default:"auto" help:"Time zone whose midnight ends the account's day, such as Europe/Berlin; auto: HubSpot's account info, else the observed jump of what is left, else UTC."`
	HubspotTimeout               time.Duration `group:"HubSpot" name:"hubspot-timeout" default:"15s" help:"For one attempt."`
	BatchSize                    int           `group:"Batches" default:"100" help:"Inputs in a request, 1 to 100."`
	BatchBytes                   Size          `group:"Batches" default:"1MiB" help:"Bytes in a request."`
	BatchWait                    time.Duration `group:"Batches" default:"500ms" help:"How long the oldest record waits for a batch to fill."`
	MaxInFlight                  int           `group:"Batches" default:"32" help:"Requests at once."`
	MaxPending                   int           `group:"Batches" default:"20000" help:"Records in memory."`
	MaxPendingBytes              Size          `group:"Batches" default:"64MiB" help:"Bytes of records in memory."`
	Tombstones                   string        `group:"Behaviour" default:"dead-letter" help:"Records without a value: dead-letter or skip."`
	OnFlood                      string        `group:"Behaviour" default:"hold" help:"After 1000 failures in a row that are alike: hold or dead-letter."`
	DrainTimeout                 time.Duration `group:"Behaviour" default:"20s" help:"For settling what was sent, before partitions are given up or the process stops."`
	Listen                       string        `group:"Behaviour" default:":8080" help:"Address of /livez, /readyz, /metrics and /status."`
	LogLevel                     string        `group:"Behaviour" default:"info" help:"debug, info, warn or error."`
	LogFormat                    string        `group:"Behaviour" default:"json" help:"json or console."`
	Insecure                     bool          `group:"Behaviour" help:"Allow plain http and SASL PLAIN without TLS to other hosts than this one."`
}

// Size is a number of bytes: 1048576, 1MiB, 64MB.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > 1<<40 {
		return errors.New("write a size in bytes, such as 1MiB or 1048576")
	}
	*s = Size(n)
	return nil
}

// Rate is a number of requests per window, or of calls per day, or auto.
type Rate struct {
	Auto bool
	N    int
}

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*r = Rate{Auto: true}
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 {
		return errors.New("write auto, or a number of requests; 0 is unlimited")
	}
	*r = Rate{N: n}
	return nil
}

// Check names every mistake at once: the setting, its value, and what to do about it.
func (c Config) Check() error {
	var all []error
	wrong := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	oneOf := func(flag, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			wrong("%s=%s: choose one of %s", flag, value, strings.Join(allowed, ", "))
		}
	}
	atLeast := func(flag string, value, least int64) {
		if value < least {
			wrong("%s=%d: at least %d is needed", flag, value, least)
		}
	}
	if len(c.KafkaBrokers) == 0 {
		wrong("--kafka-brokers is missing: name at least one broker as host:port")
	}
	for _, b := range c.KafkaBrokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			wrong("--kafka-brokers=%s: write each broker as host:port", b)
		}
	}
	if len(c.KafkaTopics) == 0 {
		wrong("--kafka-topics is empty: name at least one topic")
	}
	if c.KafkaGroup == "" {
		wrong("--kafka-group is empty: name a consumer group")
	}
	for _, topic := range c.KafkaTopics {
		if topic == c.DLQTopic {
			wrong("--dlq-topic=%s: it is among --kafka-topics, and dead letters would be consumed again; name another topic", topic)
		}
	}
	c.checkKafkaSecurity(wrong, oneOf)
	c.checkHubSpot(wrong)
	atLeast("--batch-size", int64(c.BatchSize), 1)
	if c.BatchSize > 100 {
		wrong("--batch-size=%d: HubSpot takes at most 100 inputs in a request", c.BatchSize)
	}
	atLeast("--batch-bytes", int64(c.BatchBytes), 1024)
	atLeast("--max-in-flight", int64(c.MaxInFlight), 1)
	atLeast("--max-pending", int64(c.MaxPending), int64(max(1, c.BatchSize)))
	atLeast("--max-pending-bytes", int64(c.MaxPendingBytes), 1<<20)
	if c.BatchWait < 0 {
		wrong("--batch-wait=%v: it cannot be negative", c.BatchWait)
	}
	if c.HubspotTimeout < 100*time.Millisecond {
		wrong("--hubspot-timeout=%v: at least 100ms is needed", c.HubspotTimeout)
	}
	if c.DrainTimeout < c.HubspotTimeout+2*time.Second {
		wrong("--drain-timeout=%v: it must be at least --hubspot-timeout + 2s = %v, or a request that is out could not be waited for", c.DrainTimeout, c.HubspotTimeout+2*time.Second)
	}
	oneOf("--tombstones", c.Tombstones, "dead-letter", "skip")
	oneOf("--on-flood", c.OnFlood, "hold", "dead-letter")
	oneOf("--log-level", c.LogLevel, "debug", "info", "warn", "error")
	oneOf("--log-format", c.LogFormat, "json", "console")
	return errors.Join(all...)
}

func (c Config) checkHubSpot(wrong func(string, ...any)) {
	c.checkToken(wrong)
	u, err := url.Parse(c.HubspotURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		wrong("--hubspot-url=%s: write it as https://host", c.HubspotURL)
	case u.User != nil:
		wrong("--hubspot-url: it carries a password; the token is all that HubSpot wants")
	case u.Scheme == "http" && !c.Insecure && remote(u.Host):
		wrong("--hubspot-url=%s: plain http would send the token in clear: use https, or --insecure", c.HubspotURL)
	}
	if _, err := c.zone(); err != nil {
		wrong("--hubspot-timezone=%s: write auto, or a name such as Europe/Berlin or America/New_York", c.HubspotTimezone)
	}
	if !strings.HasPrefix(c.HubspotPath, "/") {
		wrong("--hubspot-path=%s: it must begin with /", c.HubspotPath)
	}
}

func (c Config) consumer(conn consumer.Connection, share func(own, total, first int), telemetry *tracing.Telemetry, board *hold.Board, log zerolog.Logger) consumer.Config {
	return consumer.Config{Connection: conn, Topics: c.KafkaTopics, Group: c.KafkaGroup, MaxPending: c.MaxPending,
		MaxPendingBytes: int64(c.MaxPendingBytes), DrainTimeout: c.DrainTimeout, Share: share, Telemetry: telemetry, Board: board, Log: log}
}

func (c Config) letters(conn consumer.Connection, telemetry *tracing.Telemetry, board *hold.Board, log zerolog.Logger) dlq.Config {
	return dlq.Config{Connection: conn, Group: c.KafkaGroup, Telemetry: telemetry, Board: board, Log: log, Topic: func(source string) string {
		if c.DLQTopic != "" {
			return c.DLQTopic
		}
		return source + ".dlq"
	}}
}

func (c Config) pace(load func() (lag, arrived int64), board *hold.Board) upsert.PaceConfig {
	zone, _ := c.zone() // Check has refused what is none
	return upsert.PaceConfig{Rate: c.HubspotRate.N, Auto: c.HubspotRate.Auto, Board: board, Day: upsert.DayConfig{
		Auto: c.HubspotDaily.Auto, Calls: c.HubspotDaily.N, Zone: zone, Wait: c.BatchWait, Load: load, Fill: c.BatchSize}}
}

// zone is whose midnight ends the account's day; nil if that is to be found out.
func (c Config) zone() (*time.Location, error) {
	if c.HubspotTimezone == "auto" {
		return nil, nil
	}
	return time.LoadLocation(c.HubspotTimezone)
}
