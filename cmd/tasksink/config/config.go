// Package config is tasksink's settings: flags, environment variables, the YAML file, and the credentials that these
// name. The commands share it.
//
// Config has a field for each setting, and its tags are the one place where the setting is described: the help,
// docs/settings.md, the schema and Check follow from them.
//
// Use: a Reader gathers a Config from the command line, the environment and the file, with all that is wrong. Check
// refuses what cannot work. Connection and Client reach Kafka and HubSpot with the credentials.
//
// The tests are those of the program, which call it as a user would.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"time"
)

// Config is every setting: a flag, an environment variable and a key of the YAML file, in this order of precedence. The
// tags are the one place where a setting is described: the help, docs/settings.md, the schema and Check follow them.
// Beside kong's there are kind (where the Go type does not tell it), choices, and least and most, the bounds.
type Config struct {
	KafkaBrokers []string `name:"kafka-brokers" group:"kafka" placeholder:"HOST:PORT" help:"Brokers to ask first; they name the others. Required."`
	KafkaTopics  []string `name:"kafka-topics" group:"kafka" placeholder:"TOPIC" default:"tasks" help:"Topics to consume."`
	KafkaGroup   string   `name:"kafka-group" group:"kafka" placeholder:"NAME" default:"tasksink" help:"Consumer group."`
	DLQTopic     string   `name:"dlq-topic" group:"kafka" placeholder:"TOPIC" help:"Dead-letter topic. Default: the record's topic with .dlq behind it."`

	KafkaTLS              bool   `name:"kafka-tls" group:"kafka-security" help:"Use TLS."`
	KafkaTLSCA            string `name:"kafka-tls-ca" group:"kafka-security" kind:"file" placeholder:"FILE" help:"Certificates to trust, PEM; implies --kafka-tls. Default: the system's. Read again for each connection, like the two below."`
	KafkaTLSCert          string `name:"kafka-tls-cert" group:"kafka-security" kind:"file" placeholder:"FILE" help:"Own certificate, PEM; implies --kafka-tls."`
	KafkaTLSKey           string `name:"kafka-tls-key" group:"kafka-security" kind:"file" placeholder:"FILE" help:"Its key, PEM."`
	KafkaTLSServerName    string `name:"kafka-tls-server-name" group:"kafka-security" placeholder:"NAME" help:"Name to expect in the brokers' certificates. Default: the host dialled."`
	KafkaSASLMechanism    string `name:"kafka-sasl-mechanism" group:"kafka-security" placeholder:"NAME" choices:"plain,scram-sha-256,scram-sha-512" help:"How to log in. Default: not at all."`
	KafkaSASLUsername     string `name:"kafka-sasl-username" group:"kafka-security" placeholder:"NAME" help:"User name."`
	KafkaSASLPasswordFile string `name:"kafka-sasl-password-file" group:"kafka-security" kind:"file" placeholder:"FILE" help:"File with the password; read again for each connection."`
	KafkaSASLPassword     Secret `name:"kafka-sasl-password" group:"kafka-security" placeholder:"PASSWORD" help:"The password itself; a file is safer."`

	HubspotURL          string        `name:"hubspot-url" group:"hubspot" kind:"url" placeholder:"URL" default:"https://api.hubapi.com" help:"Where HubSpot is."`
	HubspotPath         string        `name:"hubspot-path" group:"hubspot" kind:"path" placeholder:"PATH" default:"/crm/v3/objects/tasks/batch/upsert" help:"The endpoint; dated versions are at /crm/objects/2026-03/tasks/batch/upsert and the like."`
	HubspotIDProperty   string        `name:"hubspot-id-property" group:"hubspot" placeholder:"NAME" help:"Task property with unique values that ids belong to, for events that name none, such as external_task_id."`
	HubspotIDProperties []string      `name:"hubspot-id-properties" group:"hubspot" placeholder:"NAME" help:"Further such properties that events may name as their idProperty, such as invoice_id,ticket_id. An event that names any other property is a dead letter."`
	HubspotTimeout      time.Duration `name:"hubspot-timeout" group:"hubspot" placeholder:"TIME" default:"15s" least:"100ms" help:"How long one request may take."`

	HubspotTokenFile             string `name:"hubspot-token-file" group:"hubspot-login" kind:"file" placeholder:"FILE" help:"File with the access token; read again when it changes, and on a 401."`
	HubspotToken                 Secret `name:"hubspot-token" group:"hubspot-login" placeholder:"TOKEN" help:"The access token itself; a file is safer."`
	HubspotOAuthClientID         string `name:"hubspot-oauth-client-id" group:"hubspot-login" placeholder:"ID" help:"OAuth app, instead of a token; access tokens are then got with the refresh token."`
	HubspotOAuthClientSecretFile string `name:"hubspot-oauth-client-secret-file" group:"hubspot-login" kind:"file" placeholder:"FILE" help:"File with the app's client secret; read again for each access token, and on a 401."`
	HubspotOAuthRefreshTokenFile string `name:"hubspot-oauth-refresh-token-file" group:"hubspot-login" kind:"file" placeholder:"FILE" help:"File with the refresh token of the app's installation in the account; read again for each access token, and on a 401."`
	HubspotOAuthPath             string `name:"hubspot-oauth-path" group:"hubspot-login" kind:"path" placeholder:"PATH" default:"/oauth/v3/token" help:"The token endpoint, on the host of --hubspot-url."`

	HubspotRate     Rate   `name:"hubspot-rate" group:"hubspot-limits" placeholder:"auto|N" default:"auto" help:"The account's requests per 10 s, of all replicas: auto follows HubSpot's headers (100 until the first one), N is N until they say less, 0 is unlimited."`
	HubspotDaily    Rate   `name:"hubspot-daily" group:"hubspot-limits" placeholder:"auto|N" default:"auto" help:"The account's calls a day: auto follows HubSpot's headers, N caps them (and counts by itself where there are none), 0 is no daily limit."`
	HubspotTimezone string `name:"hubspot-timezone" group:"hubspot-limits" kind:"zone" placeholder:"auto|ZONE" default:"auto" help:"Time zone whose midnight ends the account's day, such as Europe/Berlin; auto: HubSpot's account info, else the observed jump of what is left, else UTC."`

	BatchSize       int           `name:"batch-size" group:"batches" placeholder:"N" default:"100" least:"1" most:"100" help:"Inputs in a request; HubSpot takes no more than 100."`
	BatchBytes      Size          `name:"batch-bytes" group:"batches" placeholder:"SIZE" default:"1MiB" least:"1KiB" help:"Bytes in a request."`
	BatchWait       time.Duration `name:"batch-wait" group:"batches" placeholder:"TIME" default:"500ms" least:"0s" help:"How long the oldest record waits for a batch to fill."`
	MaxInFlight     int           `name:"max-in-flight" group:"batches" placeholder:"N" default:"32" least:"1" help:"Requests at once."`
	MaxPending      int           `name:"max-pending" group:"batches" placeholder:"N" default:"20000" help:"Records in memory, at least --batch-size."`
	MaxPendingBytes Size          `name:"max-pending-bytes" group:"batches" placeholder:"SIZE" default:"64MiB" least:"1MiB" help:"Bytes of records in memory."`

	Tombstones     string        `name:"tombstones" group:"behaviour" placeholder:"WHAT" default:"dead-letter" choices:"dead-letter,skip" help:"What becomes of records without a value."`
	OnFlood        string        `name:"on-flood" group:"behaviour" placeholder:"WHAT" default:"hold" choices:"hold,dead-letter" help:"What happens when 95 % of a topic's last 1,000 records failed for the same reasons: hold the partitions, or dead-letter."`
	DeadLetterFile string        `name:"dead-letter-file" group:"behaviour" kind:"file" placeholder:"FILE" help:"File that lists records, such as tasks/0/5, one a line: each becomes a dead letter if it failed at least once and is open. Read again when it changes. Default: none."`
	DrainTimeout   time.Duration `name:"drain-timeout" group:"behaviour" placeholder:"TIME" default:"20s" help:"For settling what was sent, before partitions are given up or the process stops; at least --hubspot-timeout + 2s."`

	Listen    string `name:"listen" group:"process" placeholder:"HOST:PORT" default:":8080" help:"Address of the page, /livez, /readyz, /metrics and /status; without a host: all of this one's."`
	Pprof     string `name:"pprof" group:"process" placeholder:"HOST:PORT" help:"Address of Go's profiles, on this machine only, such as 127.0.0.1:6060. Default: none."`
	LogLevel  string `name:"log-level" group:"process" placeholder:"LEVEL" default:"info" choices:"debug,info,warn,error" help:"The least that is logged."`
	LogFormat string `name:"log-format" group:"process" placeholder:"FORMAT" default:"json" choices:"json,console" help:"How it is logged, on stderr."`
	Insecure  bool   `name:"insecure" group:"process" help:"Allow plain http and SASL PLAIN without TLS to other hosts than this one."`
}

// Check names every mistake at once: the setting, its value, and what to do about it.
func (c Config) Check() error {
	var all []error
	wrong := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	c.checkKafka(wrong)
	c.checkHubSpot(wrong)
	c.checkBounds(wrong)
	if least := max(1, min(c.BatchSize, 100)); c.MaxPending < least {
		wrong("--max-pending=%d: it must be at least --batch-size, or no batch could fill: %d is needed", c.MaxPending, least)
	}
	if least := c.HubspotTimeout + 2*time.Second; c.DrainTimeout < least {
		wrong("--drain-timeout=%v: it must be at least --hubspot-timeout + 2s = %v, or a request that is out could not be "+
			"waited for", c.DrainTimeout, least)
	}
	if is, err := os.Stat(c.DeadLetterFile); c.DeadLetterFile != "" && err == nil && !is.Mode().IsRegular() {
		wrong("--dead-letter-file=%s: it is a directory, or no regular file: name a text file, which may be missing for now",
			c.DeadLetterFile)
	}
	if host, _, err := net.SplitHostPort(c.Pprof); c.Pprof != "" && (err != nil || host == "" || Remote(host)) {
		wrong("--pprof=%s: profiles tell much, and are for this machine only: write 127.0.0.1:6060, or another port of "+
			"localhost", c.Pprof)
	}
	return errors.Join(all...)
}

// CheckKafka is Check for what only works with Kafka, such as reading dead letters.
func (c Config) CheckKafka() error {
	var all []error
	c.checkKafka(func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) })
	return errors.Join(all...)
}

func (c Config) checkKafka(wrong func(string, ...any)) {
	if len(c.KafkaBrokers) == 0 {
		wrong("--kafka-brokers is missing: name at least one broker as host:port")
	}
	for _, b := range c.KafkaBrokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			wrong("--kafka-brokers=%s: write each broker as host:port", masked(b))
		}
	}
	c.checkTopics(wrong)
	if c.KafkaGroup == "" {
		wrong("--kafka-group is empty: name a consumer group")
	}
	c.checkKafkaSecurity(wrong)
}

func (c Config) checkHubSpot(wrong func(string, ...any)) {
	c.checkToken(wrong)
	u, err := url.Parse(c.HubspotURL)
	switch {
	case err != nil:
		wrong("--hubspot-url: it is no URL: write it as https://host") // not shown: who knows which part of it is a password
	case u.User != nil:
		wrong("--hubspot-url: it carries a password; the token is all that HubSpot wants")
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		wrong("--hubspot-url=%s: write it as https://host", masked(c.HubspotURL))
	case u.RawQuery != "" || u.Fragment != "":
		wrong("--hubspot-url: leave out what begins with ? or #; the token is all that HubSpot wants")
	case u.Scheme == "http" && !c.Insecure && Remote(u.Host):
		wrong("--hubspot-url=%s: plain http would send the token in clear: use https, or --insecure", c.HubspotURL)
	}
	c.checkIDProperties(wrong)
	if _, err := c.Zone(); err != nil {
		wrong("--hubspot-timezone=%s: write auto, or a name such as Europe/Berlin or America/New_York", c.HubspotTimezone)
	}
}

// DeadLetters is the topic for a topic's dead letters.
func (c Config) DeadLetters(topic string) string { return cmp.Or(c.DLQTopic, topic+".dlq") }

// DeadLetterTopics are the topics that the dead letters of --kafka-topics go to.
func (c Config) DeadLetterTopics() (topics []string) {
	for _, source := range c.KafkaTopics {
		if topic := c.DeadLetters(source); !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	return topics
}

// Zone is whose midnight ends the account's day; nil if that is to be found out.
func (c Config) Zone() (*time.Location, error) {
	if c.HubspotTimezone == "auto" {
		return nil, nil
	}
	return time.LoadLocation(c.HubspotTimezone)
}
